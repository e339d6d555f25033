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

from script.schema_tests import Test, compile_test


def violation(schema: Mapping[str, Any] | None, value: Any) -> str | None:
    """What is wrong with a value; None if it satisfies the schema (or there is none)."""
    if not schema:
        return None
    test, validator = _known(schema)
    try:
        error = None if test(value) else next(validator.iter_errors(value), None)
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


_Compiled = tuple[Test, Draft202012Validator]


def _known(schema: Mapping[str, Any]) -> _Compiled:
    known = _compiled.get(id(schema))
    if known is None or known[0] is not schema:
        known = (schema, _compile(orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)))
        if len(_compiled) >= _CACHED:
            _compiled.clear()
        _compiled[id(schema)] = known
    return known[1]


_CACHED: Final = 512
_compiled: Final[dict[int, tuple[Mapping[str, Any], _Compiled]]] = {}
"""By the schema's identity: it is kept, so the number is not given to another."""


@lru_cache(maxsize=_CACHED)
def _compile(text: bytes) -> _Compiled:
    """The test of a schema, and the validator that tells what is wrong. What is no valid schema is for the validator alone."""
    validator = Draft202012Validator(orjson.loads(text), registry=Registry())
    try:
        Draft202012Validator.check_schema(validator.schema)
    except (SchemaError, RecursionError):
        return (lambda value: False), validator
    return compile_test(validator), validator
