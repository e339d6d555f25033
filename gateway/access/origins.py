"""Where a browser's request comes from: whether the connection is safe for a cookie, whose page asks, and pages elsewhere that may.

A page of another origin may use the API only if it is on the list (`SOP_ALLOWED_ORIGINS`), which is empty by default: browsers do not show
it any answer then (CORS), and a request with a cookie that would change something is refused, whatever the browser does.
"""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.problems import ApiError

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_READABLE: Final = ("Location", "ETag", "Run-Id", "Row-Count", "Database-Version", "Preference-Applied", "X-Request-ID",
                    "Mcp-Session-Id", "Retry-After", "RateLimit", "RateLimit-Policy")  # fmt: skip


def is_secure(scope: Scope) -> bool:
    """Whether the browser's connection is TLS, to here or to the proxy in front."""
    return bool(scope.get("scheme") == "https")


def check_safe_for_cookies(scope: Scope) -> None:
    """Raises ApiError `insecure_connection`, if a cookie would cross a network in the clear."""
    try:
        host = urlsplit(f"//{Headers(scope=scope).get('host', '')}").hostname or ""
    except ValueError:
        host = ""
    if not is_secure(scope) and not _is_loopback(host):
        hint = "put a TLS proxy in front, which sets X-Forwarded-Proto"
        raise ApiError("insecure_connection", "a session needs https, except on loopback", hint=hint)


def check_origin(scope: Scope, allowed: frozenset[str]) -> None:
    """Whether a request that is known by a cookie comes from a page of ours, if it would change something.

    Raises ApiError `cross_origin`.
    """
    if scope["method"] in _SAFE:
        return
    headers = Headers(scope=scope)
    origins = headers.getlist("origin")
    own = f"{scope['scheme']}://{headers.get('host', '')}"
    if len(origins) != 1 or (origins[0] != own and origins[0] not in allowed):
        raise ApiError(
            "cross_origin",
            "this page may not do that in the name of who is logged in",
            pointer="Origin",
            hint=f"the Origin has to be {own}; others are named in SOP_ALLOWED_ORIGINS",
        )


class Cors(CORSMiddleware):
    """CORS for the pages of some origins, and perhaps for some paths only; for all others there is none.

    It stands around the authentication: browsers ask first without a key (a preflight).
    """

    def __init__(self, app: ASGIApp, origins: frozenset[str], paths: frozenset[str] | None = None) -> None:
        self._paths = paths
        super().__init__(
            app,
            allow_origins=sorted(origins),
            allow_methods=_METHODS,
            allow_headers=["*"],
            allow_credentials=True,
            expose_headers=_READABLE,
            max_age=600,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        here = scope["type"] == "http" and (self._paths is None or scope["path"] in self._paths)
        origin = Headers(scope=scope).get("origin") if here else None
        if origin is None or not self.is_allowed_origin(origin):
            await self.app(scope, receive, send)
            return
        await super().__call__(scope, receive, send)


def origin_of(page: str) -> str:
    """The origin of an address, as browsers write it."""
    parts = urlsplit(page)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = f":{parts.port}" if parts.port not in (None, default) else ""
    return f"{parts.scheme}://{host}{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
