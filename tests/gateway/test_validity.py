"""Streams do not outlive their keys: a key that is revoked or expires, or a session that ends, ends them with an error."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
import pytest_asyncio
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.exceptions import MCPError

from gateway.access import Credential, Keys, Validity
from gateway.access.validity import _TASK, ended
from tests.gateway.conftest import Gateway, authorization, eventually, listening, problem_of
from tests.gateway.test_mcp import MODERN, connected, error_of
from tests.gateway.test_mcp_access import HEADERS, INITIALIZE
from tests.gateway.test_rows_streams import ITEMS, fill, many
from toolbox.access import Access, parse_scopes

PATIENCE = 10


@pytest_asyncio.fixture(loop_scope="session")
async def watched(gateway: Gateway) -> AsyncIterator[str]:
    """A gateway on a socket, which looks at its keys often."""
    often = Validity(gateway.services.keys, gateway.services.sessions, every=0.02)
    async with listening(replace(gateway.services, validity=often, stopping=asyncio.Event())) as url:
        yield url


def made(gateway: Gateway, *scopes: str) -> str:
    return gateway.services.keys.create("anna", parse_scopes(scopes or ["admin"]))


def revoke(gateway: Gateway, key: str) -> None:
    gateway.services.keys.revoke(key.split("_")[1])


async def test_a_stream_of_events_ends_with_its_key(gateway: Gateway, watched: str) -> None:
    await gateway.save_held()
    one, other = made(gateway, "scripts:call:held"), made(gateway)
    async with (
        httpx2.AsyncClient(base_url=watched, timeout=PATIENCE) as http,
        http.stream("POST", "/v1/call/held", json={}, headers=authorization(one)) as answer,
    ):
        lines = answer.aiter_lines()
        for _ in range(2):
            await anext(lines)
        run_id = answer.headers["run-id"]
        async with http.stream("GET", f"/v1/runs/{run_id}/events", headers=authorization(other)) as kept:
            others = kept.aiter_lines()
            await anext(others)
            revoke(gateway, one)
            last = json.loads(await anext(lines))
            assert await anext(lines, None) is None
            gateway.gate.set()
            rest = [json.loads(line) async for line in others]
    assert (last["type"], last["after"]) == ("error", 2)
    assert (last["error"]["code"], last["error"]["status"], last["error"]["retryable"]) == (
        "not_authenticated",
        401,
        False,
    )
    assert (rest[-1]["type"], rest[-1]["status"]) == ("run", "completed")


async def test_a_stream_of_a_browser_ends_with_its_session(gateway: Gateway, watched: str) -> None:
    await gateway.save_held()
    started = (await gateway.http.post("/v1/scripts/held/runs", json={})).json()
    async with httpx2.AsyncClient(base_url=watched, timeout=PATIENCE) as http:
        await http.post("/v1/session", headers=authorization(made(gateway, "runs:read")))
        async with http.stream("GET", started["events"], headers={"Accept": "text/event-stream"}) as answer:
            lines = answer.aiter_lines()
            while await anext(lines) != "event: step.result":
                pass
            assert (await http.delete("/v1/session", headers={"Origin": watched})).status_code == 204
            rest = [line async for line in lines]
    gateway.gate.set()
    assert json.loads(rest[-2].removeprefix("data: "))["error"]["code"] == "not_authenticated"


async def test_rows_end_with_their_key(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    fill(gateway, many(100_000, 300))
    key, got = made(gateway, "data:*:read"), b""
    with pytest.raises(httpx2.RemoteProtocolError):
        async with live.stream("GET", f"{ITEMS}/rows:export", headers=authorization(key)) as answer:
            async for piece in answer.aiter_bytes():
                if not got:
                    revoke(gateway, key)
                    await gateway.services.validity.look()
                got += piece
    assert json.loads(got.splitlines()[-1])["error"]["code"] == "not_authenticated"


@pytest.mark.parametrize("end", ["key", "gateway"])
async def test_a_backup_ends_with_its_key_and_with_the_gateway(
    gateway: Gateway, live: httpx2.AsyncClient, end: str
) -> None:
    fill(gateway, many(100_000, 300))
    key, got, whole = made(gateway, "admin"), 0, 0
    with pytest.raises(httpx2.RemoteProtocolError):
        async with live.stream("GET", "/v1/databases/shop/backup", headers=authorization(key)) as answer:
            whole = int(answer.headers["content-length"])
            async for piece in answer.aiter_bytes():
                if not got and end == "key":
                    revoke(gateway, key)
                    await gateway.services.validity.look()
                elif not got:
                    gateway.services.stopping.set()
                got += len(piece)
    assert 0 < got < whole


async def test_who_waits_for_a_table_is_told(gateway: Gateway, watched: str) -> None:
    await gateway.save_held()
    started = (await gateway.http.post("/v1/scripts/held/runs", json={})).json()
    key = made(gateway, "runs:read")
    async with httpx2.AsyncClient(base_url=watched, timeout=PATIENCE, headers=authorization(key)) as http:
        asking = asyncio.ensure_future(http.get(f"{started['events']}?format=csv"))
        await eventually(lambda: gateway.services.notes.last_uses().get(key.split("_")[1]))
        revoke(gateway, key)
        problem_of(await asking, 401, "not_authenticated")
    gateway.gate.set()


async def test_a_session_of_mcp_is_not_listened_to_beyond_its_key(gateway: Gateway, watched: str) -> None:
    key = made(gateway, "mcp")
    async with httpx2.AsyncClient(base_url=watched, headers=HEADERS | authorization(key), timeout=PATIENCE) as http:
        session = {"mcp-session-id": (await http.post("/mcp", json=INITIALIZE)).headers["mcp-session-id"]}
        async with http.stream("GET", "/mcp", headers=session) as answer:
            assert answer.status_code == 200
            revoke(gateway, key)
            with suppress(httpx2.RemoteProtocolError):  # it ends as a cut one does
                assert [piece async for piece in answer.aiter_bytes() if not piece.startswith(b":")] == []


async def test_who_listens_to_changes_is_told(gateway: Gateway, watched: str) -> None:
    key = made(gateway, "mcp")
    async with connected(watched, key, MODERN) as client, client.listen(tools_list_changed=True) as events:
        revoke(gateway, key)
        with pytest.raises((SubscriptionLost, MCPError)):
            async with asyncio.timeout(PATIENCE):
                await anext(aiter(events))


async def test_a_call_that_waits_ends_with_its_key(gateway: Gateway, watched: str) -> None:
    await gateway.save_held()
    key, heard = made(gateway, "mcp", "scripts:call:held"), asyncio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.set()

    async with connected(watched, key) as client:
        arguments = {"script": "held", "wait_seconds": 600}
        calling = asyncio.create_task(client.call_tool("start_run", arguments, progress_callback=hear))
        await asyncio.wait_for(heard.wait(), PATIENCE)
        revoke(gateway, key)
        refused = error_of(await asyncio.wait_for(calling, PATIENCE))
    gateway.gate.set()
    assert (refused["code"], refused["status"]) == ("not_authenticated", 401)


async def test_a_key_is_looked_at_once_however_many_streams_it_has(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, asked = gateway.services.keys, []
    validity = Validity(keys, gateway.services.sessions, every=3600)
    access, other = keys.verify(made(gateway)), keys.verify(made(gateway, "mcp"))
    assert access is not None and other is not None
    find = keys.access

    def looking() -> int:
        return sum(task.get_name() == _TASK for task in asyncio.all_tasks())

    def counted(key_id: str) -> Access | None:
        asked.append(key_id)
        return find(key_id)

    monkeypatch.setattr(keys, "access", counted)
    with ExitStack() as stack:
        events = [stack.enter_context(validity.held(Credential(access))) for _ in range(50)]
        events += [stack.enter_context(validity.held(Credential(other)))]
        assert looking() == 1
        await validity.look()
        assert sorted(asked) == sorted([access.key_id, other.key_id])
        keys.revoke(access.key_id)
        await validity.look()
        assert [event.is_set() for event in events] == [True] * 50 + [False]
        asked.clear()
        await validity.look()
        assert asked == [other.key_id]
        with validity.held(Credential(access)) as late:
            assert late.is_set()
    await eventually(lambda: not looking())
    with validity.held(None) as never:
        assert not never.is_set()
        assert not looking()


async def test_keys_and_tokens_expire(gateway: Gateway) -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)

    def clock() -> datetime:
        return now

    keys = Keys(gateway.services.databases, clock)
    validity = Validity(keys, gateway.services.sessions, skew=30, every=3600, clock=clock)
    key = keys.verify(keys.create("anna", expires_at=now + timedelta(minutes=1)))
    assert key is not None
    token = Access("oidc:u", "u", (), (now + timedelta(minutes=1)).isoformat(), by_token=True)
    with validity.held(Credential(key)) as of_key, validity.held(Credential(token)) as of_token:
        for seconds, expected in ((59, (False, False)), (60, (True, False)), (89, (True, False)), (90, (True, True))):
            now = datetime(2026, 5, 1, tzinfo=UTC) + timedelta(seconds=seconds)
            await validity.look()
            assert (of_key.is_set(), of_token.is_set()) == expected, seconds


async def test_what_cannot_be_told_ends_nothing(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keys = gateway.services.keys
    validity = Validity(keys, gateway.services.sessions, every=0.01)
    key = keys.verify(made(gateway))
    assert key is not None

    def broken(key_id: str) -> Access | None:
        raise OSError("no disk")

    with monkeypatch.context() as patch, validity.held(Credential(key)) as over:
        patch.setattr(keys, "access", broken)
        await eventually(lambda: "cannot be told" in caplog.text)
        assert not over.is_set()
        patch.undo()
        keys.revoke(key.key_id)
        await asyncio.wait_for(over.wait(), PATIENCE)
    assert ended().status == 401
