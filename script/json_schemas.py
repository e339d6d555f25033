"""JSON Schemas (Draft 2020-12) of parameters, results and answers.

Nothing is ever fetched: a reference that leads out of the schema is an error when the script is checked.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, UnknownType
from referencing import Registry
from referencing.exceptions import Unresolvable

from script.quick_schema import Check, quick_check


def violation(schema: Mapping[str, Any] | None, value: Any) -> str | None:
    """What is wrong with a value; None if it satisfies the schema (or there is none)."""
    if not schema:
        return None
    quick, text = _known(schema)
    if quick is not None and quick(value):
        return None
    try:
        error = next(_validator(text).iter_errors(value), None)
    except Unresolvable as unresolvable:
        return f"the schema has a reference that leads nowhere: {unresolvable}"
    except UnknownType as unknown:
        return f"the schema has the unknown type {unknown.type!r}"
    except RecursionError:
        return "the schema refers to itself without an end"
    if error is None:
        return None
    where = "".join(f"/{part}" for part in error.absolute_path)
    return f"{where}: {error.message}" if where else str(error.message)


def schema_problem(schema: Any) -> str | None:
    """What is wrong with a schema itself."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = "".join(f"/{part}" for part in error.absolute_path)
        return f"{where}: {error.message}" if where else str(error.message)
    leading_out = next((found for found in _references(schema) if not found.startswith("#")), None)
    if leading_out is not None:
        return f"the reference {leading_out!r} leads out of the schema, and nothing is fetched"
    return None


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        for name, value in schema.items():
            if name in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            elif name not in ("const", "enum", "default", "examples"):
                yield from _references(value)
    elif isinstance(schema, list):
        for element in schema:
            yield from _references(element)


def _known(schema: Mapping[str, Any]) -> tuple[Check | None, bytes]:
    known = _checks.get(id(schema))
    if known is None or known[0] is not schema:
        known = (schema, quick_check(schema), orjson.dumps(schema, option=orjson.OPT_SORT_KEYS))
        if len(_checks) >= _CACHED:
            _checks.clear()
        _checks[id(schema)] = known
    return known[1:]


_CACHED: Final = 512
_checks: Final[dict[int, tuple[Mapping[str, Any], Check | None, bytes]]] = {}
"""By the schema's identity: it is kept, so the number is not given to another."""


@lru_cache(maxsize=_CACHED)
def _validator(schema: bytes) -> Draft202012Validator:
    return Draft202012Validator(orjson.loads(schema), registry=Registry())
