"""The meaning of a filter as a tree of few kinds of node, and every check of what a filter may say.

A filter is read once, here; `filters` makes functions of the tree and `page_filter` makes source text of it, so both mean the
same. What can be said with other nodes has none of its own: $ne is Not(Equal), $nin is Not(In), $between is
And(Compare >=, Compare <=).

Tests of one value: Equal Compare In Exists StartsWith Contains Matches AnyElement. Of a record: Field. Of both: And Or Not.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from reprlib import repr
from typing import Any, Final, Literal

from query.errors import InvalidQuery, UnknownOperator, point
from query.filters.regexes import compile_regex
from query.values.fields import check_field
from query.values.values import comparable

MAX_DEPTH: Final = 100
"""So deep may a filter be nested, its values included. Evaluating it recurs as deep."""

Symbol = Literal[">", ">=", "<", "<="]


@dataclass(frozen=True)
class Equal:
    operand: Any


@dataclass(frozen=True)
class Compare:
    symbol: Symbol
    operand: Any


@dataclass(frozen=True)
class In:
    operands: tuple[Any, ...]


@dataclass(frozen=True)
class Exists:
    wanted: bool


@dataclass(frozen=True)
class StartsWith:
    prefix: str


@dataclass(frozen=True)
class Contains:
    operand: Any


@dataclass(frozen=True)
class Matches:
    pattern: str
    search: Callable[[str], bool]


@dataclass(frozen=True)
class AnyElement:
    """Some element of an array passes: a test of values, or with `objects` a filter, which only objects can pass."""

    part: "Node"
    objects: bool


@dataclass(frozen=True)
class Field:
    path: tuple[str, ...]
    test: "Node"


@dataclass(frozen=True)
class And:
    parts: "tuple[Node, ...]"


@dataclass(frozen=True)
class Or:
    parts: "tuple[Node, ...]"


@dataclass(frozen=True)
class Not:
    part: "Node"


Node = Equal | Compare | In | Exists | StartsWith | Contains | Matches | AnyElement | Field | And | Or | Not

_LOGICAL: Final = ("$and", "$or", "$not")
_INSTEAD: Final = {
    "$nor": 'write {"$not": {"$or": [...]}}',
    "$all": 'write {"$and": [{"field": {"$contains": a}}, {"field": {"$contains": b}}]}',
    "$like": "did you mean $contains, $starts_with or $regex?",
}


def parse_filter(query: Any, pointer: str, fields: Collection[str] | None = None) -> Node:
    """The tree of a filter; `fields` are the only top-level fields there are, if given.

    Raises InvalidQuery, UnknownOperator.
    """
    check_depth(query, pointer)
    return _filter(query, pointer, fields)


def parse_condition(value: Any, pointer: str) -> Node:
    """The tree of one field's condition: operators, or a value that it equals. Raises InvalidQuery, UnknownOperator."""
    check_depth(value, pointer)
    return _condition(value, pointer)


def top_level_fields(node: Node) -> set[str]:
    """The names of the top-level fields that a filter's tree reads."""
    match node:
        case Field(path, _):
            return {path[0]}
        case And(parts) | Or(parts):
            return {name for part in parts for name in top_level_fields(part)}
        case Not(part):
            return top_level_fields(part)
    return set()


def is_operators(value: Any) -> bool:
    """Whether a field's condition is made of operators."""
    return isinstance(value, Mapping) and any(isinstance(name, str) and name.startswith("$") for name in value)


def check_depth(value: Any, pointer: str) -> None:
    """Raises InvalidQuery with the place where a value is nested more than MAX_DEPTH deep. Does not recur."""
    level = [(value, pointer)]
    for _ in range(MAX_DEPTH + 1):
        level = [pair for container, place in level for pair in _containers(container, place)]
        if not level:
            return
    raise InvalidQuery(f"a filter is nested at most {MAX_DEPTH} deep", pointer=level[0][1])


def _containers(value: Any, pointer: str) -> list[tuple[Any, str]]:
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    return [(part, point(pointer, name)) for name, part in items if isinstance(part, Mapping | list)]


def _filter(query: Any, pointer: str, fields: Collection[str] | None) -> Node:
    if not isinstance(query, Mapping):
        raise InvalidQuery(f"a filter is an object, not {repr(query)}", pointer=pointer)
    return _and([_clause(name, value, point(pointer, name), fields) for name, value in query.items()])


def _and(parts: list[Node]) -> Node:
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _clause(name: Any, value: Any, pointer: str, fields: Collection[str] | None) -> Node:
    if name in ("$and", "$or"):
        if not isinstance(value, list) or not value:
            raise InvalidQuery(f"{name} takes a list of filters", pointer=pointer)
        parts = [_filter(part, point(pointer, index), fields) for index, part in enumerate(value)]
        return _and(parts) if name == "$and" else Or(tuple(parts))
    if name == "$not":
        return Not(_filter(value, pointer, fields))
    if isinstance(name, str) and name.startswith("$"):
        hint = f'write {{"field": {{"{name}": ...}}}}' if name in OPERATORS else None
        raise _unknown(name, pointer, _LOGICAL, hint)
    path = _path(name, pointer)
    check_field(path[0], fields, pointer)
    return Field(path, _condition(value, pointer))


def _path(name: Any, pointer: str) -> tuple[str, ...]:
    if not isinstance(name, str):
        raise InvalidQuery(f"a field's name is text, not {name!r}", pointer=pointer)
    path = tuple(name.split("."))
    if "" in path:
        raise InvalidQuery(
            f"the field name {name!r} has an empty part", pointer=pointer, hint="a dot divides two names"
        )
    return path


def _condition(value: Any, pointer: str) -> Node:
    if not is_operators(value):
        return Equal(literal(value, pointer))
    for name in value:
        if not isinstance(name, str) or not name.startswith("$"):
            raise InvalidQuery(
                f"{name!r} stands beside operators",
                pointer=point(pointer, name),
                hint='a condition is made of operators, or is a value; a field inside is written "outer.inner"',
            )
    if "$options" in value and "$regex" not in value:
        raise InvalidQuery("$options belongs to $regex, which is not there", pointer=point(pointer, "$options"))
    return _and([_operator(name, value, point(pointer, name)) for name in value if name != "$options"])


def _operator(name: str, condition: Mapping[str, Any], pointer: str) -> Node:
    operand = condition[name]
    if name == "$not":
        return Not(_condition(operand, pointer))
    if name == "$regex":
        options = condition.get("$options", "")
        place = pointer.removesuffix("$regex") + "$options"
        return Matches(operand, compile_regex(operand, options, pointer, place))
    maker = _TESTS.get(name)
    if maker is None:
        hint = f'write {{"{name}": [...]}} outside of the field' if name in _LOGICAL else None
        raise _unknown(name, pointer, (*_TESTS, "$regex", "$not"), hint)
    return maker(operand, pointer)


def _unknown(name: str, pointer: str, known: tuple[str, ...], hint: str | None) -> UnknownOperator:
    near = get_close_matches(name, OPERATORS, n=1)
    hint = (
        hint or _INSTEAD.get(name) or (f"did you mean {near[0]}?" if near else f"the operators are: {' '.join(known)}")
    )
    message = f"{name} does not stand here" if name in OPERATORS else f"there is no operator {name!r}"
    return UnknownOperator(message, pointer=pointer, hint=hint)


def literal(value: Any, pointer: str) -> Any:
    """A copy of a JSON value, of dict and list only. Raises InvalidQuery for what is no JSON value."""
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise InvalidQuery(f"a field's name is text, not {name!r}", pointer=point(pointer, name))
        return {name: literal(part, point(pointer, name)) for name, part in value.items()}
    if isinstance(value, list):
        return [literal(part, point(pointer, index)) for index, part in enumerate(value)]
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and abs(value) < float("inf")):
        return value
    raise InvalidQuery(f"{repr(value)} is not a JSON value", pointer=pointer)


def _equal(operand: Any, pointer: str) -> Node:
    return Equal(literal(operand, pointer))


def _differs(operand: Any, pointer: str) -> Node:
    return Not(_equal(operand, pointer))


def _ordering(symbol: Symbol) -> Callable[[Any, str], Node]:
    def make(operand: Any, pointer: str) -> Node:
        operand = literal(operand, pointer)
        if not comparable(operand, operand):
            raise InvalidQuery(
                f"an ordering operator takes a number, text or true/false, not {repr(operand)}",
                pointer=pointer,
                hint="null is tested with $eq, $ne and $exists" if operand is None else None,
            )
        return Compare(symbol, operand)

    return make


def _between(operand: Any, pointer: str) -> Node:
    ends = literal(operand, pointer)
    if not isinstance(ends, list) or len(ends) != 2 or not comparable(*ends):
        raise InvalidQuery("$between takes a list of two values of one type, both inclusive", pointer=pointer)
    return And((Compare(">=", ends[0]), Compare("<=", ends[1])))


def _in(operand: Any, pointer: str) -> Node:
    if not isinstance(operand, list):
        name = pointer.rpartition("/")[2]
        raise InvalidQuery(f"{name} takes a list, not {repr(operand)}", pointer=pointer)
    return In(tuple(literal(operand, pointer)))


def _not_in(operand: Any, pointer: str) -> Node:
    return Not(_in(operand, pointer))


def _exists(operand: Any, pointer: str) -> Node:
    if not isinstance(operand, bool):
        raise InvalidQuery(f"$exists takes true or false, not {repr(operand)}", pointer=pointer)
    return Exists(operand)


def _starts_with(operand: Any, pointer: str) -> Node:
    if not isinstance(operand, str):
        raise InvalidQuery(f"$starts_with takes text, not {repr(operand)}", pointer=pointer)
    return StartsWith(operand)


def _contains(operand: Any, pointer: str) -> Node:
    return Contains(literal(operand, pointer))


def _element(operand: Any, pointer: str) -> Node:
    """Operators make a test of values; names of fields, $and and $or make a filter of objects."""
    if not isinstance(operand, Mapping) or not operand:
        raise InvalidQuery(f"$elemMatch takes operators or a filter, not {repr(operand)}", pointer=pointer)
    if any(isinstance(name, str) and name.startswith("$") and name not in ("$and", "$or") for name in operand):
        return AnyElement(_condition(operand, pointer), objects=False)
    return AnyElement(_filter(operand, pointer, None), objects=True)


_TESTS: Final[dict[str, Callable[[Any, str], Node]]] = {
    "$eq": _equal,
    "$ne": _differs,
    "$gt": _ordering(">"),
    "$gte": _ordering(">="),
    "$lt": _ordering("<"),
    "$lte": _ordering("<="),
    "$in": _in,
    "$nin": _not_in,
    "$between": _between,
    "$exists": _exists,
    "$starts_with": _starts_with,
    "$contains": _contains,
    "$elemMatch": _element,
}
OPERATORS: Final = (*_TESTS, "$regex", *_LOGICAL)
