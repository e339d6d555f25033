"""Which page may ask the codec endpoint from a browser: Temporal's own (`SOP_TEMPORAL_UI`), and no other.

A browser asks first without a key (a preflight), so that is answered outside of the authentication, for that origin only. Everything else
goes on to it.
"""

from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATHS: Final = ("/codec/encode", "/codec/decode")
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "authorization, content-type, x-namespace",
    "Access-Control-Max-Age": "600",
}


class Origins:
    """Around the authentication: tells browsers that this page may read the answers of the codec's paths."""

    def __init__(self, app: ASGIApp, page: str | None) -> None:
        self._app = app
        self._origin = origin_of(page) if page else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in PATHS or self._origin is None:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        allowed = headers.getlist("origin") == [self._origin]
        if allowed and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            found = MutableHeaders(_PREFLIGHT | _allow(self._origin))
            await send({"type": "http.response.start", "status": 204, "headers": found.raw})
            await send({"type": "http.response.body", "body": b""})
            return
        told = _allow(self._origin) if allowed else {"Vary": "Origin"}

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(told)
            await send(message)

        await self._app(scope, receive, telling)


def _allow(origin: str) -> dict[str, str]:
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true", "Vary": "Origin"}


def origin_of(page: str) -> str:
    """The origin of an address, as browsers write it."""
    parts = urlsplit(page)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = f":{parts.port}" if parts.port not in (None, default) else ""
    return f"{parts.scheme}://{host}{port}"
