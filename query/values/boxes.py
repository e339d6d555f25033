"""JSON values as members of sets, where 1 and 1.0 are the same and true is not 1; their order as bytes, and what they weigh."""

from sys import getsizeof
from typing import Any, Final

from query.values.keycode import COMPLEMENT
from query.values.keycode import encode_any as encode_value

_PLAIN: Final = frozenset({str, int, float, type(None)})

__all__ = ["COMPLEMENT", "Boxed", "box", "encode_member", "encode_value", "is_less", "unbox", "weight"]


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
