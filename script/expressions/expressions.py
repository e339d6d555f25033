"""Expressions: CEL, compiled once, evaluated against JSON variables.

The runtime is Google's (`cel_expr_python`): it has budgets for iteration and recursion, takes a context of any size lazily, and gives
errors back as *values* of type error, which become `EvaluationError` here. Every root name of an expression is declared
as a variable of any type; whether a variable exists is the checker's business before a run and an error during one.

A row reference (a snapshot and a query) is a variable like any other, but its rows are not in memory: `size(x)` and `len(x)`
give their number, `x` alone passes it on, and anything else is the error `row_reference`.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property, lru_cache
from typing import Any, Final

import orjson
from cel_expr_python import cel
from cel_expr_python.ext import ext_strings

from script.errors import EvaluationError, ExpressionSyntaxError
from script.expressions.direct import UNSURE, direct
from script.expressions.functions import Current, EvaluationContext, extension, plain
from script.expressions.nul import whole
from script.expressions.nulls import compares_null, comparisons, null_first
from script.expressions.tokens import Path, paths
from script.wire import ROWS, is_rows

MAX_LENGTH: Final = 10_000
CACHED: Final = 4096

_current: Final = Current()
_CODES: Final = (
    ("No value with name", "missing_variable"),
    ("Key not found", "missing_field"),
    ("no such key", "missing_field"),
    ("index out of", "bad_value"),
    ("zero", "divide_by_zero"),
    ("overflow", "overflow"),
    ("udget exceeded", "budget"),
    ("No matching overload", "type_mismatch"),
    ("the character NUL", "bad_value"),
)


class Expression:
    """A compiled expression. Get one from `compile_expression`."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.paths: list[Path] = paths(source)
        self.names = frozenset(path.names[0] for path in self.paths)
        self._path = _plain_path(source, self.paths)
        self._direct = direct(source)
        environment = _environment(self.names)
        try:
            self._compiled = environment.compile(source)
        except RuntimeError as error:
            raise _syntax_error(source, str(error)) from None

    def evaluate(self, variables: Mapping[str, Any], context: EvaluationContext) -> Any:
        """The value, as JSON. Raises EvaluationError."""
        if self._path:
            value: Any = variables
            for name in self._path:
                if not isinstance(value, dict) or name not in value:
                    break
                value = value[name]
            else:
                kind = type(value)
                if kind is str or kind is bool or kind is float or (kind is int and -_WHOLE <= value < _WHOLE):
                    return value
        elif self._direct is not None:
            with suppress(*UNSURE):
                return self._direct(variables)
        data = {name: variables[name] for name in self.names if name in variables}
        for name, value in data.items():
            if is_rows(value):
                return self._with_rows(name, variables, context)
        try:
            for name, value in data.items():
                data[name] = whole(value, name)
            found, error = _evaluated(self._compiled, data, context)
            if compares_null(error):
                found, error = _evaluated(self._null_first, data, context)
            if error:
                raise self._error(error, variables)
            return plain(found)
        except ValueError as error:
            raise EvaluationError("bad_value", f"`{self.source}`: {error}") from None

    @cached_property
    def _null_first(self) -> cel.Expression:
        return null_first(_environment(self.names), self._compiled)

    def describe(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """What the expression saw: its text, the values of its paths, and the text with the values put in."""
        values: dict[str, Any] = {}
        text, at = [], 0
        for path in self.paths:
            value = _follow(variables, path.names)
            if value is _ABSENT:
                continue
            values[".".join(path.names)] = _short(value)
            start, end = path.counted or (path.start, path.end)
            text += [self.source[at:start], str(_size(value)) if path.counted else _inserted(value)]
            at = end
        return {"expression": self.source, "values": values, "substituted": "".join([*text, self.source[at:]])}

    def _with_rows(self, name: str, variables: Mapping[str, Any], context: EvaluationContext) -> Any:
        """Evaluate with a variable that stands for rows: counted, or passed on as it is."""
        if self.source.strip() in (name, f".{name}"):
            return variables[name]
        uses = [path for path in self.paths if path.names[0] == name]
        if any(use.counted is None or len(use.names) > 1 for use in uses):
            count = variables[name][ROWS]["count"]
            raise EvaluationError(
                "row_reference",
                f"`{self.source}`: {name} stands for {count} rows that are not in memory",
                variable=name,
                hint="loop over it, or select fewer rows (filter, fields, limit)",
            )
        counter = f"count_of_{name}"
        source = self.source
        for start, end in reversed([use.counted for use in uses if use.counted is not None]):
            source = source[:start] + counter + source[end:]
        counted = {**variables, counter: variables[name][ROWS]["count"]}
        return compile_expression(source).evaluate(counted, context)

    def _error(self, text: str, variables: Mapping[str, Any]) -> EvaluationError:
        code = next((code for part, code in _CODES if part in text), "evaluation_failed")
        detail = text.split(": ", 1)[-1].split(" [")[0]
        quoted = re.search(r'"([^"]*)"', text)
        if code == "missing_variable" and quoted:
            hint = f"the variables are: {', '.join(sorted(variables)) or 'none'}"
            return EvaluationError(
                code, f"`{self.source}`: there is no variable {quoted[1]!r}", variable=quoted[1], hint=hint
            )
        if code == "missing_field" and quoted:
            hint = f"has(x.{quoted[1]}) tells whether it is there"
            return EvaluationError(
                code, f"`{self.source}`: there is no field {quoted[1]!r}", variable=quoted[1], hint=hint
            )
        if code == "type_mismatch":
            null = next((".".join(path.names) for path in self.paths if _follow(variables, path.names) is None), None)
            if null is not None and "null_type" in text:
                return EvaluationError(
                    code, f"`{self.source}`: {null} is null", variable=null, hint="coalesce(a, b) gives b for null"
                )
            return EvaluationError(
                code, f"`{self.source}`: the types do not fit ({detail.split(' : ')[-1]})", variable=null
            )
        return EvaluationError(code, f"`{self.source}`: {detail}")


def _evaluated(compiled: cel.Expression, data: dict[str, Any], context: EvaluationContext) -> tuple[Any, str]:
    """The value, or an error's text."""
    _current.begin(context)
    try:
        found = compiled.eval(data=data)
        return (None, str(found.value())) if found.type() == cel.Type.ERROR else (found.plain_value(), "")
    except RuntimeError as error:
        return None, str(error)


@lru_cache(maxsize=CACHED)
def compile_expression(source: str) -> Expression:
    """Compile an expression, or take it from the cache.

    Raises ExpressionSyntaxError with the column of the error.
    """
    if len(source) > MAX_LENGTH:
        raise ExpressionSyntaxError(f"an expression is at most {MAX_LENGTH} characters, this has {len(source)}")
    if not source.strip():
        raise ExpressionSyntaxError("the expression is empty")
    return Expression(source)


@lru_cache(maxsize=1024)
def _environment(names: frozenset[str]) -> cel.Env:
    variables = dict.fromkeys(sorted(names), cel.Type.DYN)
    return cel.NewEnv(variables=variables, extensions=[_Extensions.ours, _Extensions.strings, _Extensions.comparisons])


class _LazyExtensions:
    """The extensions, made at the first use."""

    @cached_property
    def ours(self) -> cel.CelExtension:
        return extension(_current)

    @cached_property
    def comparisons(self) -> cel.CelExtension:
        return comparisons()

    @cached_property
    def strings(self) -> cel.CelExtensionBase:
        return ext_strings.ExtStrings()


_Extensions: Final = _LazyExtensions()


def _syntax_error(source: str, text: str) -> ExpressionSyntaxError:
    first = text.removeprefix("INVALID_ARGUMENT: ").split("\n")[0]
    place = re.search(r"<input>:(\d+):(\d+): ?", first)
    message = first[place.end() :] if place else first.removeprefix("ERROR: ")
    message = message.replace(" (in container '')", "").split(" [INVALID_ARGUMENT")[0].removeprefix("Syntax error: ")
    position = int(place[2]) - 1 if place else None
    unknown = re.search(r"undeclared reference to '([^']+)'", message)
    hint = f"there is no function {unknown[1]}" if unknown else None
    return ExpressionSyntaxError(f"`{source}`: {message}", hint=hint, position=position)


_ABSENT: Final = object()
_WHOLE: Final = 1 << 63


def _plain_path(source: str, found: list[Path]) -> tuple[str, ...]:
    """The names of an expression that is a member path and nothing else: a text or a number there needs no evaluation."""
    if len(found) != 1 or source.strip().removeprefix(".") != ".".join(found[0].names):
        return ()
    return found[0].names


def _follow(variables: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    value: Any = variables
    for name in names:
        if not isinstance(value, Mapping) or name not in value:
            return _ABSENT
        value = value[name]
    return value


def _short(value: Any) -> Any:
    """A value for a trace: rows and long collections by their size."""
    if is_rows(value):
        return f"{value[ROWS]['count']} rows"
    if isinstance(value, list | dict) and len(orjson.dumps(value)) > 200:
        return f"{len(value)} {'elements' if isinstance(value, list) else 'fields'}"
    return value


def _size(value: Any) -> Any:
    if is_rows(value):
        return value[ROWS]["count"]
    return len(value) if isinstance(value, list | dict | str) else value


def _inserted(value: Any) -> str:
    short = _short(value)
    text = short if is_rows(value) else orjson.dumps(short).decode()
    return text if len(text) <= 40 else text[:37] + "..."
