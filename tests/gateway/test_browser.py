"""A real browser: logs in, watches a run with `EventSource`, is cut off behind every record, and goes on by itself.

The browser is Debian's chromium, without a driver: the test serves the page on the gateway's own origin, and the page tells what it has
got. `make test` installs it where it is missing.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.sse import format_sse_event
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.app import create_app
from gateway.results.forms import ServerSentEvents
from tests.gateway.conftest import Gateway, eventually

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions", "--no-proxy-server",
)  # fmt: skip
PATIENCE = 60
NAMES = ["run.created", "step.result", "rows", "log", "step.error", "run.completed", "run.failed", "error"]
PAGE = """<!doctype html><meta charset="utf-8"><title>watching</title><script>
const status = async (...asked) => { try { return (await fetch(...asked)).status } catch (error) { return error.name } };
const say = told => fetch("/told", {method: "POST", body: JSON.stringify(told)});
(async () => {
  const told = {got: [], opened: 0, errors: 0};
  told.before = await status("/v1/runs/RUN");
  told.login = await status("/v1/session", {method: "POST", headers: {Authorization: "Bearer KEY"}});
  told.after = await status("/v1/runs/RUN");
  told.cookie = document.cookie;
  told.elsewhere = await status(location.href.replace("127.0.0.1", "localhost").replace("/page", "/livez"));
  const source = new EventSource("/v1/runs/RUN/events");
  source.onopen = () => told.opened++;
  source.onerror = event => { if (event.data === undefined) told.errors++ };
  for (const name of NAMES) source.addEventListener(name, async event => {
    if (event.data === undefined) return;  // an error of the connection
    told.got.push({name, id: event.lastEventId, record: JSON.parse(event.data)});
    if (name !== "run.completed" && name !== "run.failed") return;
    source.close();
    told.logout = await status("/v1/session", {method: "DELETE"});
    told.out = await status("/v1/runs/RUN");
    await say(told);
  });
})().catch(error => say({failed: String(error)}));
</script>"""


class Cut(Exception):
    """The connection of a stream is dropped."""


@dataclass
class Site:
    """The gateway, and on the same origin the page and where it tells what it got. Each stream of events is cut behind its first one."""

    gateway: ASGIApp
    page: str = ""
    asked: list[str | None] = field(default_factory=list)
    told: asyncio.Future[dict[str, Any]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path == "/page":
            await _answer(send, self.page.encode())
        elif path == "/told":
            body = b""
            while (message := await receive())["type"] == "http.request":
                body += message.get("body", b"")
                if not message.get("more_body"):
                    break
            await _answer(send, b"")
            self.told.set_result(json.loads(body))
        elif path.endswith("/events"):
            headers = dict(scope["headers"])
            self.asked.append(headers[b"last-event-id"].decode() if b"last-event-id" in headers else None)
            try:
                await self.gateway(scope, receive, _cutting(send))
            except Cut:
                return
        else:
            await self.gateway(scope, receive, send)


def _cutting(send: Send) -> Send:
    async def cut(message: Message) -> None:
        event, divider, _ = message.get("body", b"").partition(b"\n\n")
        if b"data:" in event and divider:
            await send({**message, "body": event + divider, "more_body": True})
            raise Cut
        await send(message)

    return cut


async def _answer(send: Send, body: bytes) -> None:
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="critical", lifespan="off", timeout_graceful_shutdown=2)
    )
    task = asyncio.ensure_future(server._serve())
    await eventually(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await task


@asynccontextmanager
async def chromium(url: str, profile: Path) -> AsyncIterator[None]:
    """The browser with a page open."""
    program = shutil.which("chromium")
    assert program is not None, "chromium is missing: `make test` installs it, or: apt-get install chromium"
    with (profile.with_suffix(".log")).open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0", url, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.terminate()
            await process.wait()


async def test_a_browser_watches_a_run_through_every_cut(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ServerSentEvents, "opening", format_sse_event(retry=20))
    await gateway.save_held()
    run = (await gateway.http.post("/v1/scripts/held/runs", json={})).json()["id"]
    site = Site(create_app(replace(gateway.services, stopping=asyncio.Event())))
    site.page = PAGE.replace("RUN", run).replace("KEY", gateway.key).replace("NAMES", json.dumps(NAMES))
    async with served(site) as url, chromium(f"{url}/page", tmp_path / "profile"):
        await eventually(lambda: len(site.asked) >= 3 or site.told.done(), PATIENCE)
        gateway.gate.set()  # it has come again for what follows the second record, which is not there yet
        told = await asyncio.wait_for(site.told, PATIENCE)
    assert "failed" not in told, told
    events = await gateway.http.get(f"/v1/runs/{run}/events")
    records = [json.loads(line) for line in events.text.splitlines()]
    assert [one["record"] for one in told["got"]] == records
    assert [one["id"] for one in told["got"]] == [str(record["seq"]) for record in records]
    assert [one["name"] for one in told["got"]] == ["run.created", *["step.result"] * 3, "run.completed"]
    assert site.asked == [None, "1", "2", "3", "4"]
    assert (told["opened"], told["errors"]) == (5, 4)
    assert (told["before"], told["login"], told["after"], told["logout"], told["out"]) == (401, 201, 200, 204, 401)
    assert told["cookie"] == ""  # no script reads it
    assert told["elsewhere"] == "TypeError"  # another origin's answers are not shown
