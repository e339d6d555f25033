"""The rows of the query benchmark: about 137 bytes of JSON under an integer key, and the same rows in SQL.

customer    different in every row          bucket    the same in 100 rows, far apart
amount      0.00 to 999.99, evenly          lot       0 to 9: a tenth of the rows each
"""

from collections.abc import Iterator
from typing import Final

from query.values.keycode import encode

Pair = tuple[bytes, bytes]
PER_BUCKET: Final = 100
COLUMNS: Final = ("id", "customer", "bucket", "lot", "amount", "status", "note")
_SCATTER: Final = 7919
_MODULUS: Final = 9_999_991


def customer(number: int) -> str:
    return f"customer-{number * _SCATTER % _MODULUS:07d}"


def buckets(count: int) -> int:
    return max(1, count // PER_BUCKET)


def row(number: int, count: int) -> tuple[int, str, int, int, float, str, str]:
    """The values of COLUMNS in one of `count` rows."""
    amount = number * _SCATTER % 100_000 / 100
    status = ("open", "paid", "sent")[number % 3]
    lot = number * _SCATTER // 7 % 10
    return number, customer(number), number % buckets(count), lot, amount, status, "ordered by telephone on Monday"


def record(number: int, count: int) -> bytes:
    """The row as JSON."""
    key, who, bucket, lot, amount, status, note = row(number, count)
    return (
        f'{{"id":{key},"customer":"{who}","bucket":{bucket},"lot":{lot},"amount":{amount:.2f},"status":"{status}","note":"{note}"}}'
    ).encode()


def pairs(count: int, step: int = 1) -> Iterator[Pair]:
    """Every `step`-th of `count` rows, encoded, in the order of keys."""
    return ((encode([number]), record(number, count)) for number in range(0, count, step))
