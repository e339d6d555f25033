"""Filters: MongoDB's words, compiled once to a function of a record.

    {"city": "Rome", "age": {"$gte": 18}}     implicit equality, implicit and
    $eq $ne $gt $gte $lt $lte $in $nin $between $exists $starts_with $contains $and $or $not      dotted paths

A missing field is null for $eq, $ne, $in and $nin, and never matches an ordering operator. Ordering compares numbers with
numbers, strings with strings, and booleans with booleans; values of different types do not match. The rest of the language's
operators are refused by name, an unknown one with the nearest known: nothing is ever ignored.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from query.errors import InvalidQuery, UnknownOperator, UnsupportedOperator

Predicate = Callable[[Mapping[str, Any]], bool]
Test = Callable[[Any], bool]

MISSING: Final = object()
PLANNED: Final = frozenset({"$regex", "$elemMatch"})


def compile_filter(query: Mapping[str, Any] | None, pointer: str = "/filter") -> Predicate | None:
    """A function that tells whether a record matches; None where everything does.

    Raises InvalidQuery, UnknownOperator, UnsupportedOperator.
    """
    if query is None or query == {}:
        return None
    if not isinstance(query, Mapping):
        raise InvalidQuery(f"a filter is an object, not {query!r}", pointer=pointer)
    return _all([_clause(name, value, f"{pointer}/{name}") for name, value in query.items()])


def _clause(name: str, value: Any, pointer: str) -> Predicate:
    if name in ("$and", "$or"):
        if not isinstance(value, list) or not value:
            raise InvalidQuery(f"{name} takes a list of filters", pointer=pointer)
        parts = [compile_filter(part, f"{pointer}/{index}") or _always for index, part in enumerate(value)]
        return _all(parts) if name == "$and" else _any(parts)
    if name == "$not":
        inner = compile_filter(value, pointer) or _always
        return lambda record: not inner(record)
    if name.startswith("$"):
        raise _unknown(name, pointer, ("$and", "$or", "$not"))
    test = compile_test(value, pointer)
    if "." not in name:
        return lambda record: test(record.get(name, MISSING))
    path = name.split(".")
    return lambda record: test(follow(record, path))


def compile_test(value: Any, pointer: str) -> Test:
    """The test of one field: operators, or equality."""
    if not is_operators(value):
        return _equals(value)
    return _every([_operator(name, operand, f"{pointer}/{name}") for name, operand in value.items()])


def is_operators(value: Any) -> bool:
    """Whether a field's condition is made of operators."""
    return isinstance(value, Mapping) and any(name.startswith("$") for name in value)


def _operator(name: str, operand: Any, pointer: str) -> Test:
    if name == "$not":
        inner = compile_test(operand, pointer)
        return lambda value: not inner(value)
    maker = _OPERATORS.get(name)
    if maker is None:
        raise _unknown(name, pointer, tuple(_OPERATORS))
    return maker(operand, pointer)


def _unknown(name: str, pointer: str, known: tuple[str, ...]) -> Exception:
    if name in PLANNED:
        return UnsupportedOperator(f"{name} is not supported yet", pointer=pointer)
    near = get_close_matches(name, (*known, *PLANNED), n=1)
    hint = f"did you mean {near[0]}?" if near else f"the operators are: {' '.join(known)}"
    return UnknownOperator(f"there is no operator {name!r}", pointer=pointer, hint=hint)


def follow(record: Any, path: list[str]) -> Any:
    """The value at a dotted path, or MISSING."""
    for name in path:
        if not isinstance(record, Mapping) or name not in record:
            return MISSING
        record = record[name]
    return record


def equal(left: Any, right: Any) -> bool:
    """Equality of JSON values: numbers by value, and true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(equal(value, right[name]) for name, value in left.items())
    return bool(left == right)


def comparable(left: Any, right: Any) -> bool:
    """Whether an ordering operator may compare the two."""
    if isinstance(left, bool) or isinstance(right, bool):
        return isinstance(left, bool) and isinstance(right, bool)
    if isinstance(left, int | float):
        return isinstance(right, int | float)
    return isinstance(left, str) and isinstance(right, str)


def _equals(operand: Any, pointer: str = "") -> Test:
    if operand is None:
        return lambda value: value is None or value is MISSING
    return lambda value: equal(value, operand)


def _differs(operand: Any, pointer: str) -> Test:
    same = _equals(operand)
    return lambda value: not same(value)


def _ordering(work: Callable[[Any, Any], bool]) -> Callable[[Any, str], Test]:
    def make(operand: Any, pointer: str) -> Test:
        if not comparable(operand, operand):
            raise InvalidQuery(
                f"an ordering operator takes a number, text or true/false, not {operand!r}", pointer=pointer
            )
        return lambda value: comparable(value, operand) and work(value, operand)

    return make


def _in(operand: Any, pointer: str) -> Test:
    if not isinstance(operand, list):
        raise InvalidQuery(f"$in takes a list, not {operand!r}", pointer=pointer)
    tests = [_equals(element) for element in operand]
    return lambda value: any(test(value) for test in tests)


def _not_in(operand: Any, pointer: str) -> Test:
    inside = _in(operand, pointer)
    return lambda value: not inside(value)


def _between(operand: Any, pointer: str) -> Test:
    if not isinstance(operand, list) or len(operand) != 2 or not comparable(*operand):
        raise InvalidQuery("$between takes a list of two values of one type, both inclusive", pointer=pointer)
    low, high = operand
    return lambda value: comparable(value, low) and low <= value <= high


def _exists(operand: Any, pointer: str) -> Test:
    if not isinstance(operand, bool):
        raise InvalidQuery(f"$exists takes true or false, not {operand!r}", pointer=pointer)
    return lambda value: (value is not MISSING) is operand


def _starts_with(operand: Any, pointer: str) -> Test:
    if not isinstance(operand, str):
        raise InvalidQuery(f"$starts_with takes text, not {operand!r}", pointer=pointer)
    return lambda value: isinstance(value, str) and value.startswith(operand)


def _contains(operand: Any, pointer: str) -> Test:
    def test(value: Any) -> bool:
        if isinstance(value, str):
            return isinstance(operand, str) and operand in value
        return isinstance(value, list) and any(equal(element, operand) for element in value)

    return test


_OPERATORS: Final[dict[str, Callable[[Any, str], Test]]] = {
    "$eq": _equals,
    "$ne": _differs,
    "$gt": _ordering(lambda value, operand: value > operand),
    "$gte": _ordering(lambda value, operand: value >= operand),
    "$lt": _ordering(lambda value, operand: value < operand),
    "$lte": _ordering(lambda value, operand: value <= operand),
    "$in": _in,
    "$nin": _not_in,
    "$between": _between,
    "$exists": _exists,
    "$starts_with": _starts_with,
    "$contains": _contains,
}
OPERATORS: Final = (*_OPERATORS, "$and", "$or", "$not", *sorted(PLANNED))


def _always(record: Mapping[str, Any]) -> bool:
    return True


def _all(parts: list[Predicate]) -> Predicate:
    return parts[0] if len(parts) == 1 else lambda record: all(part(record) for part in parts)


def _any(parts: list[Predicate]) -> Predicate:
    return lambda record: any(part(record) for part in parts)


def _every(tests: list[Test]) -> Test:
    return tests[0] if len(tests) == 1 else lambda value: all(test(value) for test in tests)
