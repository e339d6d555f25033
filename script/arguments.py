"""Arguments in, values out: binding a call's arguments to parameters, and checking a script's result."""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final

import orjson
from jsonschema import Draft202012Validator

from script.errors import ScriptError
from script.functions import EvaluationContext
from script.program import Program
from script.quick_schema import Check, quick_check
from script.templates import compile_template


class InvalidArguments(ScriptError):
    """A call's arguments do not fit the script's parameters."""

    code = "invalid_arguments"
    retryable = False


class InvalidOutput(ScriptError):
    """A script's value does not fit its output_schema."""

    code = "invalid_output"
    retryable = False


def bind_arguments(program: Program, arguments: Mapping[str, Any], context: EvaluationContext) -> dict[str, Any]:
    """The variables that a script starts with.

    Raises InvalidArguments: unknown name (with the nearest known one), missing, or of the wrong type.
    """
    try:
        orjson.dumps(dict(arguments))
    except TypeError as error:
        hint = "whole numbers have at most 64 bits, text has no lone surrogates"
        raise InvalidArguments(f"the arguments of {program.name}: {error}", pointer="", hint=hint) from None
    known = {parameter.name: parameter for parameter in program.parameters}
    for name in arguments:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"its parameters are: {', '.join(known) or 'none'}"
            raise InvalidArguments(f"{program.name} has no parameter {name!r}", pointer=f"/{name}", hint=hint)
    variables: dict[str, Any] = {}
    for name, parameter in known.items():
        if name in arguments:
            value = arguments[name]
        elif parameter.required:
            raise InvalidArguments(
                f"{program.name} needs the argument {name!r}", pointer=f"/{name}", hint=parameter.description or None
            )
        else:
            value = compile_template(parameter.default).render(variables, context)
        problem = _violation(parameter.schema, value)
        if problem is not None:
            raise InvalidArguments(f"the argument {name!r} of {program.name}: {problem}", pointer=f"/{name}")
        variables[name] = value
    return variables


def check_output(program: Program, value: Any) -> None:
    """Raises InvalidOutput when the program declares an output_schema and the value does not satisfy it."""
    problem = _violation(program.output_schema, value)
    if problem is not None:
        raise InvalidOutput(f"the value of {program.name}: {problem}", pointer="/output_schema")


def _violation(schema: Mapping[str, Any] | None, value: Any) -> str | None:
    if not schema:
        return None
    known = _checks.get(id(schema))
    if known is None or known[0] is not schema:
        text = orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)
        known = (schema, quick_check(schema), text)
        if len(_checks) >= _CACHED:
            _checks.clear()
        _checks[id(schema)] = known
    _, quick, text = known
    if quick is not None and quick(value):
        return None
    error = next(_validator(text).iter_errors(value), None)
    return str(error.message) if error is not None else None


_CACHED: Final = 512
_checks: Final[dict[int, tuple[Mapping[str, Any], Check | None, bytes]]] = {}
"""By the schema's identity: it is kept, so the number is not given to another."""


@lru_cache(maxsize=_CACHED)
def _validator(schema: bytes) -> Draft202012Validator:
    return Draft202012Validator(orjson.loads(schema))
