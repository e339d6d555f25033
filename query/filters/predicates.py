"""Filters: MongoDB's words, compiled once to a function of a record.

    {"city": "Rome", "items.0.price": {"$gte": 18}}     implicit equality, implicit and, dotted paths

A missing field is null for $eq, $ne, $in and $nin, and never matches an ordering operator. Ordering compares numbers with
numbers, strings with strings, and booleans with booleans; values of different types do not match. What is no operator of the
language is refused, with the nearest known: nothing is ever ignored. docs/filters.md has the meaning of each.

Who wants the records of whole pages should take `page_filter`, which gives the same answers several times faster.
"""

import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from query.filters.tree import (
    OPERATORS,
    And,
    AnyElement,
    Compare,
    Contains,
    Equal,
    Exists,
    Field,
    In,
    Matches,
    Node,
    Not,
    Or,
    StartsWith,
    Symbol,
    is_operators,
    parse_condition,
    parse_filter,
    top_level_fields,
)
from query.values.values import MISSING, comparable, follow
from script.equality import equal

__all__ = [
    "MISSING",
    "OPERATORS",
    "Predicate",
    "Test",
    "comparable",
    "compile_filter",
    "compile_test",
    "equal",
    "filter_fields",
    "follow",
    "is_operators",
    "value_test",
]

Predicate = Callable[[Mapping[str, Any]], bool]
Test = Callable[[Any], bool]

_ORDERINGS: Final[dict[Symbol, Callable[[Any, Any], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def compile_filter(
    query: Mapping[str, Any] | None, pointer: str = "/filter", fields: Collection[str] | None = None
) -> Predicate | None:
    """A function that tells whether a record matches; None where everything does.

    `fields` are the top-level fields of a closed schema: with them, another name is an error. Raises InvalidQuery,
    UnknownOperator.
    """
    if query is None or query == {}:
        return None
    return record_test(parse_filter(query, pointer, fields))


def compile_test(value: Any, pointer: str) -> Test:
    """The test of one field: operators, or equality. Raises InvalidQuery, UnknownOperator."""
    return value_test(parse_condition(value, pointer))


def filter_fields(query: Mapping[str, Any] | None, pointer: str = "/filter") -> set[str]:
    """The names of the top-level fields that a filter reads. Raises InvalidQuery, UnknownOperator."""
    return top_level_fields(parse_filter(query or {}, pointer))


def record_test(node: Node) -> Predicate:
    """The function of a record that a tree means."""
    match node:
        case Field((name,), test):
            return _field(name, value_test(test))
        case Field((name, *path), test):
            return _nested(name, path, value_test(test))
    return _logical(node, record_test)


def value_test(node: Node) -> Test:
    """The function of a value, or of MISSING, that a tree means."""
    match node:
        case Equal(operand):
            return _equals(operand)
        case Compare(symbol, operand):
            return _compares(_ORDERINGS[symbol], operand)
        case In(operands):
            return _inside(operands)
        case Exists(wanted):
            return lambda value: (value is not MISSING) is wanted
        case StartsWith(prefix):
            return lambda value: isinstance(value, str) and value.startswith(prefix)
        case Contains(operand):
            return _contains(operand)
        case Matches(_, search):
            return lambda value: isinstance(value, str) and search(value)
        case AnyElement(part, objects):
            return _any_element(record_test(part), dict) if objects else _any_element(value_test(part), object)
    return _logical(node, value_test)


def _logical(node: Node, compile_part: Callable[[Node], Test]) -> Test:
    match node:
        case And((one,)) | Or((one,)):
            return compile_part(one)
        case And(parts):
            tests = [compile_part(part) for part in parts]
            return lambda value: all(test(value) for test in tests)
        case Or(parts):
            tests = [compile_part(part) for part in parts]
            return lambda value: any(test(value) for test in tests)
        case Not(part):
            test = compile_part(part)
            return lambda value: not test(value)
    raise TypeError(f"{node!r} does not stand here")


def _field(name: str, test: Test) -> Predicate:
    return lambda record: test(record.get(name, MISSING))


def _nested(name: str, path: list[str], test: Test) -> Predicate:
    return lambda record: test(follow(record.get(name, MISSING), path))


def _equals(operand: Any) -> Test:
    if operand is None:
        return lambda value: value is None or value is MISSING
    return lambda value: equal(value, operand)


def _compares(work: Callable[[Any, Any], bool], operand: Any) -> Test:
    return lambda value: comparable(value, operand) and work(value, operand)


def _inside(operands: tuple[Any, ...]) -> Test:
    """Texts and numbers are looked up; true is 1 to Python, so what is no text or number is compared one by one."""
    scalars = frozenset(value for value in operands if type(value) in (int, float, str))
    others = [_equals(value) for value in operands if type(value) not in (int, float, str)]

    def test(value: Any) -> bool:
        if type(value) in (int, float, str):
            return value in scalars
        return any(same(value) for same in others)

    return test


def _contains(operand: Any) -> Test:
    def test(value: Any) -> bool:
        if isinstance(value, str):
            return isinstance(operand, str) and operand in value
        return isinstance(value, list) and any(equal(element, operand) for element in value)

    return test


def _any_element(test: Test, kind: type) -> Test:
    return lambda value: (
        isinstance(value, list) and any(isinstance(element, kind) and test(element) for element in value)
    )
