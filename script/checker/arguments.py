"""A tool's arguments against its schema, before any value is known.

Names are checked always; a value without templates is checked fully; one with templates only by what is literal in it, which
is: not at all. The rest is checked when the step runs.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from jsonschema import Draft202012Validator

from script.errors import Problem


def check_arguments(args: Mapping[str, Any], schema: Mapping[str, Any], pointer: str, tool: str) -> list[Problem]:
    """The problems of `args` for a tool with this argument schema."""
    properties: Mapping[str, Any] = schema.get("properties", {})
    problems = []
    for name, value in args.items():
        where = f"{pointer}/{name}"
        if name not in properties and schema.get("additionalProperties") is True:
            continue
        if name not in properties:
            near = get_close_matches(name, properties, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"its arguments are: {', '.join(properties) or 'none'}"
            problems.append(Problem("unknown_argument", where, f"{tool} has no argument {name!r}", hint))
        elif not has_template(value):
            problems += _violations(value, {**properties[name], "$defs": schema.get("$defs", {})}, where, tool)
    missing = [name for name in schema.get("required", []) if name not in args]
    return problems + [Problem("missing_argument", pointer, f"{tool} needs the argument {name!r}") for name in missing]


def has_template(value: Any) -> bool:
    """Whether there is an expression anywhere in a value."""
    if isinstance(value, str):
        return "{{" in value
    if isinstance(value, Mapping):
        return any(map(has_template, value.values()))
    return isinstance(value, list) and any(map(has_template, value))


def _violations(value: Any, schema: Mapping[str, Any], pointer: str, tool: str) -> list[Problem]:
    errors = Draft202012Validator(schema).iter_errors(value)
    return [
        Problem(
            "invalid_argument",
            pointer + "".join(f"/{part}" for part in error.absolute_path),
            f"{tool}: {error.message}",
        )
        for error in errors
    ]
