"""The client's sessions against a real gateway: what is said comes whole, whatever is cut."""

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from gateway.client import Client, Conflict, InvalidRequest, NotFound, following
from tests.gateway.conftest import Gateway, eventually, listening
from tests.gateway.talking import MANY, Talk, talking
from tests.gateway.test_client import Between


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_PAUSE", 0.01)


@dataclass
class World:
    """A gateway on a socket, and a client of it."""

    talk: Talk
    url: str
    sop: Client


@pytest_asyncio.fixture(loop_scope="session")
async def world(gateway: Gateway) -> AsyncIterator[World]:
    async with talking(gateway) as talk, listening(talk.services) as url:
        with Client(url, gateway.key) as sop:
            yield World(talk, url, sop)


async def test_a_conversation(world: World) -> None:
    def work() -> None:
        sessions = world.sop.sessions
        made = sessions.create("churn", limits={"rounds": 2})
        assert (made.title, made.status, made.record["limits"]["rounds"]) == ("churn", "open", 2)
        turn = sessions.send(made.id, "hello")
        assert turn.text() == "hello"
        assert (turn.status, turn.last_seq) == ("completed", 5)
        with sessions.send(made.id, "mail") as asking:
            assert [said.type for said in asking] == ["user", "card", "turn"]
        assert asking.status == "waiting"
        [pending] = sessions.get(made.id).pending
        assert (pending.id, pending.tool, pending.args) == ("a1", "send_email", {"to": "anna@example.com"})
        decided = sessions.decide(made.id, pending.id, approved=True, comment="fine")
        assert [said.type for said in decided] == ["user", "tool_call", "tool_result", "turn"]
        with pytest.raises(Conflict) as error:
            next(sessions.decide(made.id, pending.id, approved=True))
        assert error.value.code == "not_waiting"
        assert sessions.change(made.id, title="weekly").title == "weekly"
        assert [found.title for found in sessions.list(1)] == ["weekly"]
        assert len(list(sessions.records(made.id))) == decided.last_seq
        assert [said.seq for said in sessions.records(made.id, decided.last_seq - 1)] == [decided.last_seq]
        assert list(sessions.records(made.id, decided.last_seq)) == []
        assert sessions.stop(made.id) is True
        seq = world.talk.many_rows(made.id)
        with sessions.rows(made.id, seq) as rows:
            assert next(rows) == {"id": 0, "city": "Rome"} and len(list(rows)) == MANY - 1
        sessions.close(made.id)
        assert sessions.get(made.id).status == "closed"
        assert [said.type for said in sessions.records(made.id, seq, follow=True)] == ["notice"]
        with pytest.raises(Conflict):
            next(sessions.send(made.id, "hello"))
        with pytest.raises(NotFound):
            sessions.get("nobodys")
        with pytest.raises(InvalidRequest):
            sessions.create(limits={"rounds": 99})

    await asyncio.to_thread(work)


async def test_a_turn_that_is_cut_anywhere_comes_whole(world: World) -> None:
    def work() -> None:
        made = world.sop.sessions.create().id
        between = Between(world.url, iter([0, 1, 2, 1, 0, 1, None]))
        serving = threading.Thread(target=between.serve_forever, args=(0.01,), daemon=True)
        serving.start()
        try:
            with Client(f"http://127.0.0.1:{between.server_address[1]}", world.talk.gateway.key) as cut:
                said = list(cut.sessions.send(made, "hello", idempotency_key=f"cut-{uuid.uuid4()}"))
                assert [one.seq for one in said] == [1, 2, 3, 4, 5]
        finally:
            between.shutdown()
            between.server_close()
            serving.join()
        assert world.sop.sessions.get(made).turn["number"] == 1

    await asyncio.to_thread(work)


async def test_a_log_is_followed_by_the_client(world: World) -> None:
    made = await asyncio.to_thread(lambda: world.sop.sessions.create().id)
    following_it = asyncio.create_task(asyncio.to_thread(lambda: list(world.sop.sessions.records(made, follow=True))))
    await eventually(lambda: world.talk.services.tails.counts() == (1, 1))
    await asyncio.to_thread(lambda: world.sop.sessions.send(made, "hello").text())
    await asyncio.to_thread(world.sop.sessions.close, made)
    assert [said.seq for said in await following_it] == [1, 2, 3, 4, 5, 6]
