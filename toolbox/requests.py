"""http_request: one request to the outside."""

import hashlib
import re
from base64 import b64encode
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import Field

from script.compiler.secrets import SECRETS
from toolbox import http
from toolbox.context import ToolContext
from toolbox.errors import InvalidArguments
from toolbox.tool import tool

MAX_RESPONSE_BYTES: Final = 48 * 1024
"""Of a body: what a step gives is at most 64 KiB of JSON."""
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OURS: Final = ("host", "content-length", "transfer-encoding", "connection", "accept-encoding")

_TAKES_SECRETS: Final = Field(json_schema_extra={SECRETS: True})

Method = Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]


@tool(effect="external")
def http_request(
    ctx: ToolContext,
    url: str,
    method: Method = "GET",
    headers: Annotated[dict[str, str] | None, _TAKES_SECRETS] = None,
    body: Annotated[str | None, _TAKES_SECRETS] = None,
    json: Annotated[Any, _TAKES_SECRETS] = None,
    timeout_seconds: Annotated[float, Field(gt=0, le=300, strict=False)] = 30,
    follow_redirects: bool = False,
) -> dict[str, Any]:
    """Send an HTTP request, and give {status, headers, url} with json, body (text) or body_base64, whatever the status is.

    A request that is no GET, HEAD or OPTIONS has an Idempotency-Key that is the same whenever the step is tried again.
    secret://name in headers, body or json is replaced by the secret of this name; such a request goes over TLS, and not behind a redirect.
    """
    host = http.parse_url(url).raw_host.decode()
    sent = _headers(ctx.secrets.fill(headers or {}, "/headers", host))
    body, json = ctx.secrets.fill(body, "/body", host), ctx.secrets.fill(json, "/json", host)
    if ctx.secrets.used and follow_redirects:
        raise InvalidArguments("a request with secrets follows no redirects", pointer="/follow_redirects")
    content: bytes | None = None
    if body is not None and json is not None:
        raise InvalidArguments("a request has a body or json, not both", pointer="/json")
    if body is not None or json is not None:
        kind = "text/plain; charset=utf-8" if json is None else "application/json"
        content = orjson.dumps(json) if json is not None else (body or "").encode()
        sent.setdefault("content-type", kind)
    if method not in ("GET", "HEAD", "OPTIONS"):
        sent.setdefault("idempotency-key", hashlib.sha256(ctx.idempotency_key.encode()).hexdigest()[:40])
    got = http.request(
        ctx.services.http,
        method,
        url,
        headers=sent,
        content=content,
        timeout_seconds=timeout_seconds,
        max_bytes=MAX_RESPONSE_BYTES,
        follow_redirects=follow_redirects,
        needs_tls=ctx.secrets.used,
    )
    return {"status": got.status, "headers": got.headers, "url": got.url, **_content(got)}


def _headers(given: dict[str, str]) -> dict[str, str]:
    sent = {"user-agent": "sop-temporal"}
    for name, value in given.items():
        pointer = f"/headers/{name}"
        if not _NAME.fullmatch(name):
            raise InvalidArguments(f"{name!r} is no name of a header", pointer=pointer)
        if name.lower() in _OURS:
            raise InvalidArguments(f"the header {name} follows from the request", pointer=pointer)
        if any(ord(char) < 32 or ord(char) > 126 for char in value):
            raise InvalidArguments(f"the header {name} has a character that a header cannot have", pointer=pointer)
        sent[name.lower()] = value
    return sent


def _content(got: http.HttpResponse) -> dict[str, Any]:
    """The body: what it says it is, if it is that."""
    kind = got.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return {"json": orjson.loads(got.body)}
        except orjson.JSONDecodeError:
            pass
    try:
        return {"body": got.body.decode(got.encoding)}
    except (UnicodeDecodeError, LookupError):
        return {"body_base64": b64encode(got.body).decode()}


TOOLS: Final = (http_request,)
