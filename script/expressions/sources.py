"""Expressions as scripts write them: conditions with or without braces, lists by name, the table of `reduce`."""

from collections.abc import Mapping
from typing import Any


def condition_source(text: str) -> str:
    """The CEL of a condition, written with or without braces."""
    stripped = text.strip()
    if stripped.startswith("{{") and stripped.endswith("}}"):
        return stripped[2:-2].strip()
    return stripped


def list_template(value: Any) -> Any:
    """A loop's list as a template: text without braces is an expression (a variable name, most often)."""
    if isinstance(value, str) and "{{" not in value:
        return "{{ " + value + " }}"
    return value


def reduce_table(parts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The reduce table: `value` text is an expression with or without braces, `where` a condition."""
    if parts is None:
        return None
    table: dict[str, Any] = {}
    for name, part in parts.items():
        entry = part if isinstance(part, dict) else part.model_dump(exclude_none=True)
        value, where = entry.get("value"), entry.get("where")
        table[name] = {
            "op": entry["op"],
            "value": "{{ " + condition_source(value) + " }}" if isinstance(value, str) else value,
            "where": condition_source(where) if where is not None else None,
            "limit": entry.get("limit"),
        }
    return table
