"""The gateway's HTTP API for one caller, asynchronous: what goes wrong is an exception of `gateway.client.errors`.

Inside the gateway it goes to the application itself (`inside`), from `sop mcp` over the network; nothing above knows which.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx2
import orjson

from gateway.client.errors import TimedOut, Unreachable
from gateway.client.transport import refusal


@dataclass(frozen=True)
class Api:
    """`headers` go with every request: the caller's key, and the id of the request that it is part of. `stopping` tells whether the gateway
    that answers ends, with nobody else to ask: only inside it that can be told."""

    http: httpx2.AsyncClient
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    extensions: Mapping[str, Any] = field(default_factory=dict)
    stopping: Callable[[], bool] = lambda: False

    async def answer(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """A whole answer. Raises GatewayError."""
        with _explained():
            found = await self.http.request(method, path, **self._with(options))
        if not found.is_success:
            raise refusal(found)
        return found

    async def get(self, path: str, **options: Any) -> Any:
        return (await self.answer("GET", path, **options)).json()

    async def post(self, path: str, **options: Any) -> Any:
        return (await self.answer("POST", path, **options)).json()

    @asynccontextmanager
    async def lines(self, method: str, path: str, **options: Any) -> AsyncIterator["Lines"]:
        """An answer line by line; leaving it early ends it at the other side too. Raises GatewayError."""
        timeout = httpx2.Timeout(None, connect=5.0)
        with _explained():
            async with self.http.stream(method, path, timeout=timeout, **self._with(options)) as answer:
                if not answer.is_success:
                    await answer.aread()
                    raise refusal(answer)
                yield Lines(answer)

    def _with(self, options: dict[str, Any]) -> dict[str, Any]:
        options["headers"] = {**self.headers, **options.get("headers", {})}
        return options | {"extensions": dict(self.extensions)}


class Lines:
    """The lines of an answer, with their line feeds; they end with a line feed and with nothing else (see `client.transport.lines`)."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.headers = answer.headers
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        rest = b""
        async with aclosing(cast(Any, self._answer.aiter_bytes())) as pieces:
            async for piece in pieces:
                *whole, rest = (rest + piece).split(b"\n")
                for line in whole:
                    yield line + b"\n"
        if rest:
            yield rest

    async def records(self) -> AsyncIterator[dict[str, Any]]:
        """The lines as JSON."""
        async for line in self:
            if line.strip():
                yield orjson.loads(line)


@contextmanager
def _explained() -> Any:
    try:
        yield
    except httpx2.TimeoutException:
        raise TimedOut("timed_out", "the gateway did not answer in time", retryable=True) from None
    except httpx2.TransportError as error:
        raise Unreachable("unreachable", f"the gateway is not reachable: {error}", retryable=True) from None
