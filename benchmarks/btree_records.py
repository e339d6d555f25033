"""The records of the engine's benchmark: about 137 bytes of JSON under keys of 12 bytes."""

from collections.abc import Iterator

Pair = tuple[bytes, bytes]


def key(number: int) -> bytes:
    return b"%012d" % number


def record(number: int) -> bytes:
    return (
        b'{"id":%d,"customer":"customer-%07d","amount":%d.%02d,"status":"%s","note":"ordered by telephone, to be delivered"}'
        % (number, number * 7919 % 9_999_991, number % 9973, number % 100, (b"open", b"paid", b"sent")[number % 3])
    )


def pairs(count: int) -> Iterator[Pair]:
    return ((key(number), record(number)) for number in range(count))
