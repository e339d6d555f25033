"""Sessions over HTTP: who may know them, what is said, how it is streamed, cut, taken up again, decided, stopped and closed."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from gateway.authoring import turns
from gateway.authoring.tailing import Tails
from gateway.results.single_flight import SingleFlight
from script.session_wire import MAX_MESSAGE_BYTES, workflow_id
from tests.gateway.conftest import Gateway, authorization, eventually, listening, problem_of
from tests.gateway.event_stream import events
from tests.gateway.talking import MANY, Talk, talking

HELLO = ["user", "text_delta", "text_delta", "text", "turn"]


@pytest_asyncio.fixture(loop_scope="session")
async def talk(gateway: Gateway) -> AsyncIterator[Talk]:
    async with talking(gateway) as made:
        yield made


def records(answer: httpx2.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def types(found: list[dict[str, Any]]) -> list[str]:
    return [record["type"] for record in found]


async def test_a_session_from_its_beginning_to_its_end(talk: Talk) -> None:
    await talk.http.post("/v1/databases", json={"name": "shop"})
    made = await talk.http.post("/v1/sessions", json={"title": "churn", "database": "shop", "limits": {"rounds": 3}})
    assert made.status_code == 201
    session = made.json()
    assert made.headers["location"] == f"/v1/sessions/{session['id']}"
    assert (session["title"], session["database"], session["status"]) == ("churn", "shop", "open")
    assert session["limits"] == {"rounds": 3, "calls": 48, "tokens": 1_000_000, "seconds": 600}
    path = made.headers["location"]
    assert (await talk.http.get(path)).json() == session
    changed = await talk.http.patch(path, json={"title": "weekly churn", "database": None})
    assert (changed.json()["title"], changed.json()["database"]) == ("weekly churn", None)
    assert (await talk.http.patch(path, json={})).json()["title"] == "weekly churn"

    said = await talk.http.post(f"{path}/messages", json={"text": "hello"})
    found = records(said)
    assert types(found) == HELLO
    assert [record["seq"] for record in found] == [1, 2, 3, 4, 5]
    assert said.headers["location"] == f"{path}/records?after=0"
    assert talk.talker.messages[-1].access["scopes"] == ["admin"]
    now = (await talk.http.get(path)).json()
    assert (now["turn"]["number"], now["turn"]["status"], now["records"]) == (1, "completed", 5)

    assert (await talk.http.delete(path)).status_code == 204
    assert (await talk.http.delete(path)).status_code == 204
    assert (await talk.http.get(path)).json()["status"] == "closed"
    assert types(records(await talk.http.get(f"{path}/records"))) == [*HELLO, "notice"]
    problem_of(await talk.http.post(f"{path}/messages", json={"text": "hello"}), 409, "session_closed")
    handle = talk.services.client.get_workflow_handle(workflow_id(session["id"]))
    assert await handle.result() is None


async def test_what_is_wrong_with_a_session_is_told(talk: Talk) -> None:
    async def refused(body: dict[str, Any], status: int, code: str, pointer: str) -> None:
        problem = problem_of(await talk.http.post("/v1/sessions", json=body), status, code)
        assert [found["pointer"] for found in problem["errors"]] == [pointer]

    await refused({"limits": {"rounds": 17}}, 422, "invalid_request", "/limits/rounds")
    await refused({"limits": {"seconds": 0}}, 422, "invalid_request", "/limits/seconds")
    await refused({"grants": ["data:shop:read", "nonsense"]}, 422, "invalid_scope", "/grants/1")
    await refused({"name": "x"}, 422, "invalid_request", "/name")
    problem_of(await talk.http.post("/v1/sessions", json={"database": "nowhere"}), 404, "database_not_found")
    anna = talk.key("sessions", "data:shop:read")
    wide = await talk.http.post("/v1/sessions", json={"grants": ["data:*:read"]}, headers=anna)
    assert problem_of(wide, 403, "forbidden")["errors"][0]["scope"] == "data:*:read"
    narrow = await talk.http.post("/v1/sessions", json={"grants": ["data:shop:read"]}, headers=anna)
    assert narrow.json()["grants"] == ["data:shop:read"]
    path = narrow.headers["location"]
    problem_of(await talk.http.patch(path, json={"database": "system"}, headers=anna), 403, "forbidden")


async def test_other_peoples_sessions_are_not_there(talk: Talk) -> None:
    anna, ben = talk.key("sessions"), talk.key("sessions")
    mine = (await talk.http.post("/v1/sessions", json={"title": "anna's"}, headers=anna)).json()["id"]
    path = f"/v1/sessions/{mine}"
    asked: list[tuple[str, str, Any]] = [
        ("GET", path, None), ("PATCH", path, {}), ("DELETE", path, None), ("POST", f"{path}/messages", {"text": "hello"}),
        ("POST", f"{path}/approvals/a1", {"approved": True}), ("POST", f"{path}:stop", None),
        ("GET", f"{path}/records", None), ("GET", f"{path}/records/1/rows", None),
    ]  # fmt: skip
    unknown = problem_of(await talk.http.get("/v1/sessions/nobodys", headers=ben), 404, "session_not_found")
    for method, address, body in asked:
        problem = problem_of(await talk.http.request(method, address, json=body, headers=ben), 404, "session_not_found")
        assert problem["detail"] == unknown["detail"].replace("nobodys", mine)
    assert (await talk.http.get("/v1/sessions", headers=ben)).json()["data"] == []
    assert [found["id"] for found in (await talk.http.get("/v1/sessions", headers=anna)).json()["data"]] == [mine]
    assert (await talk.http.get(path)).status_code == 200  # an admin
    assert mine in [found["id"] for found in (await talk.http.get("/v1/sessions")).json()["data"]]


async def test_sessions_come_newest_first_in_pages(talk: Talk) -> None:
    anna = talk.key("sessions")
    made = [(await talk.http.post("/v1/sessions", json={}, headers=anna)).json()["id"] for _ in range(5)]
    await talk.http.delete(f"/v1/sessions/{made[1]}", headers=anna)
    found: list[str] = []
    cursor = None
    while True:
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await talk.http.get("/v1/sessions", params=params, headers=anna)).json()
        found += [session["id"] for session in page["data"]]
        cursor = page["next_cursor"]
        if not page["has_more"]:
            break
    assert found == sorted(made, reverse=True)
    closed = (await talk.http.get("/v1/sessions?status=closed", headers=anna)).json()["data"]
    assert [session["id"] for session in closed] == [made[1]]
    problem_of(await talk.http.get("/v1/sessions?status=open&cursor=x", headers=anna), 422, "invalid_cursor")


async def test_messages_that_are_too_long_or_empty_are_refused(talk: Talk) -> None:
    path = await talk.begin()
    most = "x" * MAX_MESSAGE_BYTES
    assert types(records(await talk.http.post(f"{path}/messages", json={"text": most}))) == ["user", "turn"]
    problem = problem_of(await talk.http.post(f"{path}/messages", json={"text": most[:-1] + "é"}), 422, "too_large")
    assert problem["errors"][0]["pointer"] == "/text" and str(MAX_MESSAGE_BYTES) in problem["detail"]
    problem_of(await talk.http.post(f"{path}/messages", json={"text": " \n"}), 422, "invalid_field")
    problem_of(await talk.http.post(f"{path}/messages", json={"text": "hello"}, headers={"Accept": "text/csv"}), 406, "not_acceptable")  # fmt: skip
    assert (await talk.http.get(path)).json()["turn"]["number"] == 1


async def test_one_key_is_one_message(talk: Talk) -> None:
    path = await talk.begin()
    key = {"Idempotency-Key": f"m-{uuid.uuid4()}"}

    async def say(text: str = "hello", after: int = 0) -> httpx2.Response:
        return await talk.http.post(f"{path}/messages?after={after}", json={"text": text}, headers=key)

    first, *others = await asyncio.gather(say(), say(), say())
    assert types(records(first)) == HELLO
    assert [answer.text for answer in others] == [first.text, first.text]
    assert (await say()).text == first.text
    assert (await say(after=3)).text == "".join(first.text.splitlines(keepends=True)[3:])
    assert (await say(after=99)).text == ""
    problem_of(await say("goodbye"), 422, "idempotency_mismatch")
    assert (await talk.http.get(path)).json()["turn"]["number"] == 1
    assert types(records(await talk.http.post(f"{path}/messages", json={"text": "hello"}))) == HELLO


async def test_a_message_need_not_be_waited_for(talk: Talk) -> None:
    path = await talk.begin()
    answer = await talk.http.post(f"{path}/messages", json={"text": "hello"}, headers={"Prefer": "respond-async"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")
    told = answer.json()
    assert told["records"] == f"{path}/records?after=0" and told["key"] == answer.headers["idempotency-key"]
    await eventually(lambda: talk.services.conversations.get(told["session"]).seq == 5)
    assert types(records(await talk.http.get(told["records"]))) == HELLO


async def test_the_forms_tell_the_same(talk: Talk) -> None:
    path = await talk.begin()
    await talk.http.post(f"{path}/messages", json={"text": "hello"})
    lines = records(await talk.http.get(f"{path}/records"))
    assert (await talk.http.get(f"{path}/records?format=json")).json() == lines
    stream = await talk.http.get(f"{path}/records", headers={"Accept": "text/event-stream"})
    seen = events(stream.content)
    assert [json.loads(event.data) for event in seen] == lines
    assert [(event.type, event.last_event_id) for event in seen] == [(r["type"], str(r["seq"])) for r in lines]
    resumed = {"Accept": "text/event-stream", "Last-Event-ID": "3"}
    assert [event.type for event in events((await talk.http.get(f"{path}/records", headers=resumed)).content)] == HELLO[
        3:
    ]
    done = await talk.http.get(f"{path}/records", headers=resumed | {"Last-Event-ID": "5"})
    assert done.status_code == 204
    assert (await talk.http.get(f"{path}/records?after=4")).text == json.dumps(lines[4], separators=(",", ":")) + "\n"


async def test_a_decision_is_a_message(talk: Talk) -> None:
    path = await talk.begin()
    asked = records(await talk.http.post(f"{path}/messages", json={"text": "mail"}))
    assert asked[-1]["status"] == "waiting"
    waiting = (await talk.http.get(path)).json()["pending"]
    assert [(found["id"], found["tool"], found["args"]) for found in waiting] == [("a1", "send_email", {"to": "anna@example.com"})]  # fmt: skip
    assert waiting[0]["shown"] == asked[1]
    assert (await talk.http.get("/v1/sessions")).json()["data"][0]["waiting"] == 1
    problem = problem_of(await talk.http.post(f"{path}/approvals/a2", json={"approved": True}), 409, "not_waiting")
    assert "a1" in problem["hint"]
    key = {"Idempotency-Key": f"d-{uuid.uuid4()}"}
    body = {"approved": True, "comment": "fine"}
    decided = await talk.http.post(f"{path}/approvals/a1", json=body, headers=key)
    assert types(records(decided)) == ["user", "tool_call", "tool_result", "turn"]
    assert (records(decided)[0]["approved"], records(decided)[0]["comment"]) == (True, "fine")
    assert (await talk.http.post(f"{path}/approvals/a1", json=body, headers=key)).text == decided.text
    other = await talk.http.post(f"{path}/approvals/a1", json={"approved": False}, headers=key)
    problem_of(other, 422, "idempotency_mismatch")
    problem_of(await talk.http.post(f"{path}/approvals/a1", json=body), 409, "not_waiting")
    assert (await talk.http.get(path)).json()["pending"] == []


async def test_a_turn_is_streamed_while_it_goes_on_and_stops_at_once(talk: Talk) -> None:
    path = await talk.begin()
    assert (await talk.http.post(f"{path}:stop")).json()["stopping"] is False
    async with listening(talk.services) as url, client(talk, url) as http:
        async with http.stream("POST", f"{path}/messages", json={"text": "hold"}) as answer:
            lines = answer.aiter_lines()
            first = [json.loads(await anext(lines)) for _ in range(4)]
            assert types(first) == HELLO[:4]
            second = asyncio.ensure_future(http.post(f"{path}/messages", json={"text": "hello"}))
            assert (await http.post(f"{path}:stop")).json()["stopping"] is True
            rest = [json.loads(line) async for line in lines]
        assert [(record["type"], record["status"]) for record in rest] == [("turn", "canceled")]
        assert {record["turn"] for record in first + rest} == {1}
        waited = records(await second)
        assert types(waited) == HELLO and {record["turn"] for record in waited} == {2}


async def test_a_log_is_followed_until_the_session_is_closed(talk: Talk) -> None:
    path = await talk.begin()
    async with listening(talk.services) as url, client(talk, url) as http:

        async def follow() -> list[dict[str, Any]]:
            async with http.stream("GET", f"{path}/records?follow=true") as answer:
                return [json.loads(line) async for line in answer.aiter_lines()]

        following = [asyncio.ensure_future(follow()) for _ in range(5)]
        await eventually(lambda: talk.services.tails.counts() == (1, 5))
        await http.post(f"{path}/messages", json={"text": "hello"})
        await http.delete(path)
        for found in await asyncio.gather(*following):
            assert types(found) == [*HELLO, "notice"]
        await eventually(lambda: talk.services.tails.counts() == (0, 0))
        again = {"Accept": "text/event-stream", "Last-Event-ID": "6"}
        assert (await http.get(f"{path}/records?follow=true", headers=again)).status_code == 204


async def test_a_client_that_vanishes_leaves_nothing(talk: Talk) -> None:
    path = await talk.begin()
    async with listening(talk.services) as url, client(talk, url) as http:
        for verb, address, body in (
            ("POST", f"{path}/messages", {"text": "hold"}),
            ("GET", f"{path}/records?follow=1", None),
        ):
            async with http.stream(verb, address, json=body) as answer:
                await anext(answer.aiter_lines())
                assert talk.services.tails.counts() == (1, 1)
            await eventually(lambda: talk.services.tails.counts() == (0, 0))
        await http.post(f"{path}:stop")


async def test_a_gateway_that_stops_ends_its_streams_with_a_record(talk: Talk) -> None:
    path = await talk.begin()
    services = replace(talk.services, stopping=asyncio.Event())
    async with listening(services) as url, client(talk, url) as http:
        key = {"Idempotency-Key": f"m-{uuid.uuid4()}"}
        async with http.stream("POST", f"{path}/messages", json={"text": "hold"}, headers=key) as answer:
            lines = answer.aiter_lines()
            for _ in range(4):
                await anext(lines)
            services.stopping.set()
            last = json.loads(await anext(lines))
    assert (last["type"], last["after"], last["error"]["code"]) == ("error", 4, "gateway_stopping")
    assert last["error"]["retryable"] and last["session"] == path.rpartition("/")[2]
    waiting = asyncio.ensure_future(talk.http.post(f"{path}/messages?after=4", json={"text": "hold"}, headers=key))
    await talk.http.post(f"{path}:stop")
    assert types(records(await waiting)) == ["turn"]


async def test_streams_end_with_their_key(talk: Talk) -> None:
    anna = talk.key("sessions")
    async with listening(talk.services) as url, httpx2.AsyncClient(base_url=url, headers=anna, timeout=30) as http:
        path = (await http.post("/v1/sessions", json={})).headers["location"]
        async with (
            http.stream("POST", f"{path}/messages", json={"text": "hold"}) as turn,
            http.stream("GET", f"{path}/records?follow=true") as log,
        ):
            lines = [answer.aiter_lines() for answer in (turn, log)]
            for some in lines:
                for _ in range(4):
                    await anext(some)
            talk.services.keys.revoke(anna["Authorization"].split("_")[1])
            await talk.services.validity.look()
            for some in lines:
                last = json.loads(await anext(some))
                assert (last["type"], last["error"]["code"], last["after"]) == ("error", "not_authenticated", 4)
    await talk.http.delete(path)


async def test_nobody_waits_in_silence(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "SILENCE", 0.05)
    services = replace(talk.services, task_queue=f"nobody-{uuid.uuid4()}", stopping=asyncio.Event())
    path = await talk.begin()
    async with listening(services) as url, client(talk, url) as http:
        key = {"Idempotency-Key": f"m-{uuid.uuid4()}"}
        async with http.stream("POST", f"{path}/messages", json={"text": "hello"}, headers=key) as answer:
            lines = answer.aiter_lines()
            told = json.loads(await anext(lines))
            assert (told["type"], told["code"], "seq" in told) == ("notice", "no_worker", False)
            assert "no worker polls" in told["text"]
            handle = services.client.get_workflow_handle(workflow_id(path.rpartition("/")[2]))
            await handle.terminate("enough")
            last = json.loads(await anext(lines))
            assert (last["type"], last["error"]["code"], last["error"]["retryable"]) == ("error", "turn_lost", True)
            assert await anext(lines, None) is None
    again = await talk.http.post(f"{path}/messages", json={"text": "hello"}, headers=key)
    assert types(records(again)) == HELLO


async def test_the_rows_of_a_result_in_the_forms_of_rows(talk: Talk) -> None:
    path = await talk.begin()
    session = path.rpartition("/")[2]
    few = records(await talk.http.post(f"{path}/messages", json={"text": "few"}))[2]
    rows = f"{path}/records/{few['seq']}/rows"
    assert (await talk.http.get(f"{rows}?format=json")).json() == [{"id": 1, "city": "Rome"}, {"id": 2}]
    assert (await talk.http.get(f"{rows}?format=csv")).text.splitlines() == ["id,city", "1,Rome", "2,"]
    many = f"{path}/records/{await asyncio.to_thread(talk.many_rows, session)}/rows"
    answer = await talk.http.get(f"{many}?end=true")
    assert answer.headers["row-count"] == str(MANY)
    lines = answer.text.splitlines()
    assert (json.loads(lines[7]), json.loads(lines[-1]), len(lines)) == (
        {"id": 7, "city": "Rome"}, {"end": {"rows": MANY}}, MANY + 1)  # fmt: skip
    assert len((await talk.http.get(f"{many}?format=csv")).text.splitlines()) == MANY + 1
    assert len((await talk.http.get(many, headers={"Accept": "application/json"})).json()) == MANY
    arrow = await talk.http.get(f"{many}?format=arrow")
    assert arrow.headers["content-type"] == "application/vnd.apache.arrow.stream"
    problem_of(await talk.http.get(f"{path}/records/1/rows"), 409, "no_result")
    problem_of(await talk.http.get(f"{path}/records/99/rows"), 404, "record_not_found")


async def test_rows_take_reading_their_database(talk: Talk) -> None:
    anna = talk.key("sessions")
    path = (await talk.http.post("/v1/sessions", json={}, headers=anna)).headers["location"]
    seq = await asyncio.to_thread(talk.many_rows, path.rpartition("/")[2])
    problem = problem_of(await talk.http.get(f"{path}/records/{seq}/rows", headers=anna), 403, "forbidden")
    assert problem["errors"][0]["scope"] == "data:shop:read"


async def test_a_hundred_followers_look_once(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """One look at the database at a time, and one reading of the log, however many wait."""
    path = await talk.begin()
    session = path.rpartition("/")[2]
    tails = Tails(talk.services.conversations)
    looking, most, pages = 0, 0, 0
    head, page = talk.services.conversations.head, tails._page

    async def paged(*args: Any) -> Any:
        nonlocal pages
        pages += 1
        return await page(*args)

    class Log:
        def __getattr__(self, name: str) -> Any:
            return getattr(talk.services.conversations, name)

        def head(self) -> int:
            nonlocal looking, most
            looking += 1
            most = max(most, looking)
            looking -= 1
            return head()

    monkeypatch.setattr(tails, "log", Log())
    monkeypatch.setattr(tails, "_page", paged)

    async def first(after: int) -> int:
        async with contextlib.aclosing(tails.follow(session, after)) as found:
            return int((await anext(found))["seq"])

    waiting = [asyncio.ensure_future(first(0)) for _ in range(100)]
    await eventually(lambda: tails.counts() == (1, 100))
    talk.services.conversations.change(session, lambda work: work.say("notice", text="one")["seq"])
    assert await asyncio.gather(*waiting) == [1] * 100
    assert pages <= 4 and most == 1
    assert tails.counts() == (0, 0)


async def test_a_browser_reads_with_its_cookie(talk: Talk) -> None:
    path = await talk.begin()
    await talk.http.post(f"{path}/messages", json={"text": "hello"})
    transport, base = httpx2.ASGITransport(talk.app), "http://127.0.0.1:8080"
    async with httpx2.AsyncClient(transport=transport, base_url=base) as browser:
        assert (await browser.post("/v1/session", headers=authorization(talk.gateway.key))).status_code == 201
        seen = await browser.get(f"{path}/records", headers={"Accept": "text/event-stream"})
        assert [event.type for event in events(seen.content)] == HELLO
        message = {"json": {"text": "hello"}}
        problem_of(await browser.post(f"{path}/messages", **message), 403, "cross_origin")
        said = await browser.post(f"{path}/messages", **message, headers={"Origin": base})
        assert types(records(said)) == HELLO


async def test_who_asks_in_a_loop_gets_no_outcome_twice() -> None:
    flight: SingleFlight[int] = SingleFlight()
    made = 0

    async def make() -> int:
        nonlocal made
        await asyncio.sleep(0)
        made += 1
        return made

    async def ask() -> list[int]:
        return [await flight.get("head", make) for _ in range(5)]

    for found in await asyncio.gather(ask(), ask(), ask()):
        assert found == sorted(set(found))


def client(talk: Talk, url: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=url, headers=authorization(talk.gateway.key), timeout=30)
