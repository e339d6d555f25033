"""Any JSON value as what a script may say: a template that gives just that value. Braces in it are text, and no expressions."""

from typing import Any

from script.expressions.templates import TEMPLATE

_BRACES = '{{ "{{" }}'


def literal(value: Any) -> Any:
    """A template that renders to the value."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return {name: part if name == TEMPLATE else literal(part) for name, part in value.items()}
    return [literal(part) for part in value] if isinstance(value, list) else value


def _text(text: str) -> str:
    if "{{" not in text:
        return text
    first, *rest = text.split("{{")
    if not first.strip() and len(rest) == 1 and not rest[0].strip():  # blanks around one expression would be dropped
        return '{{ "' + text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r") + '" }}'
    return first + "".join(_BRACES + part for part in rest)
