"""Arguments in, values out: binding a call's arguments to parameters, and checking a script's result."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import orjson

from script.compiler.program import Program
from script.errors import ScriptError
from script.expressions.functions import EvaluationContext
from script.expressions.templates import compile_template
from script.json_schemas import violation


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
        problem = violation(parameter.schema, value)
        if problem is not None:
            raise InvalidArguments(f"the argument {name!r} of {program.name}: {problem}", pointer=f"/{name}")
        variables[name] = value
    return variables


def check_output(program: Program, value: Any) -> None:
    """Raises InvalidOutput when the program declares an output_schema and the value does not satisfy it."""
    problem = violation(program.output_schema, value)
    if problem is not None:
        raise InvalidOutput(f"the value of {program.name}: {problem}", pointer="/output_schema")
