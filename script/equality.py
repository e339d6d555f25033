"""When two JSON values are equal.

Numbers are compared by value whatever their type (1 is 1.0, 2**53 + 1 is not the double 2.0**53), and true is not 1; the order of
an object's fields means nothing.
"""

from typing import Any


def equal(left: Any, right: Any) -> bool:
    """Equality of JSON values. Recurs as deep as the shallower of the two."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(value, right[name]) for name, value in left.items())
    return bool(left == right)
