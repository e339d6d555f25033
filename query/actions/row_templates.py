"""Templates over rows: a JSON value whose strings may hold `{{ expression }}` over the row at hand.

    "{{ row.price * 2 }}"               a string that is exactly one expression: its typed value
    "{{ row.city }} ({{ row.zip }})"    text with values put in
    {"$template": "{{ row.price * rate }}", "variables": {"rate": 1.1}}     with variables brought along
    {"$literal": "{{ as it stands }}"}  taken as it is, whatever is in it

They stand anywhere in a value, and are compiled once: what holds no template is a literal, and costs nothing for a row.
Names are known before the first row: the rows (`row`; `left` and `right` in a join) and the variables brought along. The
language, its functions and its errors are those of `script/expressions/`. `now()` is the clock of the context;
`uuid()` is derived from its seed, the place in the value and the row, so it differs from row to row and is the same in a second try.

Any other object with a key that begins with `$` is refused: it is an operator in the wrong place more often than data.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from hashlib import blake2b
from typing import Any, Final

import orjson

from query.errors import InvalidQuery, did_you_mean, point
from script.errors import EvaluationError, ExpressionSyntaxError
from script.expressions.functions import EvaluationContext
from script.expressions.templates import Template, compile_template
from script.wire import is_rows

Rows = Mapping[str, Any]
Compute = Callable[[Rows], Any]

_NO_CLOCK: Final = EvaluationContext(datetime.fromtimestamp(0, UTC), "")
"""For templates that ask neither for the time nor for an id."""
_CLOCK: Final = re.compile(r"\b(now|today|days_since|uuid)\s*\(")


@dataclass(frozen=True)
class TemplateScope:
    """What templates may name: the rows, their fields where these are all known, and the run's clock and seed."""

    row_names: tuple[str, ...] = ("row",)
    fields: Collection[str] | None = None
    context: EvaluationContext | None = None


@dataclass(frozen=True)
class RowValue:
    """A compiled value: a `literal`, unless there is a `compute`, which raises EvaluationError with the place as pointer."""

    literal: Any = None
    compute: Compute | None = None

    @property
    def constant(self) -> bool:
        """Whether it holds no template."""
        return self.compute is None

    def of(self, rows: Rows) -> Any:
        """The value for these rows. Raises EvaluationError."""
        return self.literal if self.compute is None else self.compute(rows)


def compile_value(value: Any, scope: TemplateScope, pointer: str) -> RowValue:
    """Compile a JSON value. The literal parts are copied: a later change of `value` does not reach them.

    Raises InvalidQuery: what is no JSON, a template that does not parse, a name that is unknown, an object with `$` keys.
    """
    try:
        orjson.dumps(value)
    except TypeError as error:
        hint = "whole numbers have at most 64 bits, text has no lone surrogates"
        raise InvalidQuery(f"the value is no JSON: {error}", pointer=pointer, hint=hint) from None
    return _compile(value, scope, pointer)


def _compile(value: Any, scope: TemplateScope, pointer: str) -> RowValue:
    if isinstance(value, str):
        return _text(value, {}, scope, pointer) if "{{" in value else RowValue(value)
    if isinstance(value, Mapping):
        if any(key.startswith("$") for key in value):
            return _special(value, scope, pointer)
        fields = {key: _compile(element, scope, point(pointer, key)) for key, element in value.items()}
        if all(part.constant for part in fields.values()):
            return RowValue({key: part.literal for key, part in fields.items()})
        return RowValue(compute=lambda rows: {key: part.of(rows) for key, part in fields.items()})
    if isinstance(value, list | tuple):
        elements = [_compile(element, scope, point(pointer, index)) for index, element in enumerate(value)]
        if all(part.constant for part in elements):
            return RowValue([part.literal for part in elements])
        return RowValue(compute=lambda rows: [part.of(rows) for part in elements])
    return RowValue(_literal(value, pointer))


def _literal(value: Any, pointer: str) -> Any:
    """A copy of a JSON value. Raises InvalidQuery."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        return {key: _literal(element, point(pointer, key)) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [_literal(element, point(pointer, index)) for index, element in enumerate(value)]
    raise InvalidQuery(f"{value!r} is no JSON value", pointer=pointer)


def _special(value: Mapping[str, Any], scope: TemplateScope, pointer: str) -> RowValue:
    if value.keys() == {"$literal"}:
        return RowValue(_literal(value["$literal"], point(pointer, "$literal")))
    if "$template" in value and value.keys() <= {"$template", "variables"}:
        return _with_variables(value["$template"], value.get("variables", {}), scope, pointer)
    wrong = next(key for key in value if key.startswith("$"))
    if wrong in ("$template", "$literal"):
        others = ", ".join(key for key in value if key not in ("$template", "$literal", "variables")) or "both"
        hint = 'write {"$template": text, "variables": {...}}, or {"$literal": value}, and nothing beside'
        raise InvalidQuery(f"{wrong} does not go with {others}", pointer=pointer, hint=hint)
    raise InvalidQuery(
        f"{wrong!r} stands inside of a value",
        pointer=point(pointer, wrong),
        hint='operators stand outermost, as in {"$inc": {"visits": 1}}; {"$literal": value} stores a value as it is',
    )


def _with_variables(text: Any, variables: Any, scope: TemplateScope, pointer: str) -> RowValue:
    if not isinstance(text, str):
        raise InvalidQuery(f"$template takes text, not {text!r}", pointer=point(pointer, "$template"))
    at = point(pointer, "variables")
    if not isinstance(variables, Mapping):
        raise InvalidQuery("variables is an object of names and values", pointer=at)
    hidden = next((name for name in scope.row_names if name in variables), None)
    if hidden is not None:
        raise InvalidQuery(
            f"the variable {hidden!r} would hide the row of that name",
            pointer=point(at, hidden),
            hint="give the variable another name",
        )
    return _text(text, _literal(variables, at), scope, point(pointer, "$template"))


def _text(text: str, variables: dict[str, Any], scope: TemplateScope, pointer: str) -> RowValue:
    try:
        template = compile_template(text)
    except ExpressionSyntaxError as error:
        hint = error.hint or 'text that is no template is kept by {"$literal": text}'
        raise InvalidQuery(error.message, pointer=pointer, hint=hint, **error.details) from None
    if not template.expressions:
        return RowValue(text)
    _check_names(template, variables, scope, pointer)
    return RowValue(compute=_placed(_evaluation(template, text, variables, scope, pointer), pointer))


def _check_names(template: Template, variables: Mapping[str, Any], scope: TemplateScope, pointer: str) -> None:
    known = (*scope.row_names, *variables)
    for expression in template.expressions:
        for path in expression.paths:
            name = path.names[0]
            if name not in known:
                near = get_close_matches(name, known, n=1)
                meant = f"did you mean {near[0]}? " if near else ""
                hint = f"{meant}the names are: {', '.join(known)}; a field is {scope.row_names[0]}.{name}"
                raise InvalidQuery(f"`{expression.source}`: there is no {name!r}", pointer=pointer, hint=hint)
            if name in scope.row_names and scope.fields is not None and len(path.names) > 1:
                _check_field(path.names[1], scope.fields, f"`{expression.source}`", pointer)


def _check_field(name: str, fields: Collection[str], where: str, pointer: str) -> None:
    if name not in fields:
        hint = did_you_mean(name, sorted(fields), "the fields are")
        raise InvalidQuery(f"{where}: the rows have no field {name!r}", pointer=pointer, hint=hint)


def _evaluation(
    template: Template, text: str, variables: dict[str, Any], scope: TemplateScope, pointer: str
) -> Compute:
    """The evaluation of a template for rows, with a context that is fit for what it calls."""
    called = _CLOCK.search(text)
    if called and scope.context is None:
        raise InvalidQuery(f"`{text}`: there is no clock here for {called[1]}()", pointer=pointer)
    context, render = scope.context or _NO_CLOCK, template.render
    if "uuid" not in text:
        return lambda rows: render({**variables, **rows}, context)
    seed = f"{context.seed}{pointer}"
    return lambda rows: render({**variables, **rows}, EvaluationContext(context.now, f"{seed}/{_digest(rows)}"))


def _digest(rows: Rows) -> str:
    return blake2b(orjson.dumps(rows), digest_size=16).hexdigest()


def _placed(compute: Compute, pointer: str) -> Compute:
    """`compute` whose errors tell their place, and that gives no row reference: a record holds values."""

    def placed(rows: Rows) -> Any:
        try:
            found = compute(rows)
        except EvaluationError as error:
            error.pointer = pointer
            raise
        if is_rows(found):
            refused = EvaluationError("row_reference", "rows that are not in memory cannot be a value of a record")
            refused.pointer = pointer
            raise refused
        return found

    return placed
