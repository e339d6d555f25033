"""Texts that stand behind each other, and the numbers that tell where each ends, as they are in a page (`page`).

Numbers are kept as bytes: what is done to all of them is one operation on one large number, or one call.
"""

import struct
from array import array
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise


def texts_of(data: bytes, lengths_at: int, count: int, start: int) -> Sequence[bytes]:
    """`count` byte strings that stand behind each other at `start`; keys of one length (the usual case) in one call."""
    raw = data[lengths_at : lengths_at + 2 * count]
    if count and raw == raw[:2] * count:
        found: tuple[bytes, ...] = _struct(int.from_bytes(raw[:2], "little"), count).unpack_from(data, start)
        return found
    ends = accumulate(array("H", raw), initial=start)
    return [data[begin:end] for begin, end in pairwise(ends)]


def without(lengths: bytes, texts: bytes, removed: Sequence[int]) -> tuple[bytes, bytes]:
    """Lengths (u16) and texts that stand behind each other, without those at some places (in order)."""
    ends = list(accumulate(array("H", lengths), initial=0))
    sizes, kept = bytearray(lengths), bytearray(texts)
    for place in reversed(removed):
        del sizes[2 * place : 2 * place + 2], kept[ends[place] : ends[place + 1]]
    return bytes(sizes), bytes(kept)


def ends_of(lines: Sequence[bytes]) -> bytes:
    """Where values end in a run (u32), given as the lines of the run: each but the last has its comma, and a break behind it."""
    sums = int.from_bytes(array("I", accumulate(map(len, lines))).tobytes(), "little")
    return (sums + _more(len(lines))).to_bytes(4 * len(lines), "little")


@lru_cache(maxsize=4096)
def _more(count: int) -> int:
    """What makes ends of values of the sums of their lines' lengths: the breaks before them, without the comma behind them."""
    numbers = [at - 1 for at in range(count - 1)] + [count - 1]
    return sum(number << 32 * at for at, number in enumerate(numbers))


def added(numbers: bytes, more: int) -> bytes:
    """u32 numbers, each with `more` added, as one addition: no sum leaves its 32 bits."""
    ones = int.from_bytes(b"\x01\x00\x00\x00" * (len(numbers) // 4), "little")
    return (int.from_bytes(numbers, "little") + more * ones).to_bytes(len(numbers), "little")


@lru_cache(maxsize=4096)
def _struct(length: int, count: int) -> struct.Struct:
    return struct.Struct(f"{length}s" * count)
