"""JSON values as members of sets, where 1 and 1.0 are the same and true is not 1; and their order as bytes."""

from typing import Any, Final

from query import keycode
from query.keycode import encode_any as encode_value

_PLAIN: Final = frozenset({str, int, float, type(None)})

__all__ = ["Boxed", "box", "encode_member", "encode_value", "is_less", "unbox"]


class Boxed:
    """A value that cannot be a member of a set by itself: lists and objects, and true and false, which Python takes for 1 and 0."""

    __slots__ = ("key", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.key = encode_value(value)

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
    return member.key if member.__class__ is Boxed else keycode.encode((member,))


def is_less(left: Any, right: Any) -> bool:
    """Whether one value comes before another. Raises InvalidKeyValue."""
    return encode_value(left) < encode_value(right)
