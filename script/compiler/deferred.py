"""Arguments that are templates over rows: rendered by the tool for each row, not by the machine for the step.

A tool says with `x-row-templates` in an argument's schema which names stand for rows there. A text in such an argument that reads one of
them stays as it is, and the script's variables that it reads as well go along with it:

    "{{ row.price * factor }}"   ->   {"$template": "{{ row.price * factor }}", "variables": {"factor": "{{ factor }}"}}

`expressions/templates.py` renders the variables of this form, and leaves the text alone.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

from script.environment import ToolSignature
from script.errors import ExpressionSyntaxError, Problem
from script.expressions.templates import TEMPLATE, VARIABLES, Template, compile_template

ROW_TEMPLATES: Final = "x-row-templates"


def deferred(args: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with the texts deferred that read rows. Raises ExpressionSyntaxError."""
    properties = schema.get("properties", {})
    found = dict(args)
    for name, value in args.items():
        rows = properties.get(name, {}).get(ROW_TEMPLATES)
        if rows:
            found[name] = _deferred(value, row_names(rows, args))
    return found


def check_deferred(
    args: Mapping[str, Any], tool: ToolSignature | None, pointer: str, variables: Collection[str]
) -> tuple[Mapping[str, Any], list[Problem]]:
    """The same for a checker, with what is wrong: a name that stands for a row and is a variable of the script, too."""
    if tool is None:
        return args, []
    problems: list[Problem] = []
    for name, found in tool.arguments_schema.get("properties", {}).items():
        if name in args and ROW_TEMPLATES in found:
            taken = row_names(found[ROW_TEMPLATES], args) & _names_in(args[name]) & frozenset(variables)
            problems += [
                Problem(
                    "ambiguous_name",
                    f"{pointer}/{name}",
                    f"{each} is a variable of the script, and stands for a row here",
                    "call the variable something else",
                )
                for each in sorted(taken)
            ]
    try:
        return deferred(args, tool.arguments_schema), problems
    except ExpressionSyntaxError:  # is told when the templates are looked at
        return args, problems


def _names_in(value: Any) -> frozenset[str]:
    try:
        return Template(value).names
    except ExpressionSyntaxError:
        return frozenset()


def row_names(declared: list[str], args: Mapping[str, Any]) -> frozenset[str]:
    """The names that stand for rows: those that the tool declares, and what sides are called with `as`."""
    return frozenset(declared) | frozenset(_called(list(args.values())))


def databases_of_sides(args: Mapping[str, Any]) -> set[str]:
    """The databases that the sides of a join name."""
    found: set[str] = set()
    for name in ("left", "right", "join"):
        side = args.get(name)
        if isinstance(side, Mapping):
            database = side.get("database")
            found |= {database} if isinstance(database, str) and "{{" not in database else set()
            found |= databases_of_sides(side)
    return found


def _called(values: list[Any]) -> list[str]:
    found: list[str] = []
    for value in values:
        if isinstance(value, Mapping):
            name = value.get("as")
            found += [name] if isinstance(name, str) else []
            found += _called([value[side] for side in ("left", "right") if side in value])
    return found


def _deferred(value: Any, rows: frozenset[str]) -> Any:
    if isinstance(value, str) and "{{" in value:
        names = compile_template(value).names
        if names.isdisjoint(rows):
            return value
        return {TEMPLATE: value, VARIABLES: {name: "{{ " + name + " }}" for name in sorted(names - rows)}}
    if isinstance(value, Mapping):
        return value if TEMPLATE in value else {name: _deferred(element, rows) for name, element in value.items()}
    return [_deferred(element, rows) for element in value] if isinstance(value, list) else value
