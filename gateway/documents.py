"""The API's own description: /openapi.json, and /docs, a page of ours that needs nothing from elsewhere.

FastAPI's default documentation page loads scripts from a content network, which fails offline and under a strict content
policy; and its default 422 has another shape than our problems. Both are replaced here. Whoever sends a key finds the scripts in the
document that the key may call, too (`published`).
"""

import asyncio
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from gateway.access import PUBLIC, ROUTES
from gateway.preconditions import not_modified, tag
from gateway.problems import MEDIA_TYPE
from gateway.published import Catalog, callable_programs, catalog, with_calls
from gateway.services import Services
from toolbox.access import Access, Scope

router = APIRouter()

PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "description": "RFC 9457 problem details; `code` is stable.",
    "required": ["type", "title", "status", "detail", "instance", "code", "errors", "request_id", "retryable"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "code": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail", "code"],
                "properties": {name: {"type": "string"} for name in ("pointer", "detail", "code", "hint", "scope")},
            },
        },
        "hint": {"type": "string"},
        "request_id": {"type": "string"},
        "retryable": {"type": "boolean"},
    },
}
ERRORS: Final = {
    "401": "no valid API key",
    "403": "not for this key, or not for scripts or clients",
    "404": "there is no such thing",
    "406": "there is no such form of the answer",
    "409": "it is there already, has ended, or goes on",
    "412": "it was changed meanwhile: If-Match is of another revision",
    "413": "the body is too large",
    "415": "the body's content type, or its encoding, is not taken here",
    "422": "the request does not fit; `errors` has every place",
    "428": "a change takes If-Match: which revision is meant",
    "429": "too many requests; `Retry-After` says when to come again",
    "500": "the gateway failed",
    "502": "Temporal refused",
    "503": "something that is needed does not answer; try again",
    "507": "the disk is full",
}
"""The errors that every operation may answer with, all of them problems: described once, as components."""
PUBLIC_ERRORS: Final = ("500", "503")
"""Those of operations that take no key and no input."""
KEPT: Final = 32
"""Documents of different keys that are kept."""
_PROBLEM: Final = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document."""
    document = get_openapi(title=app.title, version=app.version, description=_ABOUT, routes=app.routes)
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = PROBLEM_SCHEMA
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    components["responses"] = {
        f"E{status}": {"description": text, "content": _PROBLEM} for status, text in ERRORS.items()
    }
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "sop_<id>_<secret>"}}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path not in PUBLIC:
                operation["x-scope"] = ROUTES[f"{method.upper()} {path}"]
            operation["security"] = [] if path in PUBLIC else [{"key": []}]
            operation["responses"] |= errors_of(path)
            if path in PUBLIC:
                operation["responses"].pop("422", None)
    return document


def errors_of(path: str) -> dict[str, dict[str, str]]:
    """The errors of an operation, as references."""
    statuses = PUBLIC_ERRORS if path in PUBLIC else tuple(ERRORS)
    return {status: {"$ref": f"#/components/responses/E{status}"} for status in statuses}


def named(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """The routes with the names of their operations (`operation_id`)."""
    for route in routes:
        if isinstance(route, APIRoute):
            route.unique_id = route.operation_id = operation_id(route)
        yield route


def operation_id(route: APIRoute) -> str:
    """An operation's name, for clients that are made of the document: the noun of its module (of its folder, if the module is `routes`) and
    what it does. It does not change when a path or a method does."""
    *_, folder, module = route.endpoint.__module__.split(".")
    noun = folder if module == "routes" else module
    verb = route.name.strip("_")
    return verb if verb == noun else f"{noun}_{verb}"


_ABOUT: Final = "Scripts as stored procedures: save them, run them, and read their results as a stream."


class Documents:
    """The documents of one gateway, as texts with their entity tags: one for each set of scopes, kept until a script is saved."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._general: dict[str, Any] | None = None
        self._known: OrderedDict[tuple[Catalog, tuple[tuple[Scope, ...], ...]], tuple[bytes, str]] = OrderedDict()

    def get(self, here: Services, access: Access | None) -> tuple[bytes, str]:
        """The document for a key; for nobody, that without scripts."""
        known = catalog(here) if access is not None else ()
        key = (known, (access.scopes, *access.grants) if access is not None else ())
        with self._lock:
            found = self._known.pop(key, None) or self._made(here, access, known)
            self._known[key] = found
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return found

    def _made(self, here: Services, access: Access | None, known: Catalog) -> tuple[bytes, str]:
        self._general = self._general or describe(self._app)
        programs = callable_programs(here, access, known) if access is not None else []
        text = orjson.dumps(with_calls(self._general, programs))
        return text, tag(hashlib.sha256(text).hexdigest()[:32])


@router.get("/openapi.json", include_in_schema=False)
async def openapi_document(request: Request) -> Response:
    """The document; with a key, also the scripts that the key may call."""
    app: FastAPI = request.app
    access = getattr(request.state, "access", None)
    text, current = await asyncio.to_thread(app.state.documents.get, app.state.services, access)
    headers = {"ETag": current, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
    return not_modified(request, current) or Response(text, headers=headers, media_type="application/json")


@router.get("/docs", include_in_schema=False)
async def page() -> HTMLResponse:
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": policy})


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>SOP on Temporal: API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
code, summary { font-family: ui-monospace, monospace } summary { cursor: pointer; padding: .3rem 0 }
b { display: inline-block; width: 5rem } pre { background: #f4f4f4; padding: .7rem; overflow: auto; font-size: .85rem }
</style></head><body>
<h1>SOP on Temporal: API</h1>
<p>Every request needs <code>Authorization: Bearer &lt;key&gt;</code>; the first key is in the file <code>api-key</code> of the data
directory. Errors are <code>application/problem+json</code>. The whole description: <a href="/openapi.json">/openapi.json</a>.</p>
<main id="list">Loading /openapi.json</main>
<script>
const node = (name, text) => { const made = document.createElement(name); made.textContent = text || ""; return made };
fetch("/openapi.json").then(answer => answer.json()).then(api => {
  const list = document.getElementById("list");
  list.textContent = "";
  let tag = "";
  for (const [path, operations] of Object.entries(api.paths)) for (const [method, told] of Object.entries(operations)) {
    const group = (told.tags || [""])[0];
    if (group !== tag) { tag = group; list.append(node("h2", group)) }
    const details = node("details"), summary = node("summary");
    summary.append(node("b", method.toUpperCase()), path, " ", node("em", told.summary));
    details.append(summary, node("p", told.description));
    const shown = { parameters: told.parameters, requestBody: told.requestBody, responses: Object.keys(told.responses) };
    details.append(node("pre", JSON.stringify(shown, null, 2)));
    list.append(details);
  }
});
</script></body></html>
"""
