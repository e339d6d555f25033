"""CDNOW's purchase list -> the two stores of the example, as NDJSON.

    customers   {customer_id, email, first_order}           key: customer_id
    orders      {customer_id, date, sequence, cds, dollars}  key: customer_id, date, sequence

A customer may order twice on one day, so `sequence` numbers the orders of a customer and day from 1 in the order of the
file. The data set has no addresses: they are made up in a domain that is reserved for examples.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parent / "CDNOW_master.txt.gz"


def orders() -> Iterator[dict[str, object]]:
    """The orders, in the order of the file."""
    previous, sequence = ("", ""), 0
    with gzip.open(SOURCE, "rt", encoding="ascii") as lines:
        next(lines)
        for line in lines:
            customer, day, cds, dollars = line.split()
            date = f"{day[:4]}-{day[4:6]}-{day[6:]}"
            sequence = sequence + 1 if previous == (customer, date) else 1
            previous = (customer, date)
            yield {
                "customer_id": customer,
                "date": date,
                "sequence": sequence,
                "cds": int(cds),
                "dollars": float(dollars),
            }


def customers() -> Iterator[dict[str, object]]:
    """The customers, by the first of their orders."""
    last = ""
    for order in orders():
        if order["customer_id"] != last:
            last = str(order["customer_id"])
            yield {"customer_id": last, "email": f"customer-{last}@example.com", "first_order": order["date"]}


def write(folder: Path) -> tuple[Path, Path]:
    """Write customers.ndjson and orders.ndjson into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = (folder / "customers.ndjson", folder / "orders.ndjson")
    for target, records in zip(targets, (customers(), orders()), strict=True):
        with target.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
    return targets


if __name__ == "__main__":
    print(*write(Path()), sep="\n")
