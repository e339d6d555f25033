"""The `sop` command against a real gateway: what it prints where, and how it ends."""

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import run
from gateway.cli.arguments import read_arguments, typed
from gateway.cli.failures import CommandFailed, of_problem
from gateway.cli.trace import line, short
from tests.gateway.conftest import Gateway, Sop, eventually, listening

CSV = "id,name,n\n00001,Ann,94\n00002,Bob,x\n"
RISK = {"name": "risk", "database": "crm", "parameters": [{"name": "id", "type": "string"}, {"name": "days", "type": "integer", "default": 60}],
        "steps": [
            {"type": "command", "name": "read", "command": "get", "args": {"store": "people", "key": "{{ id }}"}, "output_variable": "c"},
            {"type": "if", "name": "check_risk", "condition": "c.n > days && c.name != ''", "then": [{"type": "say", "name": "tell", "message": "at risk"}]},
            {"type": "return", "name": "out", "value": {"n": "{{ c.n }}"}}]}  # fmt: skip


async def prepare(sop: Sop, directory: Path) -> None:
    (directory / "people.csv").write_text(CSV.replace("x", "3"))
    made = await sop(
        "data", "import", "crm/people", str(directory / "people.csv"), "--create", "--key", "id", "--types", "n=integer"
    )
    assert made.code == 0, made.err
    (directory / "risk.json").write_text("// a comment\n" + json.dumps(RISK))
    saved = await sop("script", "save", str(directory / "risk.json"), "-o", "json")
    assert (saved.code, saved.json[0]["name"]) == (0, "risk")


async def test_a_run_shows_its_trace_and_gives_its_value(sop: Sop, tmp_path: Path) -> None:
    await prepare(sop, tmp_path)
    found = await sop("run", "risk", "--arg", "id=00001")
    assert (found.code, found.json) == (0, {"n": 94})
    trace = [" ".join(part.split()) for part in found.err.splitlines()]
    assert trace[0].endswith(': risk {"id":"00001"}')
    assert trace[1].startswith('read command {"id":"00001","name":"Ann","n":94}')
    assert trace[2:] == [
        "check_risk if 94 > 60 && \"Ann\" != '' -> true",
        "check_risk/tell say at risk",
        'out return {"n":94}',
        "run completed",
    ]
    events = await sop("run", "risk", "--arg", "id=00001", "--dry-run", "-o", "ndjson")
    told = [json.loads(text) for text in events.out.splitlines()]
    assert events.err == "" and told[0]["dry_run"] is True and told[-1]["status"] == "completed"
    whole = await sop("run", "risk", "--args", '{"id": "00001"}', "--arg", "days=100", "-o", "json")
    assert (whole.json["state"], whole.json["arguments"]) == ("completed", {"id": "00001", "days": 100})


async def test_runs_are_started_and_looked_after(sop: Sop, gateway: Gateway) -> None:
    await gateway.save_held()
    started = await sop("run", "held", "--detach", "--idempotency-key", "cli-1", "-o", "json")
    assert (started.code, started.json["id"]) == (0, "cli-1")
    assert (await sop("run", "show", "cli-1", "-o", "json")).json["state"] == "running"
    assert [step["path"] for step in (await sop("run", "steps", "cli-1", "-o", "json")).json] in ([], ["before"])
    assert (await sop("run", "cancel", "cli-1", "-o", "json")).json["state"] == "canceling"
    gateway.gate.set()
    watched = await sop("run", "watch", "cli-1")
    assert watched.code == 1 and watched.out == "" and "run canceled" in watched.err
    assert (await sop("run", "cancel", "cli-1")).code == 5
    assert (await sop("run", "show", "cli-2")).code == 3

    async def listed() -> list[Any]:
        rows = (await sop("run", "list", "--script", "held", "--state", "canceled", "-o", "json")).json
        return [row["id"] for row in rows]

    assert await eventually(listed) == ["cli-1"]
    assert "cli-1" in (await sop("run", "list", "--limit", "5")).out


async def test_reserved_words_and_scripts_of_that_name(sop: Sop, gateway: Gateway) -> None:
    await gateway.save("list", [{"type": "return", "value": "I am a script"}])
    assert (await sop("run", "start", "list")).json == "I am a script"
    assert (await sop("run", "list")).code == 0
    assert (await sop("run", "--dry-run", "list")).json == "I am a script"


async def test_exit_codes(sop: Sop, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    await gateway.save("broken", [{"type": "fail", "name": "stop", "code": "no_stock", "message": "nothing left"}])
    await gateway.save("fine", [{"type": "return", "value": "{{ n }}"}], parameters=[{"name": "n", "type": "integer"}])
    for output in ("table", "json", "ndjson"):
        failed = await sop("run", "broken", "-o", output)
        assert failed.code == 1 and ("no_stock" in failed.err + failed.out)
    wrong = {
        ("nonsense",): 2,
        ("run", "fine", "--nope"): 2,
        ("run", "fine", "--arg", "n"): 2,
        ("run", "fine", "--arg", "n=x"): 2,
        ("run", "fine", "--arg", "m=1"): 2,
        ("run", "fine", "--args", "[1]"): 2,
        ("run", "fine", "--args", "@/nowhere/x"): 2,
        ("run", "fine", "--arg", "n=1", "--mock", "x"): 2,
        ("run", "list", "--state", "gone"): 2,
        ("run", "list", "-o", "xml"): 2,
        ("run", "finee", "--arg", "n=1"): 3,
        ("script", "show", "finee"): 3,
        ("script", "save", "/nowhere/x.json"): 2,
        ("data", "ls", "nope"): 3,
        ("data", "get", "a", "1"): 2,
        ("data", "import", "a/b", "/nowhere/x.csv"): 2,
        ("data", "import", "a/b", "/nowhere/x.xml"): 2,
        ("data", "import", "a/b", "/nowhere/x.csv", "--create"): 2,
        ("data", "ls", "system"): 4,
        ("schedule", "create", "fine", "--arg", "n=1", "--on", "monday"): 2,
        ("schedule", "create", "fine", "--arg", "n=1", "--on", "moonday", "--at", "09:00"): 2,
        ("schedule", "trigger", "nope"): 3,
    }
    for words, code in wrong.items():
        found = await sop(*words)
        assert (found.code, found.out) == (code, ""), (words, found)
        assert found.err, words
    assert (await sop("run", "fine", "--arg", "n=1", "--idempotency-key", "e-1")).code == 0
    assert (await sop("run", "fine", "--arg", "n=2", "--idempotency-key", "e-1")).code == 5
    monkeypatch.setenv("SOP_API_KEY", "sop_x_y")
    assert (await sop("data", "ls")).code == 4
    monkeypatch.delenv("SOP_API_KEY")
    monkeypatch.setenv("SOP_URL", "http://127.0.0.1:1")
    unreachable = await sop("data", "ls")
    assert unreachable.code == 7 and "sop dev" in unreachable.err
    monkeypatch.setenv("SOP_DATA_DIR", str(tmp_path / "elsewhere"))
    assert (await sop("data", "ls")).code == 4
    monkeypatch.setenv("SOP_DATADIR", "x")
    assert "did you mean SOP_DATA_DIR" in (await sop("data", "ls")).err


async def test_did_you_mean(sop: Sop, gateway: Gateway) -> None:
    await gateway.save("weekly", [{"type": "return", "value": 1}], parameters=[{"name": "as_of", "default": 1}])
    assert "Did you mean 'script'" in (await sop("scirpt")).err
    assert "--dry-run" in (await sop("run", "weekly", "--dry-runn")).err
    assert "did you mean 'weekly'?" in (await sop("run", "wekly")).err
    assert "did you mean 'as_of'?" in (await sop("run", "weekly", "--arg", "as_off=1")).err


async def test_scripts(sop: Sop, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text('{"name": "good", "steps": [{"type": "assignment", "variable": "x", "value": 1}]}')
    bad.write_text(
        '{"name": "bad", "steps": [{"type": "command", "command": "selct"}, {"type": "say", "message": "{{ x }}"}]}'
    )
    checked = await sop("script", "check", str(good), str(bad), "-o", "json")
    assert checked.code == 2
    assert {(Path(found["file"]).name, found["pointer"].split("/")[2]) for found in checked.json} == {
        ("good.json", "0"),
        ("bad.json", "0"),
        ("bad.json", "1"),
    }
    refused = await sop("script", "save", str(bad))
    assert refused.code == 2 and "did you mean 'select'?" in refused.err and "/steps/1" in refused.err
    saved = await sop("script", "save", str(good))
    assert saved.code == 0 and "notice: /steps/0/type" in saved.err
    assert (await sop("script", "check", str(good))).code == 0
    assert (await sop("script", "show", "good")).json["steps"][0]["type"] == "set"
    assert [row["number"] for row in (await sop("script", "show", "good", "--versions", "-o", "json")).json] == [1]
    assert [json.loads(row)["name"] for row in (await sop("script", "list", "-o", "ndjson")).out.splitlines()] == [
        "good"
    ]
    assert "good" in (await sop("script", "list")).out


async def test_data(sop: Sop, tmp_path: Path) -> None:
    await prepare(sop, tmp_path)
    (tmp_path / "people.csv").write_text(CSV)
    packed = tmp_path / "people.csv.gz"
    packed.write_bytes(gzip.compress((tmp_path / "people.csv").read_bytes()))
    for file in ("people.csv", "people.csv.gz"):
        found = await sop("data", "import", "crm/people", str(tmp_path / file), "--types", "n=integer", "-o", "json")
        assert (found.code, found.json["imported"], found.json["rejected_count"]) == (1, 1, 1)
        assert f"{file}:3: n: 'x' is no integer" in found.err
    lines = tmp_path / "more.ndjson"
    lines.write_text('{"id": "00009", "name": "[bold]x[/bold]\\n\\u001b[31m", "n": 1}\n')
    tried = await sop("data", "import", "crm/people", str(lines), "--dry-run", "-o", "json")
    assert (tried.code, tried.json["dry_run"], tried.json["imported"]) == (0, True, 1)
    assert [row["count"] for row in (await sop("data", "ls", "crm", "-o", "json")).json] == [2]
    assert (await sop("data", "import", "a/b", str(lines), "--create", "--key", "id", "--dry-run")).code == 2
    assert (await sop("data", "import", "crm/people", str(lines))).code == 0
    table = (await sop("data", "ls", "crm/people")).out
    assert "[bold]x[/bold]\\n\\x1b[31m" in table and "\x1b" not in table
    assert "crm" in (await sop("data", "ls")).out
    assert [row["count"] for row in (await sop("data", "ls", "crm", "-o", "json")).json] == [3]
    rows = (await sop("data", "ls", "crm/people", "--limit", "2", "-o", "ndjson")).out.splitlines()
    assert [json.loads(row)["id"] for row in rows] == ["00001", "00002"]
    assert (await sop("data", "get", "crm/people", "00001")).json["n"] == 94
    assert (await sop("data", "get", "crm/people", "1")).code == 3
    tried = await sop("data", "put", "crm/people", '{"id": "7/8", "n": 1}', "--dry-run")
    assert (tried.code, tried.err) == (0, "crm/people: added (dry run)\n")
    put = await sop("data", "put", "crm/people", '{"id": "7/8", "n": 1}')
    assert (put.code, put.err) == (0, "crm/people: added\n")
    assert (await sop("data", "put", "crm/people", '{"n": 1}')).code == 2
    assert (await sop("data", "get", "crm/people", "7/8")).json == {"id": "7/8", "n": 1}
    assert (await sop("data", "delete", "crm/people", "7/8", "--dry-run")).err == "crm/people: deleted (dry run)\n"
    assert (await sop("data", "delete", "crm/people", "7/8")).code == 0
    assert (await sop("data", "delete", "crm/people", "7/8")).code == 3
    other = await sop("data", "import", "crm/people", str(lines), "--create", "--key", "name")
    assert other.code == 5 and "its key is id" in other.err


async def test_schedules(sop: Sop, gateway: Gateway) -> None:
    await gateway.save("weekly", [{"type": "return", "value": 1}], parameters=[{"name": "day", "type": "string"}])
    name = f"{gateway.services.task_queue}-s"
    words = [
        "--on",
        "Monday",
        "--at",
        "09:00",
        "--tz",
        "Europe/Madrid",
        "--arg",
        "day=01",
        "--mock",
        "send_email",
        "--id",
        name,
    ]
    made = await sop("schedule", "create", "weekly", *words)
    assert made.code == 0 and made.out.count("T09:00:00+0") == 5 and "monday at 09:00" in made.out
    shown = (await sop("schedule", "show", name, "-o", "json")).json
    assert (shown["arguments"], shown["mocks"]) == ({"day": "01"}, ["send_email"])
    assert (await sop("schedule", "create", "weekly", *words)).code == 5
    assert (await sop("schedule", "pause", name, "--note", "why not", "-o", "json")).json["note"] == "why not"
    assert (await sop("schedule", "unpause", name, "-o", "json")).json["paused"] is False

    async def listed() -> bool:
        return name in (await sop("schedule", "list")).out

    await eventually(listed)
    assert (await sop("schedule", "trigger", name)).code == 0
    assert (await sop("schedule", "delete", name)).code == 0
    assert (await sop("schedule", "show", name)).code == 3
    night = await sop(
        "schedule", "create", "weekly", "--cron", "30 2 * * *", "--tz", "Europe/Madrid", "--arg", "day=1", "--id", name
    )
    assert night.code == 0 and "the clocks change in Europe/Madrid: 02:30 does not exist" in night.err
    assert (await sop("schedule", "delete", name)).code == 0


async def test_a_schedule_is_tried_changed_and_filled_in(sop: Sop, gateway: Gateway) -> None:
    await gateway.save("weekly", [{"type": "return", "value": 1}], parameters=[{"name": "day", "type": "string"}])
    name = f"{gateway.services.task_queue}-u"
    words = ["--calendar", "monday,friday 09:00", "--calendar", "17:30", "--arg", "day=01", "--id", name, "--paused"]
    limits = ["--end", "2099-01-01T00:00:00Z", "--remaining", "3", "--jitter", "2", "--notify-mail", "a@example.com"]
    tried = await sop("schedule", "create", "weekly", *words, *limits, "--dry-run", "-o", "json")
    assert (tried.json["dry_run"], tried.json["when"][0]) == (True, "monday, friday at 09:00")
    made = (await sop("schedule", "create", "weekly", *words, *limits, "-o", "json")).json
    assert (made["paused"], made["remaining_actions"], made["notify"]["to"]) == (True, 3, ["a@example.com"])
    words = ["--cron", "0 6 * * *", "--unlimited", "--no-notify", "--jitter", "0", "--arg", "day=02", "--no-paused"]
    changed = (await sop("schedule", "update", name, *words, "-o", "json")).json
    assert (changed["paused"], changed["remaining_actions"], changed["notify"]) == (False, None, None)
    assert (changed["arguments"], changed["when"]) == ({"day": "02"}, ["cron 0 6 1-31 1-12 0-6"])
    assert (await sop("schedule", "update", name)).code == 2
    assert (await sop("schedule", "update", name, "--notify-every")).code == 2
    assert (await sop("schedule", "update", name, "--version", "1", "-o", "json")).json["version"] is not None
    assert (await sop("schedule", "update", name, "--version", "latest", "-o", "json")).json["version"] is None
    filled = await sop("schedule", "backfill", name, "2026-01-05T00:00:00Z", "2026-01-06T06:00:00Z")
    assert (filled.code, filled.err.strip()) == (
        0, f"{name} runs for 2 due times, from 2026-01-05T06:00:00+00:00 to 2026-01-06T06:00:00+00:00",
    )  # fmt: skip
    times = await sop(
        "schedule", "times", name, "--from", "2099-01-01T00:00:00Z", "--to", "2099-02-01T00:00:00Z", "--limit", "2"
    )
    assert "2099-01-02T06:00:00+00:00" in times.out and "there are more than 2" in times.err
    assert (await sop("schedule", "delete", name)).code == 0


async def test_the_command_itself_as_a_process(gateway: Gateway, url: str, tmp_path: Path) -> None:
    await gateway.save_held()
    command = Path(sys.executable).parent / "sop"
    environment = {**os.environ, "SOP_URL": url, "SOP_API_KEY": gateway.key, "NO_COLOR": "1"}

    def start(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen([command, *words], env=environment, cwd=tmp_path, text=True, stdout=-1, stderr=-1)

    listed = await asyncio.to_thread(start("script", "list").communicate, None, 20)
    assert "held" in listed[0] and listed[1] == ""
    interrupted = start("run", "held", "--idempotency-key", "ctrl-c")
    assert interrupted.stderr is not None
    while "before" not in await asyncio.to_thread(interrupted.stderr.readline):
        pass
    interrupted.send_signal(signal.SIGINT)
    out, err = await asyncio.to_thread(interrupted.communicate, None, 20)
    assert (interrupted.returncode, out) == (130, "") and "the run goes on: sop run watch ctrl-c" in err
    assert (await gateway.http.get("/v1/runs/ctrl-c")).json()["state"] == "running"
    gateway.gate.set()
    watched = start("run", "watch", "ctrl-c")
    assert json.loads((await asyncio.to_thread(watched.communicate, None, 20))[0]) == 1
    assert watched.returncode == 0


async def test_a_stream_that_is_cut_is_taken_up_again(
    sop: Sop, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.save_held()
    first = replace(gateway.services, stopping=asyncio.Event())
    async with listening(first) as address:
        monkeypatch.setenv("SOP_URL", address)
        task = asyncio.ensure_future(sop("run", "held", "-o", "ndjson"))
        await asyncio.sleep(0.6)
        first.stopping.set()
        await asyncio.sleep(0.6)
        first.stopping.clear()
        gateway.gate.set()
        found = await asyncio.wait_for(task, 20)
    events = [json.loads(text) for text in found.out.splitlines()]
    assert (found.code, [event["seq"] for event in events]) == (0, [1, 2, 3, 4, 5])


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("00001", "string", "00001"),
        ("1998-07-01", {"type": "string", "format": "date"}, "1998-07-01"),
        ("1998-07-01", "date", "1998-07-01"),
        ("true", {"enum": ["true", "x"]}, "true"),
        ("7", "integer", 7),
        ("7", None, 7),
        ("seven", None, "seven"),
        ("[1, 2]", "array", [1, 2]),
        ("null", {"type": ["string", "null"]}, None),
        ("text", {"type": ["string", "null"]}, "text"),
        ("", "string", ""),
        ("a=b", "string", "a=b"),
    ],
)
def test_arguments_are_typed_by_the_script(text: str, schema: Any, value: Any) -> None:
    assert typed("x", text, schema) == value
    assert read_arguments([f"x={text}"], '{"x": 0, "y": 1}', [{"name": "x", "type": schema}, "y"]) == {
        "x": value,
        "y": 1,
    }


def test_a_value_that_fits_no_type() -> None:
    with pytest.raises(CommandFailed, match="x is declared as integer"):
        typed("x", "seven", "integer")


def test_lines_of_a_trace() -> None:
    step = {"type": "loop", "status": "running", "path": "each", "iteration": [], "duration_ms": 0}
    progress = step | {"type": "progress", "result": {"processed": 500, "total": 23570, "failed": 0}}
    assert line(progress).split() == ["each", "progress", "500", "of", "23570"]
    rows = step | {
        "type": "fetch",
        "status": "completed",
        "iteration": [0, 7],
        "rows": {"count": 9},
        "duration_ms": 12.4,
    }
    assert line(rows).startswith("each#0.7 ")
    assert line(rows).endswith("9 rows  12 ms")
    failed = step | {"status": "failed", "error": {"code": "x", "message": "bad\x1b[31m", "hint": "try", "step": "s"}}
    assert line(failed).endswith("failed: s: bad\\x1b[31m (try) [x]")
    warning = {"type": "warning", "status": "rerun", "error": {"code": "conflict", "message": "again"}}
    assert line(warning) == "warning: rerun: again [conflict]"
    assert short("x" * 500).endswith("... (502 characters)")


def test_problems_become_exit_codes() -> None:
    codes = {401: 4, 403: 4, 404: 3, 409: 5, 412: 5, 422: 2, 413: 2, 408: 6, 500: 7, 503: 7}
    assert {status: of_problem(status, {"detail": "x"}).exit_code for status in codes} == codes


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ("--version > /dev/full", 1, "error: the output cannot be written: No space left on device\n"),
        ("run list --url http://127.0.0.1:1 >&-", 7, "error: the gateway at http://127.0.0.1:1 is not reachable"),
        ("chat --url http://127.0.0.1:1 <&-", 7, "error: the gateway at http://127.0.0.1:1 is not reachable"),
    ],
)
def test_an_output_that_is_full_or_closed(command: str, code: int, told: str) -> None:
    line = f'"$0" -c "from gateway.cli import main; main()" {command}'
    environment = {**os.environ, "SOP_API_KEY": "sop_0_0"}
    ended = subprocess.run(
        ["sh", "-c", line, sys.executable], capture_output=True, check=False, text=True, env=environment
    )
    assert ended.returncode == code
    assert ended.stderr.startswith(told)


TEXTS = [
    ("where", ["data", "select", "d/s", "--where", '{"a": "\udcff"}']),
    ("fields", ["data", "select", "d/s", "--fields", "\udcff"]),
    ("order-by", ["data", "export", "d/s", "--order-by", "\udcff"]),
    ("null", ["data", "export", "d/s", "-o", "csv", "--null", "\udcff"]),
    ("target", ["data", "select", "d/\udcff"]),
    ("key", ["data", "import", "d/s", "rows.csv", "--create", "--key", "\udcff"]),
    ("arg", ["run", "risk", "--arg", "id=\udcff"]),
    ("args", ["run", "risk", "--args", '{"id": "\udcff"}']),
    ("name", ["run", "\udcff"]),
    ("name", ["script", "show", "\udcff"]),
]


@pytest.mark.parametrize(("name", "arguments"), TEXTS, ids=["-".join(words[:2]) + "-" + name for name, words in TEXTS])
def test_what_is_not_utf8_is_wrong_usage(name: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"error: {name} is not UTF-8: '") and "\\udcff" in told.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["\udcff"],
        ["--\udcff"],
        ["data", "select", "d/s", "--limit", "\udcff"],
        ["data", "select", "d/s", "-o", "\udcff"],
    ],
)
def test_nor_are_names_and_numbers(arguments: list[str]) -> None:
    command = [sys.executable, "-c", "from gateway.cli import main; main()", *arguments]
    ended = subprocess.run(command, capture_output=True, check=False)
    assert ended.returncode == 2
    assert b"Traceback" not in ended.stderr and ended.stderr
