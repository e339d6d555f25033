"""Keys sort as their values do, and come back."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from query.errors import InvalidKeyValue
from query.values.keycode import decode, encode, prefix_range

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.sampled_from(
        [
            2**53,
            2**53 + 1,
            2**53 - 1,
            2.0**53,
            -(2**53) - 1,
            2.0**62,
            2**62 + 1,
            2**63,
            2.0**63,
            2**64 - 1,
            2.0**64,
            "a\x00",
            "a\x00\xff",
            "a\x00\x00b",
            -0.0,
            0,
        ]
    ),
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=5)


def rank(value: Any) -> tuple[Any, ...]:
    """The language's order of values."""
    if value is None:
        return (0,)
    if isinstance(value, bool):
        return (1 + value,)
    if isinstance(value, int | float):
        return (3, value)
    if isinstance(value, str):
        return (4, value)
    return (5, [rank(element) for element in value])


@settings(max_examples=1000)
@given(st.lists(values, max_size=3), st.lists(values, max_size=3))
def test_bytes_sort_as_values_do(left: list[Any], right: list[Any]) -> None:
    one, two = encode(left), encode(right)
    ranks = [rank(value) for value in left], [rank(value) for value in right]
    assert (one < two) == (ranks[0] < ranks[1])
    assert (one == two) == (ranks[0] == ranks[1])
    assert decode(one) == left


@given(st.lists(values, min_size=1, max_size=2), st.lists(values, max_size=2))
def test_a_prefix_bounds_what_begins_with_it(prefix: list[Any], rest: list[Any]) -> None:
    lower, upper = prefix_range(prefix)
    assert lower <= encode(prefix + rest) < upper


def test_one_is_one_point_zero_and_true_is_neither() -> None:
    assert encode([1]) == encode([1.0]) != encode([True])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**64, -(2**63) - 1, {}, "\ud800", b"x"])
def test_what_cannot_be_a_key(value: Any) -> None:
    with pytest.raises(InvalidKeyValue):
        encode([value])


def test_integers_beyond_63_bits_keep_every_digit() -> None:
    numbers = [2**63 - 1, 2**63, 2**63 + 1, 2**64 - 2049, 2**64 - 2, 2**64 - 1]
    keys = [encode([number]) for number in numbers]
    assert keys == sorted(set(keys))
    assert [decode(key) for key in keys] == [[number] for number in numbers]
    assert encode([2**64 - 1]) < encode([2.0**64]) and encode([2**63]) == encode([2.0**63])
