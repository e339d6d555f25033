"""A filter's tree as one Python function over the rows of a page.

The function is made from source text, as `dataclasses` and `collections.namedtuple` make theirs: a comprehension with one
condition, so that a row costs no call. The text is put together from the fixed phrases in this module and from names that are
counted up here: v0, v1 for the values at the paths, c0, c1 for constants, and attributes f0, f1 given by the caller. What a
query contains (names of fields, operands, patterns) is only ever bound to such a name and never written into the text, and the
function has no builtins but those it uses. A node without a phrase of its own becomes a call of its test in `filters`.

The phrases have to say what the tests of `filters` say; tests compare both on random filters and records.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from query.filters.predicates import value_test
from query.filters.tree import (
    And,
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
)
from query.values.values import MISSING, follow

Find = Callable[[list[Any]], list[int]]
Path = tuple[str, ...]


def find_source(tree: Node, attributes: Mapping[str, str], numbers: Collection[str]) -> Find:
    """The function from rows to the places of those that match.

    `attributes` names the attribute of a row for each top-level field; absent ones are MISSING there. Those of `numbers` hold a
    float, and NaN where there is none.
    """
    source = _Source(attributes, numbers)
    condition = source.record(tree)
    bindings = "".join(f" for {name} in ({source.value(path)},)" for path, name in source.variables.items())
    text = f"def find(rows): return [index for index, row in enumerate(rows){bindings} if {condition}]"
    exec(compile(text, "<page filter>", "exec"), source.names)
    find: Find = source.names["find"]
    return find


def paths(node: Node) -> set[Path]:
    """The paths that a filter reads."""
    return {field.path for field in _fields(node)}


def numeric_fields(tree: Node) -> set[str]:
    """The top-level fields that a filter only compares with small numbers, so that a number may be rounded to a double before.

    Rounding keeps the order of numbers, and what is below 2**53 is not rounded, nor does anything beyond come below it.
    """
    found = list(_fields(tree))
    others = {field.path[0] for field in found if len(field.path) > 1 or not _is_numeric(field.test)}
    return {field.path[0] for field in found} - others


def _fields(node: Node) -> Iterator[Field]:
    match node:
        case Field():
            yield node
        case And(parts) | Or(parts):
            for part in parts:
                yield from _fields(part)
        case Not(part):
            yield from _fields(part)


def _is_numeric(node: Node) -> bool:
    match node:
        case And(parts) | Or(parts):
            return all(map(_is_numeric, parts))
        case Not(part):
            return _is_numeric(part)
        case Equal(operand) | Compare(_, operand):
            return _is_small_number(operand)
        case In(operands):
            return all(map(_is_small_number, operands))
    return False


def _is_small_number(operand: Any) -> bool:
    return type(operand) in (int, float) and abs(operand) < 2**53


def _all_of(operands: tuple[Any, ...], *types: type) -> bool:
    """Whether there are operands, and all of these types exactly."""
    return bool(operands) and all(type(operand) in types for operand in operands)


class _Source:
    """The parts of the text. Every phrase is in parentheses or atomic, and true or false for `if`."""

    def __init__(self, attributes: Mapping[str, str], numbers: Collection[str]) -> None:
        self._attributes, self._numbers = attributes, numbers
        self._sure: set[str] = set()
        self.variables: dict[Path, str] = {}
        self.names: dict[str, Any] = {"__builtins__": {}, "enumerate": enumerate, "type": type, "MISSING": MISSING}
        self.names |= {"bool": bool, "int": int, "float": float, "str": str, "follow": follow}

    def value(self, path: Path) -> str:
        attribute = f"row.{self._attributes[path[0]]}"
        return attribute if len(path) == 1 else f"follow({attribute}, {self._constant(path[1:])})"

    def record(self, node: Node) -> str:
        """The phrase of a filter."""
        if isinstance(node, Field):
            name = self.variables.setdefault(node.path, f"v{len(self.variables)}")
            if node.path[0] in self._numbers:
                self._sure.add(name)
            return self._test(node.test, name)
        return self._logical(node, self.record)

    def _constant(self, value: Any) -> str:
        name = f"c{len(self.names)}"
        self.names[name] = value
        return name

    def _logical(self, node: Node, phrase: Callable[[Node], str]) -> str:
        match node:
            case And(parts):
                return f"({' and '.join(map(phrase, parts)) or '1'})"
            case Or(parts):
                return f"({' or '.join(map(phrase, parts)) or '0'})"
            case Not(part):
                return f"(not {phrase(part)})"
        raise TypeError(f"{node!r} does not stand here")

    def _test(self, node: Node, value: str) -> str:
        """The phrase of a test of the value with this name."""
        match node:
            case Equal(operand) if not isinstance(operand, list | dict):
                return self._equal(operand, value)
            case Compare(symbol, operand):
                limit = float(operand) if value in self._sure else operand  # two floats are compared soonest
                return self._guarded(operand, value, f"{value} {symbol} {self._constant(limit)}")
            case In(operands) if _all_of(operands, str) or _all_of(operands, int, float):
                return self._guarded(operands[0], value, f"{value} in {self._constant(frozenset(operands))}")
            case Exists(wanted):
                return f"({value} is {'not ' if wanted else ''}MISSING)"
            case StartsWith(prefix):
                return self._guarded(prefix, value, f"{value}.startswith({self._constant(prefix)})")
            case Contains(operand) if type(operand) is str:
                return f"({self._constant(operand)} in {value} if type({value}) is str else {self._call(node, value)})"
            case Matches(_, search):
                return self._guarded("", value, f"{self._constant(search)}({value})")
            case And() | Or() | Not():
                return self._logical(node, lambda part: self._test(part, value))
        return self._call(node, value)

    def _equal(self, operand: Any, value: str) -> str:
        if operand is None:
            return f"({value} is None or {value} is MISSING)"
        constant = self._constant(operand)
        if isinstance(operand, bool):
            return f"({value} is {constant})"
        if isinstance(operand, str) or value in self._sure:
            return f"({value} == {constant})"
        return f"({value} == {constant} and type({value}) is not bool)"

    def _guarded(self, operand: Any, value: str, phrase: str) -> str:
        """A phrase that may be said of values of an operand's type."""
        if value in self._sure:
            return f"({phrase})"
        if isinstance(operand, bool):
            return f"(({value} is True or {value} is False) and {phrase})"
        if isinstance(operand, str):
            return f"(type({value}) is str and {phrase})"
        return f"((type({value}) is float or type({value}) is int) and {phrase})"

    def _call(self, node: Node, value: str) -> str:
        return f"{self._constant(value_test(node))}({value})"
