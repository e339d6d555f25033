"""The simplest expressions, evaluated here: a call of the expression runtime takes ten to twenty times as long.

    days > 60      size(orders) == 0      status != "open"      sum(orders.map(o, o.total))      days_between(orders[0].date, as_of)

    expression   value, or value == != < <= > >= literal
    value        name or call, then any of .name  [index]  .map(v, v.name)
    call         size len sum avg (value), days_between(value, value)
    index        value or whole number, then + or - a whole number

An expression of any other form has no evaluation here. One that has is evaluated by the runtime all the same where the variables are not
what Python and CEL surely agree on: a missing name, null, whole numbers beyond 2^53, rows, a list beyond the runtime's budget. So errors
are always the runtime's.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from script.expressions.functions import average, days_between, present, total
from script.wire import ROWS

Variables = Mapping[str, Any]
Direct = Callable[[Variables], Any]
"""The value. Raises one of `UNSURE` where the runtime has to say."""
UNSURE: Final = (LookupError, TypeError, ValueError, ArithmeticError)

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?)(?![\w.])|(?P<name>[A-Za-z_]\w*)|(?P<text>'[^'\\\n\r]*'|"[^"\\\n\r]*")
    |(?P<sign>==|!=|<=|>=|[-+<>.,()\[\]]))\s*""",
    re.VERBOSE | re.ASCII,
)
_COMPARED: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_WORDS: Final = frozenset({"true", "false", "null", "in"})
_MOST: Final = 8
"""Values within one expression."""
_BUDGET: Final = 10_000
"""Elements that the runtime does not go through any more."""
_EXACT: Final = 1 << 53
"""Whole numbers up to this are compared with doubles without any rounding."""


def direct(source: str) -> Direct | None:
    """The evaluation of an expression; None for one that is not of the form."""
    tokens: list[str] = []
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            return None
        tokens.append(match.group().strip())
        at = match.end()
    try:
        return _Parser(tokens).expression()
    except _OtherForm:
        return None


class _OtherForm(Exception):
    pass


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = [*tokens, ""]
        self._at = 0
        self._values = 0

    def expression(self) -> Direct:
        value = self._value()
        sign = self._next()
        if not sign:
            return lambda variables: _plain(value(variables))
        if sign not in _COMPARED:
            raise _OtherForm
        compare, literal = _COMPARED[sign], self._literal()
        if self._next() or (isinstance(literal, str) and sign not in ("==", "!=")):
            raise _OtherForm
        kind = _text if isinstance(literal, str) else _number
        return lambda variables: compare(kind(value(variables)), literal)

    def _value(self) -> Direct:
        self._values += 1
        if self._values > _MOST:
            raise _OtherForm
        name = self._name()
        value = self._call(name) if self._tokens[self._at] == "(" else _variable(name)
        while (token := self._tokens[self._at]) in (".", "["):
            self._at += 1
            if token == "[":
                value = _element(value, self._index())
                self._expect("]")
                continue
            name = self._name()
            if self._tokens[self._at] != "(":
                value = _member(value, name)
            elif name == "map":
                value = self._mapped(value)
            else:
                raise _OtherForm
        return value

    def _call(self, name: str) -> Direct:
        self._expect("(")
        one = self._value()
        if name == "days_between":
            self._expect(",")
            other = self._value()
            self._expect(")")
            return lambda variables: days_between(_text(one(variables)), _text(other(variables)))
        self._expect(")")
        if name in ("size", "len"):
            return lambda variables: _size(one(variables))
        if name not in ("sum", "avg"):
            raise _OtherForm
        combine = total if name == "sum" else average
        return lambda variables: combine([_number(value) for value in present(_list(one(variables)))])

    def _mapped(self, value: Direct) -> Direct:
        """Behind `value.map`: the macro's variable, and a path from it."""
        self._expect("(")
        bound = self._name()
        self._expect(",")
        self._expect(bound)
        names = []
        while self._tokens[self._at] == ".":
            self._at += 1
            names.append(self._name())
        self._expect(")")

        def mapped(variables: Variables) -> Any:
            found = _list(value(variables))
            if len(found) >= _BUDGET:
                raise ValueError
            for name in names:
                found = [_field(element, name) for element in found]
            return found

        return mapped

    def _index(self) -> Direct:
        first = self._whole() if self._tokens[self._at].isdigit() else self._value()
        if self._tokens[self._at] not in ("+", "-"):
            return first
        by = operator.add if self._next() == "+" else operator.sub
        second = self._whole()
        return lambda variables: by(_number(first(variables)), second(variables))

    def _whole(self) -> Direct:
        literal = self._literal()
        if type(literal) is not int:
            raise _OtherForm
        return lambda variables: literal

    def _literal(self) -> Any:
        token = self._next()
        if token[:1] in ("'", '"'):
            return token[1:-1]
        negative = token == "-"
        digits = self._next() if negative else token
        if not digits[:1].isdigit() or (digits[0] == "0" and digits[1:2] not in ("", ".")):
            raise _OtherForm
        number = float(digits) if "." in digits else int(digits)
        if abs(number) > _EXACT:
            raise _OtherForm
        return -number if negative else number

    def _name(self) -> str:
        token = self._next()
        if not (token[:1].isalpha() or token[:1] == "_") or token in _WORDS:
            raise _OtherForm
        return token

    def _expect(self, token: str) -> None:
        if self._next() != token:
            raise _OtherForm

    def _next(self) -> str:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token


def _variable(name: str) -> Direct:
    def variable(variables: Variables) -> Any:
        value = variables[name]
        if type(value) is dict and ROWS in value:
            raise TypeError
        return value

    return variable


def _member(value: Direct, name: str) -> Direct:
    return lambda variables: _field(value(variables), name)


def _element(value: Direct, index: Direct) -> Direct:
    def element(variables: Variables) -> Any:
        found, at = _list(value(variables)), index(variables)
        if type(at) is not int or at < 0:
            raise TypeError
        return found[at]

    return element


def _field(value: Any, name: str) -> Any:
    if type(value) is not dict:
        raise TypeError
    return value[name]


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise TypeError
    return value


def _number(value: Any) -> Any:
    kind = type(value)
    if kind is float or (kind is int and -_EXACT <= value <= _EXACT):
        return value
    raise TypeError


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError
    return value


def _size(value: Any) -> int:
    kind = type(value)
    if kind is list or kind is str or (kind is dict and ROWS not in value):
        return len(value)
    raise TypeError


def _plain(value: Any) -> Any:
    """A value that is the same in JSON."""
    kind = type(value)
    if kind is str or kind is bool or (kind is int and -_EXACT <= value <= _EXACT):
        return value
    if kind is float and math.isfinite(value):
        return value
    raise TypeError
