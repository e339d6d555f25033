"""docs/tools.md, generated from the registry: `python -m toolbox.pages` prints it."""

import sys
from typing import Any

from toolbox.registry import Registry, builtin_registry


def tools_page(registry: Registry) -> str:
    """Every tool with its arguments, as Markdown."""
    parts = [
        "# Tools\n\nGenerated from the registry by `make docs`. Tools of the effect `session` work on the session that they "
        "are called in, and scripts cannot call them.\n"
    ]
    for described in registry.describe():
        approval = ", needs approval" if described["needs_approval"] else ""
        parts.append(
            f"\n## {described['name']}\n\n{described['description']}\n\nEffect: {described['effect']}{approval}.\n"
        )
        parts.append(_arguments(described["arguments"]))
    return "".join(parts)


def _arguments(schema: dict[str, Any]) -> str:
    fields = schema.get("properties", {})
    if not fields:
        return "\nNo arguments.\n"
    lines = ["\n| argument | type | |\n|---|---|---|\n"]
    for name, field in fields.items():
        default = f"default `{field['default']}`" if field.get("default") is not None else "optional"
        lines.append(
            f"| `{name}` | {_type(field)} | {'required' if name in schema.get('required', []) else default} |\n"
        )
    return "".join(lines)


def _type(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(part) for part in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    kind = str(field.get("type", "any"))
    return f"{kind} of {_type(field['items'])}" if kind == "array" and "items" in field else kind


if __name__ == "__main__":
    sys.stdout.write(tools_page(builtin_registry()))
