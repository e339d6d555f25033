"""What every command of `sop` has: forms of output, profiles, --quiet, completion; exit codes by class; and `sop doctor`."""

import asyncio
import csv
import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import httpx2
import pytest
from typer.main import get_command

from gateway.cli import completion, doctor, options
from gateway.cli.application import app
from gateway.cli.failures import CommandFailed, of_error
from gateway.client.errors import CutShort, NotConfigured, RunFailed, TimedOut, Unreachable, refused
from tests.gateway.conftest import Gateway, Sop

LISTING = {"list", "ls", "show", "times", "history", "diff", "info", "get", "select", "join", "aggregate", "approvals", "doctor"}  # fmt: skip


def commands() -> dict[tuple[str, ...], Any]:
    """All commands of the tree, by their words."""
    found: dict[tuple[str, ...], Any] = {}

    def walk(command: Any, words: tuple[str, ...]) -> None:
        for name, under in getattr(command, "commands", {}).items():
            walk(under, (*words, name))
        if not hasattr(command, "commands"):
            found[words] = command

    walk(get_command(app), ())
    return found


def flags(command: Any) -> set[str]:
    return {flag for parameter in command.params for flag in parameter.opts}


def test_every_command_has_the_options_and_every_listing_the_forms() -> None:
    found = commands()
    assert len(found) > 40
    for words, command in found.items():
        assert {"--profile", "--url", "--quiet", "--no-color"} <= flags(command), words
        if words[-1] in LISTING:
            output = next(parameter for parameter in command.params if "--output" in parameter.opts)
            assert set(get_args(output.type_descriptor.annotation)) == {"table", "json", "ndjson", "csv"}, words
    assert {words[-1] for words in found} >= LISTING


async def filled(sop: Sop, directory: Path) -> None:
    file = directory / "rows.ndjson"
    file.write_text('{"id": "a", "n": 1, "tags": ["x", "y"]}\n{"id": "b", "text": "=1+1"}\n')
    made = await sop("data", "import", "forms/items", str(file), "--create", "--key", "id")
    assert made.code == 0, made.err


async def test_a_listing_as_csv(sop: Sop, gateway: Gateway, tmp_path: Path) -> None:
    await filled(sop, tmp_path)
    found = await sop("data", "ls", "forms/items", "-o", "csv")
    assert found.out == 'id,n,tags,text\r\na,1,"[""x"",""y""]",\r\nb,,,\'=1+1\r\n'
    await gateway.save("one", [{"type": "return", "value": 1}])
    for words in (
        ("script", "list"),
        ("script", "show", "one", "--versions"),
        ("db", "history", "forms"),
        ("db", "ls"),
    ):
        asked = await sop(*words, "-o", "json")
        rows = list(csv.DictReader(io.StringIO((await sop(*words, "-o", "csv")).out)))
        assert [set(row) for row in rows] == [set().union(*asked.json)] * len(asked.json), words
        assert len(rows) == len(asked.json) >= 1
    one = list(csv.DictReader(io.StringIO((await sop("data", "get", "forms/items", "a", "-o", "csv")).out)))
    assert one == [{"id": "a", "n": "1", "tags": '["x","y"]'}]
    shown = list(csv.DictReader(io.StringIO((await sop("script", "show", "one", "-o", "csv")).out)))
    assert (shown[0]["name"], json.loads(shown[0]["script"])["name"]) == ("one", "one")
    events = list(csv.DictReader(io.StringIO((await sop("run", "one", "-o", "csv")).out)))
    assert [event["seq"] for event in events] == ["1", "2", "3"]
    assert (events[-1]["status"], events[-1]["result"]) == ("completed", "1")


async def test_the_form_that_nobody_asked_for(sop: Sop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(sop, tmp_path)
    assert (await sop("data", "get", "forms/items", "a")).json["n"] == 1
    monkeypatch.setattr(options, "_on_terminal", lambda: True)
    assert (await sop("data", "get", "forms/items", "a")).out.splitlines()[0].split() == ["id", "a"]
    assert (await sop("data", "get", "forms/items", "a", "-o", "json")).json["n"] == 1
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sop.toml").write_text('[profile.default]\noutput = "ndjson"\n[profile.sheet]\noutput = "csv"\n')
    assert (await sop("data", "ls")).json == {"name": "forms"}
    assert (await sop("data", "ls", "--profile", "sheet")).out == "name\r\nforms\r\n"
    assert (await sop("--profile", "sheet", "data", "ls")).out == "name\r\nforms\r\n"
    assert (await sop("--profile", "sheet", "data", "ls", "-o", "json")).json == [{"name": "forms"}]
    exported = await sop("data", "export", "forms/items", "--profile", "sheet")
    assert len(exported.out.splitlines()) == 2 and exported.out.startswith('{"id"')
    wrong = await sop("data", "ls", "--profile", "shet")
    assert (wrong.code, wrong.out) == (2, "") and "did you mean 'sheet'?" in wrong.err


async def test_profiles(sop: Sop, gateway: Gateway, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(sop, tmp_path)
    for name in ("SOP_URL", "SOP_DATA_DIR"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "sop" / "config.toml"
    file.parent.mkdir()
    file.write_text(f'[profile.here]\nurl = "{url}"\nkey = "{gateway.key}"\n')
    exposed = await sop("data", "ls", "--profile", "here")
    assert exposed.code == 4 and f"chmod 600 {file}" in exposed.err and gateway.key not in exposed.err
    file.chmod(0o600)
    assert "forms" in (await sop("data", "ls", "--profile", "here")).out
    monkeypatch.setenv("SOP_PROFILE", "here")
    assert "forms" in (await sop("data", "ls")).out
    other = await sop("data", "ls", "--url", "http://127.0.0.1:1")
    assert other.code == 4 and "no API key" in other.err


async def test_quiet(sop: Sop, gateway: Gateway, tmp_path: Path) -> None:
    await gateway.save("loud", [{"type": "say", "message": "hello"}, {"type": "return", "value": 7}])
    await gateway.save("bad", [{"type": "fail", "name": "stop", "code": "no_stock", "message": "nothing left"}])
    for words in (("-q", "run", "loud"), ("run", "loud", "--quiet"), ("run", "-q", "loud")):
        found = await sop(*words)
        assert (found.code, found.out.strip(), found.err) == (0, "7", "")
    failed = await sop("-q", "run", "bad")
    assert (failed.code, failed.err) == (1, "error: stop: nothing left [no_stock]\n")
    assert (await sop("run", "loud")).err != "", "it does not stay from one command to the next"
    file = tmp_path / "rows.csv"
    file.write_text("id,n\na,x\n")
    rejected = await sop("-q", "data", "import", "q/rows", str(file), "--create", "--key", "id", "--types", "n=integer")
    assert rejected.code == 1 and "'x' is no integer" in rejected.err


async def test_no_colour_on_a_terminal(gateway: Gateway, url: str, tmp_path: Path) -> None:
    await gateway.save("plain", [{"type": "return", "value": 1}])
    command = Path(sys.executable).parent / "sop"
    environment = {
        **os.environ,
        "SOP_URL": url,
        "SOP_API_KEY": gateway.key,
        "TERM": "xterm-256color",
        "XDG_CONFIG_HOME": str(tmp_path),
    }

    def shown(*words: str, **more: str) -> str:
        import pty

        ours, theirs = pty.openpty()
        done = subprocess.Popen([command, *words], env=environment | more, cwd=tmp_path, stdout=theirs, stderr=-1)
        _, told = done.communicate(timeout=30)
        os.close(theirs)
        text = b""
        try:
            while piece := os.read(ours, 65536):
                text += piece
        except OSError:
            pass
        finally:
            os.close(ours)
        assert done.returncode == 0, told
        return text.decode()

    table = await asyncio.to_thread(shown, "script", "list")
    assert "NAME" in table and "plain" in table
    plain = await asyncio.to_thread(shown, "script", "list", NO_COLOR="1")
    assert "\x1b[3" not in plain and "plain" in plain


async def test_a_verb_that_was_misspelt(sop: Sop, gateway: Gateway) -> None:
    await gateway.save("wach", [{"type": "return", "value": 1}])
    for words, meant in (
        (("data", "selct", "a/b"), "select"),
        (("schedule", "trigge", "x"), "trigger"),
        (("docter",), "doctor"),
        (("run", "wach", "some-id"), "watch"),
    ):
        found = await sop(*words)
        assert found.code == 2 and f"Did you mean '{meant}'?" in " ".join(found.err.split()).replace("│ ", ""), (
            found.err
        )
    verb = await sop("run", "shw")
    assert verb.code == 3 and "sop run show ID" in verb.err
    assert (await sop("run", "wach")).json == 1


async def test_names_are_completed(sop: Sop, gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(sop, tmp_path)
    await gateway.save("complete_me", [{"type": "return", "value": 1}])
    tree = commands()

    async def completed(words: tuple[str, ...], incomplete: str) -> list[str]:
        command = tree[words]
        argument = next(parameter for parameter in command.params if parameter.param_type_name == "argument")
        context = command.context_class(command)
        items = await asyncio.to_thread(argument.shell_complete, context, incomplete)
        return [item.value for item in items]

    monkeypatch.setattr(completion, "SECONDS", 20.0)
    assert await completed(("run", "start"), "compl") == ["complete_me"]
    assert await completed(("script", "show"), "nope") == []
    group = get_command(app).commands["run"]
    items = await asyncio.to_thread(group.shell_complete, group.context_class(group), "co")
    assert [item.value for item in items] == ["concurrency", "complete_me"]
    assert await completed(("data", "select"), "for") == ["forms/"]
    assert await completed(("data", "select"), "forms/") == ["forms/items"]
    assert await completed(("db", "info"), "f") == ["forms"]


async def test_completion_does_not_wait_for_a_gateway(sop: Sop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    gone = asyncio.Event()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    monkeypatch.setenv("SOP_URL", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    command = commands()["run", "start"]
    context = command.context_class(command)
    try:
        assert await asyncio.to_thread(command.params[0].shell_complete, context, "x") == []
    finally:
        gone.set()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RunFailed("r", "failed", None), 1),
        (CutShort("cut_short", "x"), 1),
        (NotConfigured("unknown_profile", "x"), 2),
        (refused(422, {"code": "invalid", "detail": "x"}), 2),
        (refused(404, {"code": "run_not_found", "detail": "x"}), 3),
        (refused(401, {"code": "not_authenticated", "detail": "x"}), 4),
        (refused(403, {"code": "not_asked", "detail": "x"}), 4),
        (NotConfigured("no_key", "x"), 4),
        (NotConfigured("key_exposed", "x"), 4),
        (refused(409, {"code": "conflict", "detail": "x"}), 5),
        (refused(412, {"code": "changed", "detail": "x"}), 5),
        (refused(428, {"code": "precondition", "detail": "x"}), 5),
        (refused(422, {"code": "idempotency_mismatch", "detail": "x"}), 5),
        (TimedOut("timed_out", "x"), 6),
        (Unreachable("unreachable", "x"), 7),
        (refused(429, {"code": "too_many", "detail": "x"}), 7),
        (refused(503, {"code": "not_ready", "detail": "x"}), 7),
    ],
)
def test_every_error_has_its_exit_code(error: Any, code: int) -> None:
    failed = of_error(error)
    assert isinstance(failed, CommandFailed) and failed.exit_code == code
    assert failed.lines[0].startswith("error: ")


async def test_a_gateway_that_does_not_answer_in_time(sop: Sop, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(self: Any, *_: Any, **__: Any) -> Any:
        raise httpx2.ReadTimeout("late")

    monkeypatch.setattr(httpx2.Client, "request", late)
    found = await sop("data", "ls")
    assert (found.code, found.out) == (6, "") and "did not answer in time" in found.err


CHECKS = ["command", "address", "gateway", "key", "temporal", "worker", "data_dir", "version", "clock", "fsync", "disk"]


async def test_the_doctor_finds_nothing(sop: Sop, gateway: Gateway) -> None:
    found = await sop("doctor", "-o", "json")
    rows = {row["check"]: row for row in found.json}
    assert (found.code, list(rows)) == (0, CHECKS), found.out
    good = set(CHECKS) - {"fsync", "disk"}  # those are this machine's
    assert {row["state"] for name, row in rows.items() if name in good} == {"ok"}, rows
    assert "that of bootstrap" in rows["key"]["detail"] and gateway.key not in found.out
    assert "SOP_URL" in rows["address"]["detail"]
    assert all(row["hint"] for row in rows.values() if row["state"] != "ok")
    assert (await sop("doctor")).out.splitlines()[0].split() == ["CHECK", "STATE", "DETAIL", "HINT"]


async def test_the_doctor_finds_what_is_wrong(
    sop: Sop, gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def states(code: int) -> dict[str, Any]:
        found = await sop("doctor", "-o", "json")
        assert found.code == code, found.out
        assert "not in order" in found.err
        rows = {row["check"]: row for row in found.json}
        assert all(row["hint"] for row in rows.values() if row["state"] in ("failed", "warning")), rows
        return {name: row["state"] for name, row in rows.items()}

    monkeypatch.setenv("SOP_API_KEY", "sop_x_y")
    told = await states(4)
    assert (told["gateway"], told["key"], told["temporal"], told["disk"]) == ("ok", "failed", "ok", "skipped")
    monkeypatch.delenv("SOP_API_KEY")
    monkeypatch.setattr("gateway.health.POLLER_AGE", -1)
    assert {name for name, state in (await states(1)).items() if state == "failed"} == {"worker"}
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("SOP_API_KEY", "sop_x_y")
    monkeypatch.setenv("SOP_URL", "http://127.0.0.1:1")
    told = await states(7)
    assert (told["gateway"], told["key"]) == ("failed", "skipped")
    monkeypatch.delenv("SOP_API_KEY")
    monkeypatch.setenv("SOP_DATA_DIR", str(tmp_path / "nowhere"))
    assert (await states(4))["address"] == "failed"
    (tmp_path / "sop").mkdir()
    (tmp_path / "sop" / "config.toml").write_text("[profile\n")
    assert (await sop("doctor", "-o", "json")).code == 2


def test_what_the_doctor_thinks_of_clocks_and_disks() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    later = now + timedelta(seconds=1)
    assert doctor.clock(now, now, later).state == "ok"
    for seconds, state in ((1, "ok"), (3, "warning"), (90, "failed")):
        assert doctor.clock(now - timedelta(seconds=seconds), now, later).state == state
        assert doctor.clock(later + timedelta(seconds=seconds), now, later).state == state
    assert [doctor.fsync(taken).state for taken in (None, 0.001, 2.0, 80.0)] == ["failed", "warning", "ok", "warning"]
    assert [doctor.room(free, 1 << 40).state for free in (1 << 20, 1 << 30, 1 << 35)] == ["failed", "warning", "ok"]
