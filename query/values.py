"""All JSON values in one order, as bytes: what keys take, and objects after them.

    null < false < true < numbers < strings < arrays < objects

`keycode` writes everything up to arrays. Objects are compared as the list of their names and values, by name:

    object 40, then for each member by name: the name as a string, the value; then 00

So equal bytes mean equal values (1 and 1.0 are equal inside of objects too, and the order of members does not count). No
encoding is the beginning of another one: they can be put one behind the other, and the complement of every byte reverses
the order. The bytes are for comparing within a run of the program; nothing reads them back.

Most values are short texts and numbers below 2**53. Those are written here directly, as `keycode` would (a test compares them): adding
the sign bit to a double from 0 on is negating it, and a double below 0 is written as its complement.
"""

from struct import Struct
from sys import float_info, getsizeof
from typing import Any, Final

from query import keycode

_ARRAY: Final = b"\x30"
_OBJECT: Final = b"\x40"
_END: Final = b"\x00"
_NUMBER: Final = Struct(">BdH")
_EXACT: Final = 1 << 53
COMPLEMENT: Final = bytes(range(255, -1, -1))
_PLAIN: Final = frozenset({str, int, float, type(None)})


def encode_value(value: Any) -> bytes:
    """Bytes that sort as JSON values do. Raises InvalidKeyValue for what is no JSON value (NaN, more than 64 bits, bytes)."""
    kind = value.__class__
    if kind is str and "\x00" not in value:
        try:
            return f"\x20{value}\x00\x00".encode()
        except UnicodeEncodeError:
            return keycode.encode((value,))
    if (kind is int and -_EXACT <= value <= _EXACT) or (kind is float and abs(value) <= float_info.max):
        if value >= 0:
            return _NUMBER.pack(0x10, -(value + 0.0), 0)
        return _NUMBER.pack(0xEF, value, 0xFFFF).translate(COMPLEMENT)
    if isinstance(value, dict):
        members = [keycode.encode((name,)) + encode_value(value[name]) for name in sorted(value)]
        return _OBJECT + b"".join(members) + _END
    if isinstance(value, list):
        return _ARRAY + b"".join([encode_value(element) for element in value]) + _END
    return keycode.encode((value,))


class Boxed:
    """A value that cannot be a member of a set by itself: lists and objects, and true and false, which Python takes for 1 and 0."""

    __slots__ = ("key", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.key = encode_value(value)

    def __sizeof__(self) -> int:
        return 64 + len(self.key) + weight(self.value)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Boxed) and self.key == other.key


def box(value: Any) -> Any:
    """The value itself, or Boxed, so that two are equal in a set just when the JSON values are."""
    return value if value.__class__ in _PLAIN else Boxed(value)


def unbox(member: Any) -> Any:
    """The value of a member."""
    return member.value if member.__class__ is Boxed else member


def encode_member(member: Any) -> bytes:
    """`encode_value` of a member's value."""
    return member.key if member.__class__ is Boxed else encode_value(member)


def is_less(left: Any, right: Any) -> bool:
    """Whether one value comes before another. Raises InvalidKeyValue."""
    return encode_value(left) < encode_value(right)


def weight(value: Any) -> int:
    """How many bytes a JSON value takes in memory, about."""
    if isinstance(value, dict):
        return 300 + sum(weight(name) + weight(member) for name, member in value.items())
    if isinstance(value, list):
        return 100 + sum(map(weight, value))
    return getsizeof(value)
