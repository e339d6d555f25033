"""HTTP without a socket: answers stream, leaving early is heard, and what fails is told; and who hears of changes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway.access import create_limits
from gateway.app import create_app
from gateway.client.errors import NotAllowed, NotFound, Unreachable
from gateway.mcp.api import Api
from gateway.mcp.changes import Changes, ResourcesListChanged, ToolsListChanged
from gateway.mcp.inside import Inside
from tests.gateway.conftest import Gateway, authorization, eventually


@asynccontextmanager
async def inside(app: Any) -> AsyncIterator[Api]:
    async with httpx2.AsyncClient(transport=Inside(app), base_url="http://gateway") as http:
        yield Api(http, {"Authorization": "Bearer k"}, {"client": ("192.0.2.1", 5)})


async def test_pieces_come_as_they_are_sent_and_leaving_is_heard() -> None:
    made, ended = [], asyncio.Event()

    async def numbers() -> AsyncIterator[bytes]:
        for number in range(1_000_000):
            made.append(number)
            yield b"%d\n" % number

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (scope["client"], scope["query_string"]) == (("192.0.2.1", 5), b"a=1+2")
        assert dict(scope["headers"])[b"authorization"] == b"Bearer k"
        await StreamingResponse(numbers())(scope, receive, send)
        ended.set()

    async with inside(app) as api, api.lines("GET", "/x", params={"a": "1 2"}) as lines:
        async for line in lines:
            if line == b"3\n":
                break
        assert len(made) < 10
    assert ended.is_set()
    assert len(made) < 10


async def test_a_call_that_is_given_up_is_heard() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["body"] == b'{"a":1}'
        began.set()
        assert (await receive())["type"] == "http.disconnect"
        ended.set()

    async with inside(app) as api:
        calling = asyncio.create_task(api.post("/x", json={"a": 1}))
        await began.wait()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
    assert ended.is_set()


async def test_what_fails_is_no_answer() -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        return

    async def raises(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("no")

    async def cut(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})

    for app in (silent, raises, cut):
        async with inside(app) as api:
            with pytest.raises(Unreachable):
                await api.get("/x")


async def test_it_is_the_gateway_with_the_callers_rights(gateway: Gateway) -> None:
    limits = create_limits(per_second=1, burst=1, failures_per_minute=0)
    app = create_app(replace(gateway.services, limits=limits))
    key = gateway.services.keys.create("anna", [])
    async with inside(app) as api:
        for _ in range(3):  # requests of the inside are not counted: that which they are part of was
            answer = await replace(api, headers=authorization(gateway.key)).answer("GET", "/v1/databases")
            assert "ratelimit" not in answer.headers
        with pytest.raises(NotFound):
            await replace(api, headers=authorization(gateway.key)).get("/v1/runs/nothing")
        with pytest.raises(NotAllowed):
            await replace(api, headers=authorization(key)).get("/v1/databases")


async def test_who_comes_is_told_of_what_changes_from_then_on() -> None:
    value, asked = "a", 0

    async def tag() -> str:
        nonlocal asked
        asked += 1
        if value == "":
            raise RuntimeError("not now")
        return value

    def came() -> Any:
        return changes.bus.subscribe(lambda event: None)

    changes, heard = Changes(tag, every=1000), list[Any]()
    watching = asyncio.create_task(changes.watch())
    leave = changes.bus.subscribe(heard.append)
    await eventually(lambda: asked == 1)
    assert heard == []
    leave_too = came()
    await eventually(lambda: asked == 2)
    assert heard == []
    value = ""
    came()()
    await eventually(lambda: asked == 3)
    value = "b"
    came()()
    await eventually(lambda: asked == 4 and heard == [ToolsListChanged(), ResourcesListChanged()])
    leave()
    leave()
    leave_too()
    assert changes.bus.listening == 0
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
