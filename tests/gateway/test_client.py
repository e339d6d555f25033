"""The Python client against a real gateway, and one that cuts connections."""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.client import (
    Client,
    Conflict,
    CutShort,
    GatewayFailed,
    InvalidRequest,
    NotAuthenticated,
    NotFound,
    RunFailed,
    TimedOut,
    Unreachable,
    following,
)
from gateway.client.errors import TooMany, refused
from gateway.client.models import Reject
from gateway.client.transport import lines
from tests.gateway.conftest import Gateway

PAGE = (Path(__file__).parents[2] / "docs" / "client.md").read_text(encoding="utf-8")
STEPS = [{"type": "set", "name": f"s{n}", "variable": "n", "value": n} for n in range(6)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_PAUSE", 0.01)


class Between(ThreadingHTTPServer):
    """Between a client and a gateway: every answer is cut after so many lines (`cuts`, one a connection; then none is)."""

    daemon_threads = True

    def __init__(self, upstream: str, cuts: Iterator[int | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream, self.cuts = upstream, cuts
        self.asked: list[str] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Between

    def _forward(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        cut = next(self.server.cuts, None)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kept = ("authorization", "content-type", "idempotency-key", "accept")
        headers = {name: value for name, value in self.headers.items() if name.lower() in kept}
        self.close_connection = True
        with httpx2.stream(self.command, self.server.upstream + self.path, content=body, headers=headers, timeout=30, trust_env=False) as answer:  # fmt: skip
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers["content-type"])
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for number, line in enumerate(lines(answer)):
                if number == cut:
                    return
                self.wfile.write(b"%x\r\n%s\n\r\n" % (len(line) + 1, line))
            self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = _forward  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def between(upstream: str, *cuts: int | None) -> Iterator[Between]:
    server = Between(upstream, iter(cuts))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def address_of(server: Between) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


async def with_client(url: str, key: str, work: Callable[[Client], Any], **limits: float) -> Any:
    def call() -> Any:
        with Client(url, key, **limits) as client:
            return work(client)

    return await asyncio.to_thread(call)


async def test_the_pages_examples_run(gateway: Gateway, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOP_URL", url)
    monkeypatch.setenv("SOP_API_KEY", gateway.key)
    examples = list(re.finditer(r"```python\n(.*?)```", PAGE, re.DOTALL))
    assert len(examples) == 9

    def run() -> None:
        names: dict[str, Any] = {}
        try:
            for example in examples:
                above = "\n" * PAGE.count("\n", 0, example.start(1))  # so that a failure tells the page's line
                exec(compile(above + example[1], "docs/client.md", "exec"), names)
        finally:
            names["sop"].close()

    await asyncio.to_thread(run)


@pytest.mark.parametrize("cut", [1, 2, 3])
async def test_a_connection_that_is_cut_is_no_matter(gateway: Gateway, url: str, cut: int) -> None:
    await gateway.save("steps", STEPS)
    plain = await with_client(url, gateway.key, lambda sop: list(sop.runs.call("steps", idempotency_key=f"cut-{cut}")))
    assert [event.seq for event in plain] == list(range(1, 9)) and plain[-1].is_end
    with between(url, 0, *[cut] * 20) as server:
        key = f"cut-{cut}-again"
        seen = await with_client(
            address_of(server), gateway.key, lambda sop: list(sop.runs.call("steps", idempotency_key=key))
        )
        assert [(e.seq, e.type, e.key, e.result) for e in seen] == [(e.seq, e.type, e.key, e.result) for e in plain]
        assert server.asked[:2] == ["POST /v1/call/steps"] * 2
        assert server.asked[2] == f"GET /v1/runs/{key}/events?after={cut}"
    assert plain[0].record["script"] == "steps"


async def test_a_run_that_is_left_goes_on(gateway: Gateway, url: str) -> None:
    await gateway.save_held()

    def leave(sop: Client) -> int:
        with sop.runs.call("held", idempotency_key="left") as events:
            assert next(events).type == "run"
            with pytest.raises(CutShort):
                events.close()
                events.result()
            return events.last_seq

    last = await with_client(url, gateway.key, leave)
    gateway.gate.set()
    rest = await with_client(url, gateway.key, lambda sop: [e.seq for e in sop.runs.follow("left", last)])
    assert rest == list(range(last + 1, 6))


async def test_a_gateway_that_stays_away(gateway: Gateway, url: str) -> None:
    await gateway.save_held()
    events = None
    with between(url, 2) as server:

        def begin(sop: Client) -> None:
            nonlocal events
            events = sop.runs.call("held", idempotency_key="away")
            assert [next(events).seq, next(events).seq] == [1, 2]
            server.shutdown()
            server.server_close()
            gateway.gate.set()
            with pytest.raises(Unreachable) as raised:
                next(events)
            assert raised.value.retryable and events.last_seq == 2

        await with_client(address_of(server), gateway.key, begin, patience=0.2)


async def test_a_stream_that_was_silent_for_long_is_taken_up_too(gateway: Gateway, url: str) -> None:
    await gateway.save_held()
    threading.Timer(0.5, gateway.gate.set).start()
    with between(url, 2) as server:  # cut when the third event comes
        events = await with_client(
            address_of(server),
            gateway.key,
            lambda sop: list(sop.runs.call("held", idempotency_key="long")),
            patience=0.1,
        )
        assert [event.seq for event in events] == [1, 2, 3, 4, 5]
        assert len(server.asked) == 2


async def test_errors_have_types(gateway: Gateway, url: str) -> None:
    await gateway.save("typed", [{"type": "return", "value": "{{ n }}"}], parameters=[{"name": "n", "type": "integer"}])
    await gateway.save("broken", [{"type": "fail", "name": "stop", "code": "no_stock", "message": "nothing left"}])

    def work(sop: Client) -> None:
        with pytest.raises(InvalidRequest) as invalid:
            sop.runs.start("typed", {"m": 1})
        assert invalid.value.status == 422 and {place.pointer for place in invalid.value.places} >= {"/arguments/m"}
        assert invalid.value.request_id
        with pytest.raises(InvalidRequest) as wrong:
            next(sop.runs.call("typed", {"n": "x"}))
        assert wrong.value.pointer == "/arguments/n"
        with pytest.raises(NotFound) as missing:
            next(sop.runs.follow("no-such-run"))
        assert missing.value.code == "run_not_found"
        sop.runs.start("typed", {"n": 1}, idempotency_key="typed-1")
        with pytest.raises(Conflict) as conflict:
            sop.runs.start("typed", {"n": 2}, idempotency_key="typed-1")
        assert conflict.value.code == "idempotency_mismatch"
        with pytest.raises(RunFailed) as failed:
            sop.runs.call("broken").result()
        assert (failed.value.code, failed.value.step, failed.value.hint) == ("no_stock", "stop", None)
        sop.data.create_database("here")
        with pytest.raises(NotFound):
            sop.data.select("here/nothing")
        for name in ("here", "here/", "/x", "a/b/c"):
            with pytest.raises(ValueError, match="DATABASE/STORE"):
                sop.data.select(name)

    await with_client(url, gateway.key, work)
    with pytest.raises(NotAuthenticated):
        await with_client(url, "sop_x_y", lambda sop: sop.data.databases())
    with pytest.raises(Unreachable, match="not reachable"):
        await with_client("http://127.0.0.1:1", "k", lambda sop: sop.data.databases())


def test_the_exception_of_a_status() -> None:
    kinds = {400: InvalidRequest, 401: NotAuthenticated, 404: NotFound, 409: Conflict, 412: Conflict, 428: Conflict, 422: InvalidRequest,
             429: TooMany, 500: GatewayFailed, 503: GatewayFailed}  # fmt: skip
    assert {status: type(refused(status, {"code": "x", "detail": "y"})) for status in kinds} == kinds


async def test_a_server_that_is_silent_or_none_of_ours() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        await gone.wait()
        writer.close()

    gone = asyncio.Event()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(TimedOut):
            await with_client(f"http://127.0.0.1:{port}", "k", lambda sop: sop.data.databases(), timeout=0.2)
    finally:
        gone.set()
        server.close()
        await server.wait_closed()


async def test_rows_that_do_not_arrive_whole(gateway: Gateway, url: str) -> None:
    def fill(sop: Client) -> None:
        sop.data.create_database("cuts")
        sop.data.create_store("cuts/items", ["id"])
        assert sop.data.import_rows("cuts/items", ({"id": n} for n in range(100))).imported == 100

    await with_client(url, gateway.key, fill)

    def read(sop: Client) -> list[int]:
        seen: list[int] = []
        with pytest.raises(CutShort, match=r"\d+ came"):
            seen.extend(row["id"] for row in sop.data.select("cuts/items"))
        return seen

    for cut in (0, 1, 50, 100):
        with between(url, cut) as server:
            await with_client(address_of(server), gateway.key, read)
    with between(url, 40) as server, pytest.raises(CutShort):
        await with_client(address_of(server), gateway.key, lambda sop: list(sop.data.export("cuts/items")))
    whole = await with_client(url, gateway.key, lambda sop: b"".join(sop.data.export("cuts/items", "csv")))
    assert whole.startswith(b"id\r\n0\r\n1\r\n") and whole.count(b"\r\n") == 101


async def test_an_import_of_a_file(gateway: Gateway, url: str, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("id,n\na,1\nb,x\n")

    def work(sop: Client) -> None:
        sop.data.create_database("files")
        sop.data.create_store("files/people", ["id"])
        rejected: list[Reject] = []
        file = tmp_path / "people.csv"
        tried = sop.data.import_rows("files/people", file, types={"n": "integer"}, dry_run=True)
        with sop.data.select("files/people") as rows:
            assert list(rows) == []
        report = sop.data.import_rows("files/people", file, types={"n": "integer"}, on_reject=rejected.append)
        assert replace(tried, seconds=report.seconds) == report
        assert (report.imported, report.rejected_count, report.stopped) == (1, 1, False)
        assert (rejected[0].line, rejected[0].text) == (3, "b,x") and report.rejected[0].line == 3
        with pytest.raises(ValueError, match="has to end in"):
            sop.data.import_rows("files/people", tmp_path / "people.xml")
        with pytest.raises(ValueError, match="not JSON compliant"):
            sop.data.import_rows("files/people", [{"id": "c", "n": float("nan")}])
        with sop.data.select("files/people") as rows:
            assert rows.version is not None and next(rows) == {"id": "a", "n": 1}

    await with_client(url, gateway.key, work)


async def test_approvals(gateway: Gateway, url: str) -> None:
    steps = [{"type": "wait", "name": "ask", "approval": {"by": ["bootstrap"], "prompt": "well?"}}]
    await gateway.save("asks", steps)

    def work(sop: Client) -> str:
        run = sop.runs.start("asks")
        events = sop.runs.follow(run.id)
        next(events)
        for _ in range(500):
            found = [entry for entry in sop.approvals.list(mine=True) if entry.run_id == run.id]
            if found:
                break
        assert (found[0].by, found[0].prompt) == (("bootstrap",), "well?")
        sop.approvals.approve(run.id, comment="yes")
        events.result()
        return sop.runs.get(run.id).state

    assert await with_client(url, gateway.key, work) == "completed"
