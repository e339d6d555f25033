"""Filtering whole pages: the same answers as `compile_filter`, several times faster.

A page hands out its values as one run of JSON texts divided by `,\\n`. With brackets around it a run is a JSON array, and msgspec
decodes it in one call into objects that have only the top-level fields which the filter reads; everything else is skipped without
being built. Over these objects runs one function for the whole page, whose condition is a single Python expression.

The function is made from source text, as `dataclasses` and `collections.namedtuple` make theirs. The text is put together from
the fixed phrases in this module and from names that are counted up here: v0, v1 for the values of the paths and c0, c1 for
constants. What a query contains (field names, operands, patterns) is only ever bound to such a name, never written into the text;
and the function sees no builtin but those it uses. A node without a phrase of its own becomes a call of its test in `filters`.

Both read the tree of `filter_tree`, so they can differ only in the phrases; tests compare them on random filters and records.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import msgspec

from query.filter_tree import (
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
    parse_filter,
    top_level_fields,
)
from query.filters import record_test, value_test
from query.values import MISSING, follow

Rows = Callable[[bytes], list[Any]]
Work = Callable[[list[Any]], list[int]]


class PageFilter:
    """A filter for the runs of pages. Stateless, and so good for any number of threads."""

    __slots__ = ("_decode", "_find")

    def __init__(self, decode: Rows, find: Work) -> None:
        self._decode, self._find = decode, find

    def matches(self, run: bytes) -> list[int]:
        """The places of the matching records in a run. Raises msgspec.DecodeError for what is no run of JSON objects."""
        return self._find(self._decode(b"[%b]" % run))

    def match(self, value: bytes) -> bool:
        """Whether the record with this JSON text matches."""
        return bool(self.matches(value))

    def keep(self, run: bytes) -> tuple[int, bytes]:
        """How many records of a run match, and the run of these."""
        rows = self._decode(b"[%b]" % run)
        found = self._find(rows)
        return len(found), run if len(found) == len(rows) else values_at(run, found)


def page_filter(
    query: Mapping[str, Any] | None, pointer: str = "/filter", fields: Collection[str] | None = None
) -> PageFilter | None:
    """A filter for runs; None where everything matches. Raises what `compile_filter` raises."""
    if query is None or query == {}:
        return None
    tree = parse_filter(query, pointer, fields)
    names = sorted(top_level_fields(tree))
    if any(_needs_escape(name) for name in names):
        return _plain(tree)
    attributes = {name: f"f{number}" for number, name in enumerate(names)}
    row = msgspec.defstruct(
        "Row",
        [(attribute, Any, MISSING) for attribute in attributes.values()],
        rename={attribute: name for name, attribute in attributes.items()},
        gc=False,
    )
    return PageFilter(msgspec.json.Decoder(list[row]).decode, _Source(attributes).function(tree))  # type: ignore[valid-type]


def values_at(run: bytes, indexes: list[int]) -> bytes:
    """The run of some values of a run, which are given by their places in rising order."""
    if not indexes:
        return b""
    texts = run.split(b"\n")  # twice as fast as at the separator: every text but the last keeps its comma
    return b"\n".join([texts[index] for index in indexes]).removesuffix(b",")


def _needs_escape(name: str) -> bool:
    """Whether a name cannot be the name of a decoder's field: it would stand in JSON text otherwise than it is."""
    return not name.isprintable() or '"' in name or "\\" in name


def _plain(tree: Node) -> PageFilter:
    """Records are decoded whole."""
    test = record_test(tree)
    return PageFilter(
        msgspec.json.Decoder(list[dict[str, Any]]).decode,
        lambda rows: [index for index, row in enumerate(rows) if test(row)],
    )


class _Source:
    """The source text of one page function, put together node by node. Every phrase is an expression in parentheses or atomic."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self._attributes = attributes
        self._names: dict[str, Any] = {"__builtins__": {}, "enumerate": enumerate, "type": type, "MISSING": MISSING}
        self._names |= {"int": int, "float": float, "str": str, "follow": follow}
        self._variables: dict[tuple[str, ...], str] = {}

    def function(self, tree: Node) -> Work:
        condition = self._record(tree)
        bindings = "".join(f"        {name} = {self._value(path)}\n" for path, name in self._variables.items())
        source = (
            "def find(rows):\n"
            "    found = []\n"
            "    add = found.append\n"
            "    for index, row in enumerate(rows):\n"
            f"{bindings}"
            f"        if {condition}:\n"
            "            add(index)\n"
            "    return found\n"
        )
        exec(compile(source, "<page filter>", "exec"), self._names)
        work: Work = self._names["find"]
        return work

    def _value(self, path: tuple[str, ...]) -> str:
        attribute = f"row.{self._attributes[path[0]]}"
        return attribute if len(path) == 1 else f"follow({attribute}, {self._constant(path[1:])})"

    def _constant(self, value: Any) -> str:
        name = f"c{len(self._names)}"
        self._names[name] = value
        return name

    def _record(self, node: Node) -> str:
        if isinstance(node, Field):
            return self._test(node.test, self._variables.setdefault(node.path, f"v{len(self._variables)}"))
        return self._logical(node, self._record)

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
        match node:
            case Equal(operand):
                return self._equal(operand, value, node)
            case Compare(symbol, operand):
                return f"({_is_like(operand, value)} and {value} {symbol} {self._constant(operand)})"
            case In(operands) if all(type(operand) is str for operand in operands):
                return f"(type({value}) is str and {value} in {self._constant(frozenset(operands))})"
            case Exists(wanted):
                return f"({value} is {'not ' if wanted else ''}MISSING)"
            case StartsWith(prefix):
                return f"(type({value}) is str and {value}.startswith({self._constant(prefix)}))"
            case Contains(operand) if type(operand) is str:
                constant = self._constant(operand)
                return f"({constant} in {value} if type({value}) is str else {self._call(node, value)})"
            case Matches(_, search):
                return f"(type({value}) is str and {self._constant(search)}({value}))"
            case And() | Or() | Not():
                return self._logical(node, lambda part: self._test(part, value))
        return self._call(node, value)

    def _equal(self, operand: Any, value: str, node: Equal) -> str:
        if operand is None:
            return f"({value} is None or {value} is MISSING)"
        if isinstance(operand, bool):
            return f"({value} is {self._constant(operand)})"
        if isinstance(operand, str):
            return f"({value} == {self._constant(operand)})"
        if isinstance(operand, int | float):
            return f"({value} == {self._constant(operand)} and {_is_like(operand, value)})"
        return self._call(node, value)

    def _call(self, node: Node, value: str) -> str:
        return f"{self._constant(value_test(node))}({value})"


def _is_like(operand: Any, value: str) -> str:
    """The phrase that a value may be compared with an operand."""
    if isinstance(operand, bool):
        return f"({value} is True or {value} is False)"
    if isinstance(operand, str):
        return f"type({value}) is str"
    return f"(type({value}) is int or type({value}) is float)"
