"""Templates: any JSON value whose strings may hold `{{ expression }}`.

A string that is exactly one expression gives the typed value; otherwise text is interpolated: strings as they are, everything
else as JSON. A missing variable is an error, never empty text.

`{"$template": text, "variables": {...}}` is a template for somebody else (see `deferred`): its text stays, its variables are rendered.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

from script.errors import EvaluationError, ExpressionSyntaxError
from script.expressions.expressions import Expression, compile_expression
from script.expressions.functions import EvaluationContext
from script.wire import is_rows

TEMPLATE: Final = "$template"
VARIABLES: Final = "variables"

Render = Callable[[Mapping[str, Any], EvaluationContext], Any]


class Template:
    """A compiled template. `names` are the variables that it reads; `expressions` its expressions in order."""

    def __init__(self, value: Any) -> None:
        self.expressions: list[Expression] = []
        self._render = self._compile(value)
        self.names = frozenset(name for expression in self.expressions for name in expression.names)

    def render(self, variables: Mapping[str, Any], context: EvaluationContext) -> Any:
        """The value. Raises EvaluationError."""
        return self._render(variables, context)

    def _compile(self, value: Any) -> Render:
        if isinstance(value, str) and "{{" in value:
            return self._text(value)
        if isinstance(value, Mapping):
            literal = {TEMPLATE} if TEMPLATE in value else set()
            fields = {
                key: _constant(element) if key in literal else self._compile(element) for key, element in value.items()
            }
            return lambda variables, context: {key: render(variables, context) for key, render in fields.items()}
        if isinstance(value, list | tuple):
            elements = [self._compile(element) for element in value]
            return lambda variables, context: [render(variables, context) for render in elements]
        return lambda variables, context: value

    def _text(self, text: str) -> Render:
        parts = split_template(text)
        compiled = [compile_expression(part) if is_code else part for is_code, part in parts]
        self.expressions += [part for part in compiled if isinstance(part, Expression)]
        if len(compiled) == 1 and isinstance(compiled[0], Expression):
            return compiled[0].evaluate

        def interpolate(variables: Mapping[str, Any], context: EvaluationContext) -> str:
            return "".join(
                part if isinstance(part, str) else _as_text(part, part.evaluate(variables, context))
                for part in compiled
            )

        return interpolate


def _constant(value: Any) -> Render:
    return lambda variables, context: value


def _as_text(expression: Expression, value: Any) -> str:
    if is_rows(value):
        raise EvaluationError("row_reference", f"`{expression.source}` stands for rows, which have no text")
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def split_template(text: str) -> list[tuple[bool, str]]:
    """The parts of a template string: (is it an expression?, text). Text around a single expression that is only blanks is dropped.

    Raises ExpressionSyntaxError for a `{{` that is not closed.
    """
    parts: list[tuple[bool, str]] = []
    at = 0
    while (start := text.find("{{", at)) >= 0:
        end = _closing(text, start + 2)
        if end < 0:
            raise ExpressionSyntaxError(
                f"`{text}`: the {{{{ is not closed", hint="write }} behind the expression", position=start
            )
        parts += [(False, text[at:start]), (True, text[start + 2 : end].strip())]
        at = end + 2
    parts.append((False, text[at:]))
    filled = [part for part in parts if part[0] or part[1].strip()]
    if len(filled) == 1 and filled[0][0]:
        return filled
    return [part for part in parts if part[0] or part[1]]


def _closing(text: str, at: int) -> int:
    """Where the expression that begins at `at` is closed by `}}`: outside of strings and braces of its own. -1: nowhere."""
    quote, depth = "", 0
    while at < len(text):
        char = text[at]
        if quote:
            if char == "\\":
                at += 1
            elif char == quote:
                quote = ""
        elif char in "'\"":
            quote = char
        elif char == "{":
            depth += 1
        elif char == "}":
            if not depth and text.startswith("}}", at):
                return at
            depth = max(0, depth - 1)
        at += 1
    return -1


def compile_template(value: Any) -> Template:
    """Compile a template; strings are taken from a cache."""
    return _compile_text(value) if isinstance(value, str) else Template(value)


@lru_cache(maxsize=4096)
def _compile_text(text: str) -> Template:
    return Template(text)
