"""Checking what stands inside of steps: expressions, conditions, templates, filters, durations."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from script.checker.scope import Scope
from script.errors import ExpressionSyntaxError, Problem
from script.expressions.durations import InvalidDuration, parse_duration
from script.expressions.expressions import compile_expression
from script.expressions.sources import condition_source
from script.expressions.templates import TEMPLATE, compile_template
from script.json_schemas import schema_problem

_COMPARING: Final = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$between", "$exists")
_TEXT: Final = ("$starts_with", "$contains", "$regex", "$options")
FILTER_OPERATORS: Final = frozenset((*_COMPARING, *_TEXT, "$elemMatch", "$and", "$or", "$not"))


class ValueChecker:
    """Collects problems; knows nothing of steps."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def tell(self, code: str, pointer: str, message: str, hint: str | None = None, *, severity: str = "error") -> None:
        self.problems.append(Problem(code, pointer, message, hint, severity))

    def condition(self, text: str, pointer: str, scope: Scope) -> None:
        source = condition_source(text)
        if self.expression(source, pointer, scope) and not compile_expression(source).names:
            self.tell(
                "constant_condition",
                pointer,
                "the condition reads no variable, so it is always the same",
                severity="warning",
            )

    def expression(self, source: str, pointer: str, scope: Scope) -> bool:
        try:
            names = compile_expression(source).names
        except ExpressionSyntaxError as error:
            self.tell(error.code, pointer, error.message, error.hint)
            return False
        self.read(names, pointer, scope)
        return True

    def template(self, value: Any, pointer: str, scope: Scope) -> None:
        """Every string inside of a value."""
        if isinstance(value, Mapping):
            for name, element in value.items():
                if name != TEMPLATE:
                    self.template(element, f"{pointer}/{name}", scope)
        elif isinstance(value, list):
            for index, element in enumerate(value):
                self.template(element, f"{pointer}/{index}", scope)
        elif isinstance(value, str) and "{{" in value:
            try:
                names = compile_template(value).names
            except ExpressionSyntaxError as error:
                self.tell(error.code, pointer, error.message, error.hint)
                return
            self.read(names, pointer, scope)

    def read(self, names: Iterable[str], pointer: str, scope: Scope) -> None:
        for name in sorted(names):
            if name in scope.sure:
                continue
            if name in scope.perhaps:
                message = f"{name} is perhaps not set on every way to this step"
                self.tell("perhaps_undefined", pointer, message, severity="warning")
            else:
                hint = nearest(name, scope.names()) or f"defined here: {', '.join(scope.names()) or 'nothing'}"
                self.tell("undefined_variable", pointer, f"there is no variable {name!r} here", hint)

    def operators(self, value: Any, pointer: str) -> None:
        """Every `$name` of a filter is an operator of the language."""
        if isinstance(value, list):
            for index, element in enumerate(value):
                self.operators(element, f"{pointer}/{index}")
        if not isinstance(value, Mapping):
            return
        for name, operand in value.items():
            if name.startswith("$") and name not in FILTER_OPERATORS:
                self.tell(
                    "unknown_operator",
                    f"{pointer}/{name}",
                    f"there is no operator {name}",
                    nearest(name, FILTER_OPERATORS),
                )
            self.operators(operand, f"{pointer}/{name}")

    def schema(self, schema: Any, pointer: str) -> None:
        """A JSON Schema, if there is one."""
        problem = schema_problem(schema) if schema is not None else None
        if problem is not None:
            self.tell("invalid_schema", pointer, f"this is no JSON Schema (Draft 2020-12): {problem}")

    def duration(self, value: Any, pointer: str, scope: Scope) -> None:
        """A duration: a template, or one that can be read now."""
        if isinstance(value, str) and "{{" in value:
            self.template(value, pointer, scope)
            return
        try:
            parse_duration(value)
        except InvalidDuration as error:
            self.tell(error.code, pointer, error.message, error.hint)


def nearest(name: str, known: Iterable[str]) -> str | None:
    near = get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else None
