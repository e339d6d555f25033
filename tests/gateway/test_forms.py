"""One result, its forms: the same records as NDJSON, events and an array, wherever a stream is cut; which form a client gets."""

import asyncio
import json
import socket
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from temporalio.client import Client

from gateway.problems import ApiError
from gateway.results import streaming
from gateway.results.asking import KNOWN, ResultParameters, read
from gateway.results.forms import event_name
from gateway.results.negotiation import preferred
from gateway.results.single_flight import SingleFlight
from gateway.runs import streams
from gateway.runs.watch import watch_run
from gateway.services import Services
from tests.gateway.conftest import Gateway, authorization, eventually, listening, problem_of
from tests.gateway.event_stream import Event, EventStream, events

PATIENCE = 10
NASTY = "\n\nevent: evil\r\ndata: x\rid: 99\u2028\u2029\x85\x00\x1e, ]\n"
FORMS = {
    "ndjson": "application/x-ndjson",
    "sse": "text/event-stream",
    "json": "application/json",
    "csv": "text/csv",
    "arrow": "application/vnd.apache.arrow.stream",
}
STEPS: list[dict[str, Any]] = [
    {"type": "set", "name": "one", "variable": "n", "value": 1},
    {"type": "say", "name": "tell", "message": "{{ text }}"},
    {"type": "fail", "name": "broken", "code": "no_stock", "message": "none of {{ text }}", "continue_on_error": True},
    {"type": "loop", "name": "each", "list": ["a", "b"], "iterator": "letter", "steps": [
        {"type": "command", "name": "again", "command": "echo", "args": {"text": "{{ letter }}"}}]},
]  # fmt: skip
VARIED = {"parameters": [{"name": "text"}]}
Records = list[dict[str, Any]]


async def varied(gateway: Gateway, *more: dict[str, Any]) -> str:
    """A script of many kinds of steps, and a run of it that has ended: its events' path."""
    await gateway.save("varied", [*STEPS, *more], **VARIED)
    answer = await gateway.http.post("/v1/call/varied", json={"arguments": {"text": NASTY}})
    assert answer.status_code == 200, answer.text
    return f"{answer.headers['location']}/events"


def records_of(form: str, body: bytes) -> Records:
    """The records in a body that is whole."""
    if form == "json":
        found: Records = json.loads(body)
        return found
    if form == "sse":
        return [json.loads(event.data) for event in events(body)]
    assert body.endswith(b"\n")
    return [json.loads(line) for line in body[:-1].split(b"\n")]


@pytest.mark.parametrize("fails", [False, True])
async def test_all_forms_have_the_same_records(gateway: Gateway, live: httpx2.AsyncClient, fails: bool) -> None:
    end = (
        {"type": "fail", "name": "stop", "code": "over", "message": NASTY} if fails else {"type": "return", "value": 1}
    )
    path = await varied(gateway, end)
    whole = records_of("ndjson", (await live.get(path)).content)
    assert [record["seq"] for record in whole] == list(range(1, len(whole) + 1))
    assert (whole[-1]["type"], whole[-1]["status"]) == ("run", "failed" if fails else "completed")
    assert whole[-1]["records"] == len(whole)
    assert whole[2]["result"] == NASTY
    for form in ("ndjson", "sse", "json"):
        answer = await live.get(path, headers={"Accept": FORMS[form]})
        assert answer.headers["content-type"].partition(";")[0] == FORMS[form]
        assert {answer.headers[name] for name in ("vary", "cache-control")} == {"Accept", "no-cache"}
        assert records_of(form, answer.content) == whole
        assert (await live.get(path, params={"format": form})).content == answer.content
        body = (await live.get(path, params={"format": form, "after": 3})).content
        assert records_of(form, body) == whole[3:]


async def test_a_call_streams_in_the_form_that_is_asked_for_while_it_runs(
    gateway: Gateway, live: httpx2.AsyncClient
) -> None:
    await gateway.save_held()
    bodies: dict[str, bytes] = {}
    middle: dict[str, asyncio.Event] = {form: asyncio.Event() for form in ("ndjson", "sse", "json")}

    async def call(form: str) -> None:
        headers = {"Accept": FORMS[form], "Idempotency-Key": "one"}
        async with live.stream("POST", "/v1/call/held", json={}, headers=headers) as answer:
            assert answer.headers["run-id"] == "one"
            body = b""
            async for piece in answer.aiter_bytes():
                body += piece
                if b'"name":"before"' in body:
                    middle[form].set()
            bodies[form] = body

    calls = [asyncio.ensure_future(call(form)) for form in middle]
    await asyncio.wait_for(asyncio.gather(*(event.wait() for event in middle.values())), PATIENCE)
    assert not any(one.done() for one in calls)
    gateway.gate.set()
    await asyncio.gather(*calls)
    read_in = {form: records_of(form, body) for form, body in bodies.items()}
    assert read_in["ndjson"] == read_in["sse"] == read_in["json"]
    assert len(read_in["json"]) == 5


async def test_events_have_numbers_and_names(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    path = await varied(gateway)
    body = (await live.get(path, headers={"Accept": "text/event-stream"})).content
    parser = EventStream()
    found = list(parser.feed(body))
    assert [event.last_event_id for event in found] == [str(n + 1) for n in range(len(found))]
    assert parser.retry == 1000
    assert [event.type for event in found] == [
        "run.created", "step.result", "log", "step.error", "step.result", "step.result", "step.result", "run.completed"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"type": "run", "status": "started"}, "run.created"),
        ({"type": "run", "status": "canceled"}, "run.canceled"),
        ({"type": "command", "status": "completed", "rows": {"count": 1}}, "rows"),
        ({"type": "command", "status": "skipped", "result": None}, "step.result"),
        ({"type": "wait", "status": "canceled"}, "step.error"),
        ({"type": "warning", "status": "retrying"}, "warning"),
        ({"type": "compensation", "status": "failed"}, "compensation"),
        ({"type": "progress", "status": "running"}, "step.progress"),
        ({"type": "error", "after": 3}, "error"),
    ],
)
def test_names_of_events(record: dict[str, Any], name: str) -> None:
    assert event_name(record) == name


async def test_cut_behind_every_record_and_resumed_it_is_the_whole(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    path = await varied(gateway)
    whole = records_of("ndjson", (await live.get(path)).content)

    async def some(form: str, after: int, count: int) -> Records:
        """At most `count` records from one connection, which is dropped then."""
        address = f"{path}?after=0" if form == "sse" else f"{path}?after={after}"
        headers = {"Accept": FORMS[form], **({"Last-Event-ID": str(after)} if form == "sse" and after else {})}
        found: Records = []
        parser, rest = EventStream(), b""
        async with live.stream("GET", address, headers=headers) as answer:
            async for piece in answer.aiter_bytes(7):
                if form == "sse":
                    found += [json.loads(event.data) for event in parser.feed(piece)]
                else:
                    *lines, rest = (rest + piece).split(b"\n")
                    found += [json.loads(line.rstrip(b",")) for line in lines if line not in (b"[", b"]", b"")]
                if len(found) >= count:
                    break
        return found[:count]

    for form in ("ndjson", "sse", "json"):
        for count in range(1, len(whole) + 1):
            found: Records = []
            while part := await some(form, found[-1]["seq"] if found else 0, count):
                found += part
            assert found == whole, (form, count)


async def test_cut_behind_any_byte_a_reader_knows_where_to_go_on(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    path = await varied(gateway)
    for form in ("ndjson", "sse", "json"):
        answers = [await live.get(f"{path}?format={form}&after={after}") for after in range(9)]
        whole = answers[0].content
        for cut in range(len(whole)):
            if form == "json":
                if whole[cut:].strip():
                    with pytest.raises(ValueError):  # no JSON, or no UTF-8
                        json.loads(whole[:cut])
                continue
            lines = whole[: whole.rfind(b"\n", 0, cut) + 1]
            found = records_of(form, whole[:cut] if form == "sse" else lines) if lines else []
            rest = records_of(form, answers[len(found)].content) if len(found) < 8 else []
            assert [record["seq"] for record in found + rest] == list(range(1, 9)), (form, cut)


async def test_a_browser_is_told_that_there_is_nothing_more(gateway: Gateway, live: httpx2.AsyncClient) -> None:
    path = await varied(gateway)
    sse = {"Accept": "text/event-stream"}
    last = await live.get(path, headers={**sse, "Last-Event-ID": "7"})
    assert [event.type for event in events(last.content)] == ["run.completed"]
    over = await live.get(path, headers={**sse, "Last-Event-ID": "8"})
    assert (over.status_code, over.content) == (204, b"")
    assert (await live.get(f"{path}?after=8")).status_code == 200
    assert (await live.get(f"{path}?after=8&format=json")).json() == []
    for wrong in ("-1", "x", "1.0", "9" * 19):
        problem = problem_of(await live.get(path, headers={**sse, "Last-Event-ID": wrong}), 422, "invalid_field")
        assert problem["errors"][0]["pointer"] == "Last-Event-ID"
    assert (await live.get(path, headers={**sse, "Last-Event-ID": ""})).content == (
        await live.get(path, headers=sse)
    ).content


@pytest.mark.parametrize("form", ["ndjson", "sse", "json"])
async def test_curl_shows_records_as_they_happen(gateway: Gateway, live: httpx2.AsyncClient, form: str) -> None:
    await gateway.save_held()
    run_id = uuid.uuid4().hex
    curl = await asyncio.create_subprocess_exec(
        "curl", "-sNf", "--noproxy", "*", "-H", f"Authorization: Bearer {gateway.key}", "-H", f"Accept: {FORMS[form]}",
        "--json", "{}", "-H", f"Idempotency-Key: {run_id}", f"{live.base_url}/v1/call/held",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert curl.stdout is not None
    body = b""
    while b'"name":"before"' not in body:
        body += (piece := await asyncio.wait_for(curl.stdout.read(65536), PATIENCE))
        assert piece
    assert (await live.get(f"/v1/runs/{run_id}")).json()["state"] == "running"
    gateway.gate.set()
    rest, _ = await asyncio.wait_for(curl.communicate(), PATIENCE)
    assert curl.returncode == 0
    replayed = (await live.get(f"/v1/runs/{run_id}/events", headers={"Accept": FORMS[form]})).content
    assert body + rest == replayed


ACCEPTED = {
    "*/*": "ndjson",
    "application/*": "ndjson",
    "text/*": "sse",
    "application/json": "json",
    "application/jsonl": "ndjson",
    "TEXT/Event-Stream": "sse",
    "text/event-stream; charset=utf-8": "sse",
    "text/csv;q=0.9, application/json;q=0.1": "csv",
    "text/csv;q=0.1, application/json;q=0.9": "json",
    "application/json, text/event-stream": "sse",
    "application/json;q=0.5, text/event-stream;q=0.5": "sse",
    "text/html, application/xhtml+xml, */*;q=0.8": "ndjson",
    "*/*;q=0.1, text/csv;q=0.2": "csv",
    "application/x-ndjson;q=0, */*": "sse",
    "application/x-ndjson;q=0, text/event-stream;q=0, */*": "json",
    "text/*;q=0.4, text/csv, */*;q=0.5": "csv",
    "text/*;q=0.4, */*;q=0.5": "ndjson",
    "application/json;q=1.000, */*;q=0.999": "json",
    "application/json ; q = 0.3 , text/csv ; q = 0.2": "json",
    "application/json;q=2, text/csv;q=0.1": "csv",
    "application/json;q=nan, text/csv;q=0.1": "csv",
    "text/csv;q=0,application/json": "json",
    "application/vnd.apache.arrow.stream, */*;q=0.1": "arrow",
}


@pytest.mark.parametrize("accept", ACCEPTED)
def test_qualities(accept: str) -> None:
    assert preferred(accept, KNOWN) == ACCEPTED[accept]


@pytest.mark.parametrize("accept", ["", "text/html", "text/csv;q=0", "*/*;q=0", "application/json;q=x", "image/*", "*"])
def test_nothing_fits(accept: str) -> None:
    assert preferred(accept, KNOWN) is None


async def test_the_form_is_chosen_by_accept_or_by_name(gateway: Gateway) -> None:
    path = await varied(gateway)
    for accept, form in (
        ("application/json;q=0.2, text/event-stream", "sse"),
        ("text/*;q=0.1,application/json", "json"),
    ):
        answer = await gateway.http.get(path, headers={"Accept": accept})
        assert answer.headers["content-type"].partition(";")[0] == FORMS[form]
    named = await gateway.http.get(f"{path}?format=json", headers={"Accept": "image/png"})
    assert named.headers["content-type"] == "application/json"
    several = [("Accept", "image/png"), ("Accept", "text/event-stream")]
    assert (await gateway.http.get(path, headers=several)).headers["content-type"].startswith("text/event-stream")
    for address, headers in ((path, {"Accept": "image/png"}), (f"{path}?format=xml", {}), (f"{path}?format=", {})):
        problem = problem_of(await gateway.http.get(address, headers=headers), 406, "not_acceptable")
        told = problem["errors"][0]
        assert told["pointer"] == ("Accept" if headers else "?format")
        assert all(name in told["hint"] and kind in told["hint"] for name, kind in FORMS.items())
    called = await gateway.http.post(
        "/v1/call/varied", json={}, headers={"Accept": "image/png", "Idempotency-Key": "k"}
    )
    problem_of(called, 406, "not_acceptable")
    problem_of(await gateway.http.get("/v1/runs/k"), 404, "run_not_found")  # nothing was started
    for form in FORMS:
        problem_of(await gateway.http.get(f"/v1/runs/nope/events?format={form}"), 404, "run_not_found")


async def test_what_a_form_does_not_have_is_refused(gateway: Gateway) -> None:
    path = await varied(gateway)
    wrong = {
        "format=json&step=tell": "?step",
        "guard=true": "?guard",
        "format=sse&null=x": "?null",
        "format=csv&after=1": "?after",
        "format=arrow&after=1": "?after",
        "format=arrow&null=x": "?null",
        "format=csv&as_json=x": "?as_json",
    }
    for asked, pointer in wrong.items():
        problem = problem_of(await gateway.http.get(f"{path}?{asked}"), 422, "invalid_query")
        assert problem["errors"][0]["pointer"] == pointer
    unknown = problem_of(await gateway.http.get(f"{path}?after_seq=1"), 422, "invalid_request")
    assert unknown["errors"][0]["pointer"] == "?after_seq"


def test_a_form_that_is_none_is_an_error_of_its_own() -> None:
    request = Request({"type": "http", "headers": []})
    assert read(request, ResultParameters(), None).form == "ndjson"
    assert read(request, ResultParameters(), None, waits=True).form == "json"
    with pytest.raises(ApiError):
        read(request, ResultParameters(format="parquet"), None)


async def test_streams_show_that_they_are_alive(
    gateway: Gateway, live: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "KEEP_ALIVE", 0.02)
    await gateway.save_held()
    await gateway.http.post("/v1/scripts/held/runs", json={}, headers={"Idempotency-Key": "quiet"})
    bodies = {"sse": b"", "json": b"", "ndjson": b""}

    async def watch(form: str) -> None:
        async with live.stream("GET", f"/v1/runs/quiet/events?format={form}") as answer:
            async for piece in answer.aiter_bytes():
                bodies[form] += piece

    watching = [asyncio.ensure_future(watch(form)) for form in bodies]
    pings = {"sse": b": ping\n\n" * 2, "json": b"\n\n\n"}
    await eventually(lambda: all(ping in bodies[form] for form, ping in pings.items()))
    await eventually(lambda: bodies["ndjson"].count(b"\n") == 2)
    gateway.gate.set()
    await asyncio.gather(*watching)
    found = {form: records_of(form, body) for form, body in bodies.items()}
    assert found["sse"] == found["json"] == found["ndjson"]  # NDJSON has no blank line: each one is read as JSON
    assert len(found["json"]) == 5


async def test_a_stream_that_is_not_whole_shows_it(gateway: Gateway) -> None:
    await gateway.save_held()
    services = replace(gateway.services, stopping=asyncio.Event())
    await gateway.http.post("/v1/scripts/held/runs", json={}, headers={"Idempotency-Key": "cut"})
    bodies = {"sse": b"", "json": b""}
    ends: dict[str, str] = {}
    async with listening(services) as url, httpx2.AsyncClient(base_url=url, headers=authorization(gateway.key)) as http:

        async def watch(form: str) -> None:
            try:
                async with http.stream("GET", f"/v1/runs/cut/events?format={form}") as answer:
                    async for piece in answer.aiter_bytes():
                        bodies[form] += piece
                ends[form] = "ended"
            except httpx2.RemoteProtocolError:
                ends[form] = "cut"

        watching = [asyncio.ensure_future(watch(form)) for form in bodies]
        await eventually(lambda: all(b'"name":"before"' in body for body in bodies.values()))
        services.stopping.set()
        await asyncio.gather(*watching)
    gateway.gate.set()
    assert ends == {"sse": "ended", "json": "cut"}
    last: Event = events(bodies["sse"])[-1]
    assert (last.type, last.last_event_id) == ("error", "2")
    told = json.loads(last.data)
    assert (told["type"], told["after"], told["error"]["code"]) == ("error", 2, "gateway_stopping")
    with pytest.raises(json.JSONDecodeError):
        json.loads(bodies["json"])
    assert [record["type"] for record in json.loads(bodies["json"] + b"]")] == ["run", "set", "error"]


async def test_the_end_is_asked_for_once_for_all_watchers(
    gateway: Gateway, live: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    describe = streams.describe_run

    async def counted(here: Services, run_id: str) -> dict[str, Any]:
        asked.append(run_id)
        return await describe(here, run_id)

    monkeypatch.setattr(streams, "describe_run", counted)
    await gateway.save_held()
    await gateway.http.post("/v1/scripts/held/runs", json={}, headers={"Idempotency-Key": "popular"})
    watching = [asyncio.ensure_future(live.get("/v1/runs/popular/events")) for _ in range(20)]
    readings = gateway.services.watch
    await eventually(lambda: readings._runs["popular"].watchers == 20 if readings._runs else False)  # type: ignore[attr-defined]
    gateway.gate.set()
    bodies = {answer.content for answer in await asyncio.gather(*watching)}
    assert len(bodies) == 1 and len(records_of("ndjson", bodies.pop())) == 5
    assert asked == ["popular"]


async def test_a_computation_lasts_as_long_as_somebody_waits() -> None:
    shared: SingleFlight[int] = SingleFlight()
    begun = ended = 0
    gate = asyncio.Event()

    async def work() -> int:
        nonlocal begun, ended
        begun += 1
        try:
            await gate.wait()
        finally:
            ended += 1
        if begun == 3:
            raise ValueError("no")
        return begun

    waiting = [asyncio.create_task(shared.get("a", work)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.gather(waiting[0], return_exceptions=True)
    assert (begun, ended) == (1, 0)
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (begun, ended) == (1, 1)
    gate.set()
    assert await asyncio.gather(*(shared.get("a", work) for _ in range(5))) == [2] * 5
    assert all(isinstance(one, ValueError) for one in await asyncio.gather(
        *(shared.get("a", work) for _ in range(5)), return_exceptions=True))  # fmt: skip
    assert (begun, ended, shared._works) == (3, 3, {})


@pytest.mark.parametrize(
    "line",
    [
        "GET /v1/runs/ID/events?format=sse",
        "GET /v1/runs/ID/events?format=json",
        "GET /v1/runs/ID/events?format=csv",
        "POST /v1/call/held?format=csv",
        "POST /v1/call/held",
        "POST /v1/scripts/held/runs",
    ],
)
async def test_a_client_that_vanishes_frees_everything(gateway: Gateway, line: str) -> None:
    open_watchers = 0

    async def counted(client: Client, run_id: str, after: int) -> AsyncIterator[dict[str, Any]]:
        nonlocal open_watchers
        open_watchers += 1
        try:
            async for event in watch_run(client, run_id, after):
                yield event
        finally:
            open_watchers -= 1

    await gateway.save_held()
    run_id = uuid.uuid4().hex  # one Temporal has the runs of all these tests
    await gateway.http.post("/v1/scripts/held/runs", json={}, headers={"Idempotency-Key": run_id})
    services = replace(gateway.services, watch=counted, stopping=asyncio.Event())
    waits = "Prefer: wait=600\r\n" if line.startswith("POST") and "?" not in line else ""
    head = f"Host: x\r\nAuthorization: Bearer {gateway.key}\r\nIdempotency-Key: {run_id}\r\n{waits}"
    body = "" if line.startswith("GET") else "Content-Type: application/json\r\nContent-Length: 2\r\n"
    request = f"{line.replace('ID', run_id)} HTTP/1.1\r\n{head}{body}\r\n" + ("{}" if body else "")
    async with listening(services) as url:
        host, port = url.removeprefix("http://").split(":")
        before = 0
        for _ in range(4):
            with socket.create_connection((host, int(port))) as raw:
                raw.sendall(request.encode())
                await eventually(lambda: open_watchers == 1)
            await eventually(lambda: open_watchers == 0)
            before = before or len(asyncio.all_tasks())
        await eventually(lambda: len(asyncio.all_tasks()) <= before)
        assert (await gateway.http.get(f"/v1/runs/{run_id}")).json()["state"] == "running"
    gateway.gate.set()


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10", "")]),
        (": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
         [("message", "first event", "1"), ("message", "second event", ""), ("message", " third event", "")]),
        ("data\n\ndata\ndata\n\ndata:", [("message", "", ""), ("message", "\n", "")]),
        ("data:test\n\ndata: test\n\n", [("message", "test", "")] * 2),
        ("\ufeffevent: add\r\ndata: 73857293\r\n\r\nid: 2\revent: none\r\rdata: x\n\n", [("add", "73857293", ""), ("message", "x", "2")]),
        ("id: 1\ndata: a\n\nid: 2\0\ndata: b\n\nid: 3\n", [("message", "a", "1"), ("message", "b", "1")]),
    ],
)  # fmt: skip
def test_the_reader_follows_the_standard(body: str, found: list[tuple[str, str, str]]) -> None:
    expected = [Event(*one) for one in found]
    assert events(body.encode()) == expected
    parser = EventStream()
    assert [event for byte in body.encode() for event in parser.feed(bytes([byte]))] == expected
