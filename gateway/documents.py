"""The API's own description: /openapi.json, and /docs, a page of ours that needs nothing from elsewhere.

FastAPI's default documentation page loads scripts from a content network, which fails offline and under a strict content
policy; and its default 422 has another shape than our problems. Both are replaced here.
"""

from functools import lru_cache
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse

from gateway.access import PUBLIC, ROUTES
from gateway.problems import MEDIA_TYPE

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
_ERRORS: Final = {
    "401": "no valid API key",
    "403": "not for this key, or not for scripts or clients",
    "404": "there is no such thing",
    "409": "it is there already, or has ended",
    "413": "the body is too large",
    "422": "the request does not fit; `errors` has every place",
    "429": "too many requests; `Retry-After` says when to try again",
    "500": "the gateway failed",
    "503": "something that is needed does not answer; try again",
}


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document."""
    document = get_openapi(title=app.title, version=app.version, description=__doc__ and _ABOUT, routes=app.routes)
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = PROBLEM_SCHEMA
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "sop_<id>_<secret>"}}
    problem = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if path not in PUBLIC:
                operation["x-scope"] = ROUTES[f"{method.upper()} {path}"]
            operation["security"] = [] if path in PUBLIC else [{"key": []}]
            for status, text in _ERRORS.items():
                if path not in PUBLIC or status in ("500", "503"):
                    operation["responses"][status] = {"description": text, **problem}
            if path in PUBLIC:
                operation["responses"].pop("422", None)
    return document


_ABOUT: Final = "Scripts as stored procedures: save them, run them, and read their results as a stream."


@router.get("/openapi.json", include_in_schema=False)
async def openapi_document(request: Request) -> JSONResponse:
    return JSONResponse(_described(request.app))


@lru_cache(maxsize=4)
def _described(app: FastAPI) -> dict[str, Any]:
    return describe(app)


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
