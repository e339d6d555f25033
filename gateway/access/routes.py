"""The scope that each route takes, in one place, and the guard that asks for it.

`{name}` is the route's parameter of that name, as the route itself gets it: what is asked for and what is done cannot differ, however a
path is written. `?` stands for some names: any scope for some of them is enough, and the route itself asks about the one that it finds in
the body, or leaves out of a list what the key may not see.

The guards stand around the routes themselves, before anything of a body is read. An application is only built of routes that are declared
here (`guarded`), and with no declaration of a route that there is not: a new route cannot forget it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Final

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Asgi

from toolbox.access import Access, Scope, divided, forbidden

_NOBODY: Final = "public"
_ANYBODY: Final = "any"
"""What a route takes that is for any valid key."""

ROUTES: Final[dict[str, str]] = {
    "GET /livez": _NOBODY,
    "GET /readyz": _NOBODY,
    "GET /docs": _NOBODY,
    "GET /openapi.json": _NOBODY,
    # scripts
    "POST /v1/scripts": "scripts:write:?",
    "POST /v1/scripts:check": "scripts:read:?",
    "GET /v1/scripts": "scripts:read:?",
    "GET /v1/scripts/{name}": "scripts:read:{name}",
    "GET /v1/scripts/{name}/versions": "scripts:read:{name}",
    "GET /v1/scripts/{name}/versions/{version}": "scripts:read:{name}",
    "GET /v1/drafts": "scripts:write:?",
    "POST /v1/drafts": "scripts:write:?",
    "GET /v1/drafts/{draft_id}": "scripts:write:?",
    "PUT /v1/drafts/{draft_id}": "scripts:write:?",
    "PATCH /v1/drafts/{draft_id}": "scripts:write:?",
    "DELETE /v1/drafts/{draft_id}": "scripts:write:?",
    "POST /v1/drafts/{draft_id}:check": "scripts:write:?",
    "GET /v1/drafts/{draft_id}/diff": "scripts:write:?",
    "GET /v1/drafts/{draft_id}/revisions": "scripts:write:?",
    "GET /v1/drafts/{draft_id}/revisions/{revision}": "scripts:write:?",
    "POST /v1/drafts/{draft_id}:publish": "scripts:write:?",
    "GET /v1/scripts/{name}/versions/{version}/outline": "scripts:read:{name}",
    "GET /v1/scripts/{name}/versions/{version}/diagram": "scripts:read:{name}",
    "GET /v1/scripts/{name}/versions/{version}/review": "scripts:read:{name}",
    "POST /v1/scripts:outline": "scripts:read:?",
    "POST /v1/scripts:diagram": "scripts:read:?",
    "POST /v1/scripts:review": "scripts:read:?",
    "GET /v1/tools": "scripts:read:?",
    "GET /v1/tools/{name}": "scripts:read:?",
    # runs
    "POST /v1/scripts/{name}/runs": "scripts:run:{name}",
    "POST /v1/call/{name}": "scripts:run:{name}",
    "GET /v1/runs": "runs:read",
    "GET /v1/runs/{run_id}": "runs:read",
    "GET /v1/runs/{run_id}/events": "runs:read",
    "GET /v1/runs/{run_id}/steps": "runs:read",
    "GET /v1/runs/{run_id}/batches": "runs:read",
    "GET /v1/approvals": "runs:read",
    "POST /v1/runs/{run_id}/cancel": "runs:control",
    "POST /v1/runs/{run_id}:pause": "runs:control",
    "POST /v1/runs/{run_id}:resume": "runs:control",
    "POST /v1/runs/{run_id}:concurrency": "runs:control",
    "POST /v1/runs/{run_id}:decide": "runs:control",
    "POST /v1/runs/{run_id}:rerun": "runs:control",
    # sessions
    "POST /v1/sessions": "sessions",
    "GET /v1/sessions": "sessions",
    "GET /v1/sessions/{session_id}": "sessions",
    "PATCH /v1/sessions/{session_id}": "sessions",
    "DELETE /v1/sessions/{session_id}": "sessions",
    "POST /v1/sessions/{session_id}/messages": "sessions",
    "POST /v1/sessions/{session_id}/approvals/{approval}": "sessions",
    "POST /v1/sessions/{session_id}:stop": "sessions",
    "GET /v1/sessions/{session_id}/records": "sessions",
    "GET /v1/sessions/{session_id}/records/{seq}/rows": "sessions",
    # schedules
    "GET /v1/schedules": "schedules:read",
    "GET /v1/schedules/{schedule_id}": "schedules:read",
    "GET /v1/schedules/{schedule_id}/times": "schedules:read",
    "POST /v1/schedules": "schedules:write",
    "PATCH /v1/schedules/{schedule_id}": "schedules:write",
    "DELETE /v1/schedules/{schedule_id}": "schedules:write",
    "POST /v1/schedules/{schedule_id}/pause": "schedules:write",
    "POST /v1/schedules/{schedule_id}/unpause": "schedules:write",
    "POST /v1/schedules/{schedule_id}/trigger": "schedules:write",
    "POST /v1/schedules/{schedule_id}/backfill": "schedules:write",
    # databases
    "GET /v1/databases": "data:?:read",
    "POST /v1/databases": "data:?:write",
    "GET /v1/databases/{database}": "data:{database}:read",
    "POST /v1/databases/{database}:check": "data:{database}:read",
    "POST /v1/databases/{database}:compact": "data:{database}:write",
    "GET /v1/databases/{database}/backup": "data:{database}:read",
    "PUT /v1/databases/{database}/backup": "data:{database}:write",
    "GET /v1/databases/{database}/versions": "data:{database}:read",
    "GET /v1/databases/{database}/stores": "data:{database}:read",
    "POST /v1/databases/{database}/stores": "data:{database}:write",
    "GET /v1/databases/{database}/stores/{store}": "data:{database}:read",
    "GET /v1/databases/{database}/stores/{store}/changes": "data:{database}:read",
    "POST /v1/databases/{database}/stores/{store}:restore": "data:{database}:write",
    "POST /v1/databases/{database}/stores/{store}/indexes": "data:{database}:write",
    "DELETE /v1/databases/{database}/stores/{store}/indexes/{index}": "data:{database}:write",
    # rows
    "GET /v1/databases/{database}/stores/{store}/rows": "data:{database}:read",
    "GET /v1/databases/{database}/stores/{store}/rows/{key}": "data:{database}:read",
    "POST /v1/databases/{database}/stores/{store}/rows": "data:{database}:write",
    "PUT /v1/databases/{database}/stores/{store}/rows/{key}": "data:{database}:write",
    "PATCH /v1/databases/{database}/stores/{store}/rows/{key}": "data:{database}:write",
    "DELETE /v1/databases/{database}/stores/{store}/rows/{key}": "data:{database}:write",
    "GET /v1/databases/{database}/stores/{store}/rows:export": "data:{database}:read",
    "POST /v1/databases/{database}/stores/{store}:select": "data:{database}:read",
    "POST /v1/databases/{database}/stores/{store}:join": "data:{database}:read",
    "POST /v1/databases/{database}/stores/{store}:aggregate": "data:{database}:read",
    "POST /v1/databases/{database}/stores/{store}/rows:import": "data:{database}:write",
    "POST /v1/databases/{database}/stores/{store}:update": "data:{database}:write",
    "POST /v1/databases/{database}/stores/{store}:delete": "data:{database}:write",
    # secrets
    "GET /v1/secrets": "secrets:read:?",
    "PUT /v1/secrets/{secret}": "secrets:write:{secret}",
    "DELETE /v1/secrets/{secret}": "secrets:write:{secret}",
    "POST /v1/secrets:rotate": "admin",
    # payloads of Temporal
    "POST /codec/encode": "runs:control",
    "POST /codec/decode": "runs:read",
    # mcp
    "POST /mcp": "mcp",
    "GET /mcp": "mcp",
    "DELETE /mcp": "mcp",
    "GET /v1/mcp/catalog": "mcp",
    # access
    "POST /v1/session": _ANYBODY,
    "GET /v1/session": _ANYBODY,
    "DELETE /v1/session": _ANYBODY,
    "GET /v1/keys": "keys",
    "POST /v1/keys": "keys",
    "GET /v1/keys/{key_id}": "keys",
    "DELETE /v1/keys/{key_id}": "keys",
    "GET /v1/audit": "admin",
    "GET /v1/diagnostics": "admin",
}
"""Method and path -> the scope that it takes."""

PUBLIC: Final = frozenset(route.partition(" ")[2] for route, scope in ROUTES.items() if scope == _NOBODY)
"""The paths that need no key."""
KNOWING: Final = frozenset({"/openapi.json"})
"""Those of them that tell more with a key: one that is sent is looked at."""

_SOME: Final = "?"
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_CONVERTOR: Final = re.compile(r":[a-z]+\}")
_TARGETS: Final = {
    "database": "database",
    "store": "store",
    "index": "index",
    "run_id": "run",
    "schedule_id": "schedule",
    "key_id": "key",
    "secret": "secret",
    "name": "script",
    "draft_id": "draft",
    "session_id": "session",
}


class UndeclaredRoute(RuntimeError):
    """A route and its declaration do not go together."""


@dataclass(frozen=True)
class Need:
    """What a route takes. `parameter` is where it finds the name; `some` says that the route asks itself."""

    scope: Scope
    parameter: str | None = None
    some: bool = False

    @classmethod
    def of(cls, text: str) -> "Need":
        """Raises InvalidScope."""
        if text == _ANYBODY:
            return cls(Scope(_ANYBODY))
        scope = divided(text)
        found = _PARAMETER.fullmatch(scope.names)
        return cls(scope, found[1] if found is not None else None, scope.names == _SOME)

    def check(self, access: Access, parameters: Mapping[str, Any]) -> None:
        """Raises Forbidden."""
        if self.scope.area == _ANYBODY:
            return
        area, action = self.scope.area, self.scope.action
        if self.some:
            if not access.has_some(area, action):
                raise forbidden([Scope(area, action, "*")])
        elif self.parameter is not None:
            access.require(Scope(area, action, str(parameters[self.parameter])))
        else:
            access.require(self.scope)


@dataclass(frozen=True)
class Reached:
    """The route that a request came to, for the audit log; a route may add to `target` what it finds in the body."""

    route: str
    writes: bool
    target: dict[str, str]


class _Guard:
    """Around a route: what it takes, by method; None for those that need no key."""

    def __init__(self, app: ASGIApp, path: str, needs: Mapping[str, Need | None]) -> None:
        self._app = app
        self._path = path
        self._needs = needs

    async def __call__(self, scope: Asgi, receive: Receive, send: Send) -> None:
        need, parameters, state = self._needs[scope["method"]], scope["path_params"], scope["state"]
        if need is not None:
            target = {_TARGETS[name]: str(value) for name, value in parameters.items() if name in _TARGETS}
            state["reached"] = Reached(self._path, _writes(scope["method"], need), target)
            need.check(state["access"], parameters)
        await self._app(scope, receive, send)


def _writes(method: str, need: Need) -> bool:
    """Whether it may change something. What a message of MCP does, it does by requests of its own."""
    if need.scope.area == "mcp":
        return False
    return method not in ("GET", "HEAD", "OPTIONS") and need.scope.action != "read"


def guarded(routes: Iterable[BaseRoute], declared: Mapping[str, str] = ROUTES) -> Iterator[APIRoute]:
    """The routes with their guards. Raises UndeclaredRoute."""
    left = dict(declared)
    for route in routes:
        if not isinstance(route, APIRoute):
            raise UndeclaredRoute(f"{route!r} is no route that can be guarded")
        path = template(route.path)
        needs: dict[str, Need | None] = {}
        for method in sorted(route.methods or ()):
            text = left.pop(f"{method} {path}", None)
            if text is None:
                raise UndeclaredRoute(
                    f"{method} {path} does not say which scope it takes: declare it, once, in {__name__}"
                )
            needs[method] = Need.of(text) if text != _NOBODY else None
        for need in needs.values():
            if need is not None and need.parameter is not None and need.parameter not in route.param_convertors:
                raise UndeclaredRoute(f"{path} has no parameter {need.parameter!r}")
        made = copy(route)
        made.app = _Guard(route.app, path, needs)
        yield made
    if left:
        raise UndeclaredRoute(f"there is no route {', '.join(left)}")


def template(path: str) -> str:
    """A route's path as the API describes it: without the kinds of its parameters."""
    return _CONVERTOR.sub("}", path)


def access_of(request: Request) -> Access:
    """What the key of a request may do."""
    access: Access = request.state.access
    return access


def changes_nothing(request: Request) -> None:
    """Tell the audit log that a request, as it turned out, has only found what another one did."""
    request.state.reached = replace(request.state.reached, writes=False)


def about(request: Request, **target: str) -> None:
    """Tell the audit log what a request is about, as its body says."""
    reached: Reached = request.state.reached
    reached.target.update(target)
