"""The data of the batch benchmark: customers, their orders behind an index, and who of them is at risk, counted without the system.

    customers   {customer_id, email, first_order}                 key: customer_id
    orders      {order_id, customer_id, date, cds, dollars}       key: order_id, index: customer_id, date

Orders are numbered as they came in over two years, so those of a customer are far apart in the store: each is found through the index,
and read from a page of its own. With `together` they are numbered customer by customer, and lie side by side. One customer of a hundred has
no order, the others have one to five.
"""

from array import array
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import accumulate
from random import Random
from typing import Any, Final

import orjson

from btree import Database, Transaction
from query import create_index, create_store, open_store
from query.stores.catalog import index_tree, rows_tree
from query.values.keycode import encode

AS_OF: Final = "2026-07-01"
_FIRST: Final = date(2024, 7, 1)
_DAYS: Final = 730
_LATELY: Final = 60
_SPENT: Final = 500.0

Pair = tuple[bytes, bytes]


class Customers:
    """So many customers with their orders, always the same ones."""

    def __init__(self, count: int, *, together: bool = False) -> None:
        self.count = count
        self._together = together
        self._owners = array("Q", (n for n in range(count) for _ in range(_orders_of(n))))
        Random(20261121).shuffle(self._owners)
        sizes = [_orders_of(n) for n in range(count)]
        self._begins = array("Q", [0, *accumulate(sizes)])
        places, self._orders = array("Q", self._begins), array("Q", bytes(8 * len(self._owners)))
        for order, owner in enumerate(self._owners):
            self._orders[places[owner]] = order
            places[owner] += 1

    @property
    def orders(self) -> int:
        return len(self._owners)

    def load(self, database: Database) -> None:
        """Fill the two stores."""
        database.transact(self._load_customers)
        database.transact(self._load_orders)

    def at_risk(self) -> set[str]:
        """The addresses of those who are at risk by the rule of check_churn_risk."""
        return {email(n) for n in range(self.count) if self._is_at_risk(n)}

    def _is_at_risk(self, number: int) -> bool:
        orders = self._orders_of(number)
        if not orders:
            return True
        last = (date.fromisoformat(AS_OF) - self._date(orders[-1])).days
        return last > _LATELY and sum(dollars(order) for order in orders) > _SPENT

    def _orders_of(self, number: int) -> "array[int]":
        return self._orders[self._begins[number] : self._begins[number + 1]]

    def _date(self, order: int) -> date:
        return _FIRST + timedelta(order * _DAYS // self.orders)

    def _load_customers(self, transaction: Transaction) -> None:
        create_store(transaction, "customers", primary_key=["customer_id"])
        transaction.tree(rows_tree("customers")).load(self._customer_rows())

    def _load_orders(self, transaction: Transaction) -> None:
        create_store(transaction, "orders", primary_key=["order_id"])
        info = create_index(transaction, "orders", ["customer_id", "date"])
        index = next(found for found in open_store(transaction, "orders").indexes if found.info.name == info.name)
        by_customer = (self._order(order, at) for at, order in enumerate(self._orders))
        entries = (index.entry(row, encode([row["order_id"]])) for row in by_customer)
        transaction.tree(index_tree("orders", info.name)).load(entries)
        placed = enumerate(self._orders) if self._together else ((order, order) for order in range(self.orders))
        rows = (self._order(order, at) for at, order in placed)
        transaction.tree(rows_tree("orders")).load((encode([row["order_id"]]), orjson.dumps(row)) for row in rows)

    def _customer_rows(self) -> Iterator[Pair]:
        for number in range(self.count):
            orders = self._orders_of(number)
            first = self._date(orders[0]).isoformat() if orders else None
            row = {"customer_id": customer_id(number), "email": email(number), "first_order": first}
            yield encode([row["customer_id"]]), orjson.dumps(row)

    def _order(self, order: int, at: int) -> dict[str, Any]:
        """The order that came in at a place among all, and stands at another when they are gone through customer by customer."""
        who, day = customer_id(self._owners[order]), self._date(order).isoformat()
        number = at if self._together else order
        return {"order_id": number, "customer_id": who, "date": day, "cds": 1 + order % 4, "dollars": dollars(order)}


def _orders_of(number: int) -> int:
    return 0 if number % 100 == 37 else 1 + number * 7919 % 5


def customer_id(number: int) -> str:
    return f"c{number:07d}"


def email(number: int) -> str:
    return f"customer-{number:07d}@example.com"


def dollars(order: int) -> float:
    """5.00 to 134.75, in quarters: sums of them are exact."""
    return 5 + order * 7919 % 520 / 4
