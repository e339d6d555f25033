"""Errors as HTTP: one shape everywhere, RFC 9457 `application/problem+json`.

    {type, title, status, detail, instance, code, errors: [{pointer, detail, code, hint}], hint, request_id, retryable}

`code` is the stable part: programs branch on it, people read `detail` and `hint`. The packages below raise exceptions with a
code; the status that belongs to a code is decided here, in one table, and nowhere else. Inside a stream, where the status
is long sent, the same object is a record of type `error`.

    ApiError            what the gateway itself refuses
    Forbidden           what a key may not do: 403, with a place for each scope that is missing
    BTreeError, QueryError, ToolError, ScriptError    what the layers below refuse: the status follows from the code
    RPCError            what Temporal answers
    HTTPException, RequestValidationError             what the framework refuses (404, 405, 413, 415, 422)
    anything else       500 `internal_error`: logged with its traceback, answered without it (`access.RequestFrame`)
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from temporalio.service import RPCError, RPCStatusCode

from btree.errors import BTreeError
from query import QueryError
from script.errors import ScriptError, ScriptInvalid
from toolbox.errors import Forbidden, ToolError

MEDIA_TYPE: Final = "application/problem+json"

STATUS: Final[dict[str, int]] = {
    "not_authenticated": 401,
    "forbidden": 403,
    "cross_origin": 403,
    "insecure_connection": 403,
    "reserved_database": 403,
    "reserved_store": 403,
    "unreachable_database": 403,
    "not_asked": 403,
    "origin_not_allowed": 403,
    "not_found": 404,
    "database_not_found": 404,
    "store_not_found": 404,
    "index_not_found": 404,
    "record_not_found": 404,
    "script_not_found": 404,
    "tree_not_found": 404,
    "version_not_found": 404,
    "transaction_not_found": 404,
    "savepoint_not_found": 404,
    "pin_not_found": 404,
    "unknown_tool": 404,
    "run_not_found": 404,
    "result_not_found": 404,
    "schedule_not_found": 404,
    "secret_not_found": 404,
    "key_not_found": 404,
    "draft_not_found": 404,
    "revision_not_found": 404,
    "session_not_found": 404,
    "no_draft": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "database_exists": 409,
    "store_exists": 409,
    "index_exists": 409,
    "unique_violation": 409,
    "preview_mismatch": 409,
    "record_exists": 409,
    "schedule_exists": 409,
    "run_closed": 409,
    "session_closed": 409,
    "run_open": 409,
    "not_waiting": 409,
    "no_batch": 409,
    "no_result": 409,
    "no_payload_keys": 409,
    "compensated": 409,
    "not_resumable": 409,
    "transaction_ended": 409,
    "too_many_drafts": 409,
    "not_recording": 409,
    "recording_exists": 409,
    "nothing_to_undo": 409,
    "in_use": 409,
    "draft_changed": 412,
    "precondition_failed": 412,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "precondition_required": 428,
    "host_not_allowed": 421,
    "rate_limited": 429,
    "internal_error": 500,
    "corrupted": 500,
    "storage_error": 500,
    "broken_index": 500,
    "read_only": 500,
    "wrong_format": 500,
    "unknown_outcome": 503,
    "not_written": 503,
    "secret_unreadable": 503,
    "payload_unreadable": 503,
    "temporal_error": 502,
    "busy": 503,
    "closed": 503,
    "not_ready": 503,
    "temporal_unavailable": 503,
    "run_silent": 503,
    "turn_lost": 503,
    "gateway_stopping": 503,
    "too_many_sessions": 503,
    "provider_unavailable": 503,
    "disk_full": 507,
}
"""The status of a code; a code that is not here is bad input: 422 (`key_too_large`, `value_too_large`, ...)."""

_FRAMEWORK: Final = {
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}
_UNAVAILABLE: Final = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.RESOURCE_EXHAUSTED)


class ApiError(Exception):
    """A refusal of the gateway. `errors` are the places that are wrong, each {pointer, detail, code, hint?}; `more` are members that only
    this kind of problem has; `headers` go with the answer."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        pointer: str | None = None,
        hint: str | None = None,
        errors: Sequence[dict[str, Any]] = (),
        retryable: bool = False,
        status: int | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.retryable = retryable
        self.errors = list(errors) or ([place(code, message, pointer, hint)] if pointer is not None else [])
        self.status = status or STATUS.get(code, 422)
        self.more = dict(more or {})
        self.headers: dict[str, str] = {}


def place(code: str, detail: str, pointer: str, hint: str | None = None) -> dict[str, Any]:
    """One entry of `errors`."""
    found = {"pointer": pointer, "detail": detail, "code": code}
    return {**found, "hint": hint} if hint else found


def translate(error: BaseException, prefix: str = "") -> ApiError:
    """Any exception as a refusal; `prefix` goes before its pointer (`/arguments` + `/customer_id`)."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ScriptInvalid):
        places = [place(found.code, found.message, prefix + found.pointer, found.hint) for found in error.problems]
        return ApiError(error.code, _count(len(places)), errors=places)
    if isinstance(error, Forbidden):
        return ApiError(error.code, error.message, errors=error.places)
    if isinstance(error, BTreeError | QueryError | ToolError | ScriptError):
        found = error.to_dict()
        pointer = found.get("pointer")
        return ApiError(
            found["code"],
            found["message"],
            pointer=None if pointer is None else prefix + pointer,
            hint=found.get("hint"),
            retryable=found["retryable"] or STATUS.get(found["code"]) == 503,
        )
    if isinstance(error, RPCError):
        return _of_temporal(error)
    return ApiError("internal_error", "the gateway failed; its log has the request id")


def _count(problems: int) -> str:
    return "the script has a problem" if problems == 1 else f"the script has {problems} problems"


def _of_temporal(error: RPCError) -> ApiError:
    if error.status in _UNAVAILABLE:
        return ApiError("temporal_unavailable", "Temporal does not answer", hint="is it running?", retryable=True)
    return ApiError("temporal_error", f"Temporal refused: {error.message}")


def problem(error: ApiError, *, instance: str, request_id: str) -> dict[str, Any]:
    """The problem object of an error."""
    found = {
        "type": f"urn:sop:problem:{error.code}",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.message,
        "instance": instance,
        "code": error.code,
        "errors": error.errors,
        "hint": error.hint,
        "request_id": request_id,
        "retryable": error.retryable,
        **error.more,
    }
    return {name: value for name, value in found.items() if value is not None}


def problem_response(error: ApiError, *, instance: str, request_id: str) -> Response:
    """The error as a response."""
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    if error.status == 503:
        headers["Retry-After"] = "1"
    headers |= error.headers
    body = orjson.dumps(problem(error, instance=instance, request_id=request_id))
    return Response(body, error.status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Let the app answer every error with a problem."""

    def answer(request: Request, error: ApiError) -> Response:
        return problem_response(error, instance=request.url.path, request_id=request.state.request_id)

    async def known(request: Request, error: Exception) -> Response:
        return answer(request, translate(error))

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 400:  # FastAPI's word for a body that it cannot decode
            return answer(request, ApiError("not_json", "the body is not JSON: it is not even UTF-8"))
        code = _FRAMEWORK.get(error.status_code, "invalid_request")
        response = answer(request, ApiError(code, _framework_detail(request, error), status=error.status_code))
        response.headers.update(error.headers or {})
        return response

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer(request, _invalid_request(error))

    for kind in (ApiError, BTreeError, QueryError, ToolError, ScriptError, RPCError):
        app.add_exception_handler(kind, known)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, invalid)


def _framework_detail(request: Request, error: HTTPException) -> str:
    if error.status_code == 404:
        return f"there is nothing at {request.url.path}"
    if error.status_code == 405:
        return f"{request.method} is not allowed here"
    if error.status_code == 413:
        return "the body is too large"
    return str(error.detail)


def _invalid_request(error: RequestValidationError) -> ApiError:
    """A body or a parameter that does not fit: the pointer is into the body, `?name` for a query parameter."""
    places = []
    for found in error.errors():
        where, *path = found["loc"]
        pointer = "".join(f"/{part}" for part in path) if where == "body" else f"?{'.'.join(map(str, path))}"
        if found["type"] == "json_invalid":
            return ApiError("not_json", f"the body is not JSON: {found['ctx']['error']}")
        code = {"extra_forbidden": "unknown_field", "missing": "missing_field"}.get(found["type"], "invalid_field")
        places.append(place(code, f"{path[-1] if path else 'the body'}: {found['msg']}", pointer))
    return ApiError("invalid_request", "the request does not fit", errors=places)
