"""The language in short, for a prompt: made from the models that the checker reads scripts with, and from the functions of expressions."""

from functools import cache
from typing import Any, Final

from query.filters.predicates import OPERATORS
from script.expressions import functions
from script.source.ast import STEP_MODELS, Script, StepBase

_PARTS: Final = ("Parameter", "Retry", "Catch", "Reduce", "Approval")
EXAMPLE: Final = """\
{"name": "send_reminder", "description": "Remind a customer who owes money", "database": "shop",
 "parameters": [{"name": "customer_id", "type": "string"}, {"name": "least", "type": "number", "default": 50}],
 "steps": [
  {"type": "fetch", "name": "customer", "resource": "customers", "key": "{{ customer_id }}", "single": true, "variable": "customer"},
  {"type": "fetch", "name": "bills", "resource": "bills", "filter": {"customer": "{{ customer_id }}", "paid": false}, "variable": "bills"},
  {"type": "set", "name": "owed", "variable": "owed", "value": "{{ sum(bills.map(b, b.amount)) }}"},
  {"type": "if", "name": "owes_enough", "condition": "owed > least", "then": [
    {"type": "command", "name": "remind", "command": "send_email",
     "args": {"to": "{{ customer.email }}", "subject": "Your bills", "body": "You owe {{ owed }}."}}]},
  {"type": "return", "value": {"owed": "{{ owed }}", "reminded": "{{ owed > least }}"}}]}"""
"""A script that checks (a test sees to that) and shows what is used most."""


@cache
def language() -> str:
    """What a model has to know to write a script."""
    schema = Script.model_json_schema(by_alias=True)
    parts = schema["$defs"]
    common = _fields(StepBase.model_json_schema(by_alias=True), parts)
    shared = set(common)
    lines = [
        "A script is JSON. Its value is that of the first `return`, else the result of its last step. Unknown fields are errors.",
        f"script: {_listed(_fields(schema, parts))}",
        f"every step may have: {_listed(common)}",
        "the types of steps, with the fields that they have besides (! is required):",
    ]
    for name, model in STEP_MODELS.items():
        own = _fields(parts[model.__name__], parts)
        told = {field: text for field, text in own.items() if field != "type" and (field not in shared or "!" in text)}
        lines.append(f"- {name} {{{_listed(told)}}} {model.__doc__}")
    lines += [
        f"{part}: {{{_listed(_fields(parts[part], parts))}}} {parts[part].get('description', '')}" for part in _PARTS
    ]
    lines += [
        "A step that has a `variable` keeps its result there. `{{ expression }}` in a text is put in; a text that is exactly one "
        "`{{ expression }}` gives the typed value. `condition`, `when` and `while` are expressions. Expressions are CEL, with:",
        *(line for line in (functions.__doc__ or "").splitlines() if line.startswith("    ")),
        f"Filters of fetch and select: {' '.join(sorted(OPERATORS))}, and fields with dotted paths; plain values are equality.",
        "A script with a `database` runs in one transaction on it. Totals over many rows are made by aggregate, join and select, or by "
        "`reduce` of a loop; a loop over a variable of a fetch goes through all its rows. `ask` asks a model at every run: use it only "
        "where a judgement about text is needed, never for arithmetic or lookups.",
        f"An example:\n{EXAMPLE}",
    ]
    return "\n".join(lines)


def _fields(schema: dict[str, Any], parts: dict[str, Any]) -> dict[str, str]:
    required = set(schema.get("required", ()))
    return {
        name: f"{name}{'!' if name in required else ''}: {_kind(field, parts)}{_default(field)}"
        for name, field in schema.get("properties", {}).items()
    }


def _listed(fields: dict[str, str]) -> str:
    return ", ".join(fields.values())


def _default(field: dict[str, Any]) -> str:
    default = field.get("default")
    return f" = {default}" if default not in (None, "", False) and not isinstance(default, list | dict) else ""


def _kind(field: dict[str, Any], parts: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return name if name in _PARTS else "step"
    if "discriminator" in field or "oneOf" in field:
        return "step"
    if "anyOf" in field:
        kinds = [_kind(part, parts) for part in field["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "const" in field:
        return f'"{field["const"]}"'
    if "enum" in field:
        return " or ".join(f'"{value}"' for value in field["enum"])
    if field.get("type") == "array":
        return f"[{_kind(field.get('items', {}), parts)}]"
    kind: str = field.get("type", "any")
    inner = field.get("additionalProperties") or next(iter(field.get("patternProperties", {}).values()), None)
    return f"{{name: {_kind(inner, parts)}}}" if kind == "object" and isinstance(inner, dict) and inner else kind
