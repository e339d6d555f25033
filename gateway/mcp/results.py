"""What tools answer: structured, small, and with what to do next.

A result is an object; its text is the same as JSON, for clients that show models the text only. An error is a result too (`isError`), with
the problem that the API would answer: {code, detail, errors: [{pointer, detail, code, hint}], hint, retryable, status, request_id}, and the
run that it is about (run_id). A pointer is into the tool's arguments. So a model reads what is wrong, where, and how to repair it, and
tries again.

Nothing is cut silently: rows come in pages with a cursor, and what is too large for one answer is refused with the way to get less.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from mcp_types import CallToolResult, TextContent
from pydantic import ValidationError

from gateway.client.errors import GatewayError, Refused
from gateway.problems import ApiError, place, problem, translate

MAX_BYTES: Final = 64 * 1024
"""An answer's JSON."""
MOST_PLACES: Final = 50
"""Of an error; `more_errors` says how many more there are."""
_KEPT: Final = ("code", "detail", "errors", "hint", "retryable", "status", "request_id", "run_id")


def answered(value: Mapping[str, Any], *, failed: bool = False) -> CallToolResult:
    """A tool's result. Raises ApiError `too_large`."""
    text = orjson.dumps(value)
    if len(text) > MAX_BYTES:
        hint = "ask for less: fewer fields, a filter, a smaller limit"
        raise ApiError(
            "too_large", f"the answer has {len(text)} bytes, at most {MAX_BYTES} are given at once", hint=hint
        )
    return CallToolResult(
        content=[TextContent(text=text.decode())], structured_content=orjson.loads(text), is_error=failed
    )


def refused(error: Exception, request_id: str, tool: str) -> CallToolResult:
    """An error as a tool's result."""
    if isinstance(error, Refused):
        found = dict(error.problem)
    elif isinstance(error, GatewayError):
        made = ApiError(error.code, error.message, hint=error.hint, retryable=error.retryable, status=503)
        found = problem(made, instance=tool, request_id=request_id)
    else:
        found = problem(translate(error), instance=tool, request_id=request_id)
    told: dict[str, Any] = {name: found[name] for name in _KEPT if name in found}
    places = told.get("errors", [])
    if len(places) > MOST_PLACES:
        told |= {"errors": places[:MOST_PLACES], "more_errors": len(places) - MOST_PLACES}
    return answered(told, failed=True)


def invalid(error: ValidationError) -> ApiError:
    """Arguments that do not fit, with all places."""
    places = []
    for found in error.errors():
        path = found["loc"]
        code = {"extra_forbidden": "unknown_field", "missing": "missing_field"}.get(found["type"], "invalid_field")
        pointer = "".join(f"/{part}" for part in path)
        places.append(place(code, f"{path[-1] if path else 'the arguments'}: {found['msg']}", pointer))
    return ApiError("invalid_arguments", "the arguments do not fit the tool", errors=places)


def moved(error: Exception, prefix: str) -> Exception:
    """A refusal whose pointers are into a body, as one with pointers into the tool's arguments: `prefix` is what they begin with there."""
    if isinstance(error, Refused):
        problem = dict(error.problem)
        problem["errors"] = [
            {**found, "pointer": found["pointer"].removeprefix(prefix)} for found in problem.get("errors", [])
        ]
        return type(error)(error.status, problem)
    return error
