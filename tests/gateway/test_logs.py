"""The log: lines that machines read, that say where they belong, that cannot be forged, and that have no secrets."""

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from gateway.operations import logs
from gateway.operations.logs import HIDDEN, Redactor, formatter
from gateway.operations.steps import StepLog
from tests.gateway.conftest import Gateway

CANARY = "canary-7c1f0e"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the loggers of ours write, as JSON; the loggers are as they were afterwards."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatter("json", Redactor([CANARY])))
    loggers = [logging.getLogger(name) for name in ("gateway", "worker", "temporalio", "elsewhere")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    yield written
    for logger, level in zip(loggers, before, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


def lines(written: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


async def test_a_request_is_a_line(gateway: Gateway, log: io.StringIO) -> None:
    await gateway.save("one", [{"type": "return", "name": "r", "value": 1}])
    started = await gateway.http.post("/v1/scripts/one/runs", json={}, headers={"Idempotency-Key": "run-1"})
    answer = await gateway.http.get(f"/v1/runs/run-1?x={CANARY}", headers={"X-Request-ID": "abc", "X-Secret": CANARY})
    called = await gateway.http.post("/v1/call/one", json={})
    await gateway.http.get("/v1/runs/run-1", headers={"Authorization": f"Bearer {CANARY}"})
    await gateway.http.get("/livez")
    found = [line for line in lines(log) if line["logger"] == "gateway.access"]
    assert (started.status_code, answer.status_code) == (202, 200)
    shown = dict(next(line for line in found if line.get("request_id") == "abc"))
    key_id = gateway.key.split("_")[1]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", shown.pop("time"))
    assert shown.pop("ms") >= 0
    assert shown.pop("message") == "GET /v1/runs/{run_id} 200"
    assert shown == {
        "level": "info", "logger": "gateway.access", "path": "/v1/runs/run-1", "bytes": len(answer.content),
        "request_id": "abc", "key_id": key_id, "run_id": "run-1",
    }  # fmt: skip
    stream = next(line for line in found if line["message"] == "POST /v1/call/{name} 200")
    assert (stream["run_id"], stream["bytes"]) == (called.headers["run-id"], len(called.content))
    refused = next(line for line in found if line["message"] == "GET other 401")
    assert "key_id" not in refused and refused["request_id"]
    assert found[-1]["message"] == "GET /livez 200" and found[-1]["level"] == "debug"
    assert CANARY not in log.getvalue()


async def test_a_failure_has_its_request_and_no_secrets(
    gateway: Gateway, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(
            f"password={CANARY} key={gateway.key} Authorization: Bearer {CANARY}x smtp://me:{CANARY}y@host"
        )

    monkeypatch.setattr(type(gateway.services.registry), "describe", fail)
    answer = await gateway.http.get("/v1/tools", headers={"X-Request-ID": "failing"})
    assert answer.status_code == 500
    told = next(line for line in lines(log) if line["level"] == "error")
    assert (told["request_id"], told["logger"]) == ("failing", "gateway")
    assert "RuntimeError: password=" in told["exception"] and HIDDEN in told["exception"]
    assert CANARY not in log.getvalue() and gateway.key.split("_")[2] not in log.getvalue()


async def test_a_step_says_where_it_is(log: io.StringIO) -> None:
    def work() -> None:
        logging.getLogger("elsewhere").warning("inside", extra={"password": CANARY, "step": "told"})

    ActivityEnvironment().run(work)
    (line,) = lines(log)
    assert (line["run_id"], line["tool"], line["attempt"], line["step"]) == ("test", "unknown", 1, "told")
    assert "password" not in line


async def test_steps_are_logged(log: io.StringIO) -> None:
    class Inner:
        error: BaseException | None = None

        async def execute_activity(self, input: Any) -> str:
            if self.error is not None:
                raise self.error
            return "done"

    inner: Any = Inner()
    outer = StepLog().intercept_activity(inner)
    anything: Any = None
    assert await outer.execute_activity(anything) == "done"
    inner.error = ApplicationError(f"row {CANARY} of somebody", type="unique_violation")
    with pytest.raises(ApplicationError):
        await outer.execute_activity(anything)
    inner.error = ApplicationError("KeyError: 1", type="internal")
    with pytest.raises(ApplicationError):
        await outer.execute_activity(anything)
    done, failed, defect = lines(log)
    assert (done["message"], done["level"]) == ("step done", "debug")
    assert (failed["message"], failed["level"], failed["code"]) == ("step failed", "warning", "unique_violation")
    assert "exception" not in failed and "somebody" not in log.getvalue()
    assert "Traceback" in defect["exception"]


@given(
    st.text("0123 \n", max_size=20),
    st.text("0123 \n", max_size=20),
    st.text("abcä\\'\"{}%$.+", min_size=6, max_size=20),
)
@settings(deadline=None)
def test_secrets_are_taken_out_as_they_are_and_as_python_shows_them(before: str, behind: str, secret: str) -> None:
    redact = Redactor([secret, "another secret"]).text
    assert redact(before + secret + behind) == before + HIDDEN + behind
    assert redact(f"{before}{secret!r}{behind}") in (f"{before}'{HIDDEN}'{behind}", f'{before}"{HIDDEN}"{behind}')


SHAPES = [
    ("sop_0a1b2c3d4e5f_" + "ab" * 32, "ab" * 8), ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKY"),
    ("Authorization: Bearer eyJhbGciOi.J9-_x", "eyJhbGciOi"), ("authorization: basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ("smtp://me:hidden-word@mail:25/x", "hidden-word"), ("https://u:hidden%40@h/p", "hidden%40"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "secret"), SHAPES)
def test_what_looks_like_a_key_goes_too(text: str, secret: str) -> None:
    shown = Redactor().text(f"before {text} behind")
    assert secret not in shown and HIDDEN in shown
    assert shown.startswith("before ") and shown.endswith(" behind")


def test_ordinary_text_stays() -> None:
    for text in ("the bearer of this", "http://host:80/x", "sop_commit_seconds", "Basic tools", "a@b", ""):
        assert Redactor(["", "short"]).text(text) == text


FORGED = "x\n2026-11-21T00:00:00.000Z INFO    gateway.access: forged\r\x1b[31m\u2028\x85"


@pytest.mark.parametrize("form", ["text", "json"])
def test_lines_cannot_be_forged(form: Literal["text", "json"]) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatter(form, Redactor()))
    logger = logging.Logger("forged")
    logger.addHandler(handler)
    logger.warning("GET %s", FORGED, extra={"path": FORGED})
    try:
        raise ValueError(FORGED)
    except ValueError:
        logger.exception("failed \ud800", extra={"path": "\ud800"})
    text = written.getvalue()
    assert "\x1b" not in text and "\r" not in text
    for line in text.split("\n")[:-1]:
        if form == "json":
            assert json.loads(line)["logger"] == "forged"
        else:
            assert re.match(r"\d{4}-[-\dT:.]+Z (WARNING|ERROR  ) forged: |    ", line), line
            assert "\u2028" not in line and "\x85" not in line


def test_only_warnings_of_others_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    before = (root.level, root.handlers[:], {name: logging.getLogger(name).level for name in logs.OURS})
    written = io.StringIO()
    try:
        logs.set_up("text", "info", secrets=[CANARY], stream=written)
        logging.getLogger("httpx2").info("HTTP Request: GET http://x/?token=1")
        logging.getLogger("httpx2").warning("slow %s", CANARY)
        logging.getLogger("gateway.access").info("GET %s 200", "/v1/x", extra={"path": "/v1/a b"})
        logging.getLogger("gateway.access").debug("no")
        assert logging.captureWarnings is not None
    finally:
        logging.captureWarnings(False)
        root.setLevel(before[0])
        root.handlers[:] = before[1]
        for name, level in before[2].items():
            logging.getLogger(name).setLevel(level)
    first, second = (line.partition(" ")[2] for line in written.getvalue().splitlines())
    assert first == f"WARNING httpx2: slow {HIDDEN}"
    assert second == 'INFO    gateway.access: GET /v1/x 200  path="/v1/a b"'
