"""`sop run approve`, `pause`, `rerun` and the like, `sop approvals` and `sop key`, against a real gateway."""

import json
from typing import Any

import pytest

from gateway.cli.trace import line
from tests.gateway.conftest import Gateway, Sop, eventually
from tests.gateway.test_handling import APPROVED, standing, started
from tests.gateway.test_runs import ended

STOCK = {
    "name": "stock",
    "parameters": [{"name": "n", "type": "integer"}, {"name": "who", "type": "string", "default": "x"}],
    "steps": [
        {"type": "set", "name": "first", "variable": "a", "value": "{{ n }}"},
        {
            "type": "if",
            "name": "check",
            "condition": "a > 1",
            "else": [{"type": "fail", "code": "low", "message": "low"}],
        },
        {"type": "return", "name": "out", "value": {"n": "{{ a }}", "who": "{{ who }}"}},
    ],
}


async def test_people_decide_with_keys_of_their_own(
    sop: Sop, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.save("letters", **APPROVED)
    run_id = await started(gateway, "letters", key="cli-letters")
    await standing(gateway, run_id, paused=False)
    anna = (await sop("key", "create", "anna")).out.strip()
    zoe = (await sop("key", "create", "zoe")).out.strip()
    listed = await sop("key", "list", "-o", "json")
    assert sorted(row["name"] for row in listed.json) == ["anna", "bootstrap", "zoe"]
    assert "hash" not in listed.json[0] and anna.rpartition("_")[2] not in listed.out

    async def waiting() -> list[Any]:
        rows: list[Any] = (await sop("approvals", "-o", "json")).json
        return rows

    (row,) = await eventually(waiting)
    assert (row["run"], row["script"], row["step"], row["by"], row["prompt"]) == (
        run_id,
        "letters",
        "release",
        "anna, bootstrap",
        "Send 7 letters?",
    )
    monkeypatch.setenv("SOP_API_KEY", zoe)
    assert (await sop("approvals", "--mine", "-o", "json")).json == []
    refused = await sop("run", "approve", run_id)
    assert refused.code == 4 and "anna, bootstrap" in refused.err and "hint:" in refused.err
    monkeypatch.setenv("SOP_API_KEY", anna)
    assert "Send 7 letters?" in (await sop("approvals", "--mine", "--script", "letters", "--limit", "5")).out
    assert (await sop("run", "reject", run_id, "nowhere")).code == 5
    given = await sop("run", "approve", run_id, "release", "--comment", "fine", "-o", "json")
    assert (given.code, given.json["by"]) == (0, "anna")
    output = (await ended(gateway, run_id))["output"]
    assert (output["by"], output["comment"]) == ("anna", "fine")
    late = await sop("run", "approve", run_id)
    assert late.code == 5 and "has ended" in late.err
    again = await started(gateway, "letters")
    await standing(gateway, again, paused=False)
    assert (await sop("run", "reject", again, "--comment", "no")).code == 0
    watched = await sop("run", "watch", again)
    assert watched.code == 1 and "anna rejected it: no" in watched.err
    assert (await sop("key", "revoke", anna.split("_")[1])).code == 0
    assert (await sop("run", "approve", again)).code == 4
    assert (await sop("key", "revoke", "nobody")).code == 3
    monkeypatch.setenv("SOP_DATA_DIR", str(gateway.services.data_dir / "nowhere"))
    assert (await sop("key", "list")).code == 3


async def test_pausing_and_resuming(sop: Sop, gateway: Gateway) -> None:
    await gateway.save_held()
    await started(gateway, "held", key="cli-held")
    await standing(gateway, "cli-held", paused=False)
    assert (await sop("run", "pause", "cli-held", "-o", "json")).json == {"id": "cli-held", "paused": True}
    await standing(gateway, "cli-held", paused=True)
    shown = (await sop("run", "show", "cli-held", "-o", "json")).json
    assert shown["where"]["steps"][0]["step"] == "hold"
    assert (await sop("run", "resume", "cli-held", "-o", "json")).json["paused"] is False
    gateway.gate.set()
    assert (await sop("run", "watch", "cli-held")).code == 0
    assert (await sop("run", "pause", "cli-held")).code == 5


async def test_running_again(sop: Sop, gateway: Gateway) -> None:
    await gateway.save(**STOCK)
    assert (await sop("run", "stock", "--arg", "n=1", "--arg", "who=007", "--idempotency-key", "low-1")).code == 1
    again = await sop("run", "rerun", "low-1", "--arg", "n=5")
    assert (again.code, again.json) == (0, {"n": 5, "who": "007"})
    assert ", again low-1 from start" in again.err
    whole = await sop("run", "rerun", "low-1", "--args", '{"n": 6}', "-o", "json")
    assert whole.json["output"] == {"n": 6, "who": "x"} and whole.json["rerun_of"] == "low-1"
    failed = await sop("run", "rerun", "low-1", "--from", "failed", "-o", "ndjson")
    told = [json.loads(text) for text in failed.out.splitlines()]
    assert (failed.code, told[0]["from"], told[-1]["error"]["code"]) == (1, "check/fail_1", "low")
    assert (await sop("run", "rerun", "low-1", "--from", "nope")).code == 2
    assert (await sop("run", "rerun", "low-2")).code == 3
    for _ in range(2):
        words = ("--version", "latest", "--arg", "n=2", "--idempotency-key", "low-3", "--detach", "-o", "json")
        assert (await sop("run", "rerun", "low-1", *words)).json["id"] == "low-3"
    assert (await ended(gateway, "low-3"))["output"]["n"] == 2

    async def listed() -> list[str]:
        words = ("--script", "stock", "--trigger", "rerun", "--outcome", "completed", "--since", "2020-01-01T00:00:00Z")
        rows = (await sop("run", "list", *words, "-o", "json")).json
        return [row["id"] for row in rows] if len(rows) == 3 else []

    assert "low-3" in await eventually(listed)
    assert (await sop("run", "list", "--database", "nope", "--until", "2999-01-01T00:00:00Z", "-o", "json")).json == []
    assert (await sop("run", "list", "--since", "yesterday")).code == 2
    assert (await sop("run", "list", "--script", "it's")).code == 2


def test_a_rerun_in_a_trace() -> None:
    event = {"type": "run", "status": "started", "run_id": "b", "script": "s", "arguments": {}, "rerun_of": "a"}
    assert line(event | {"from": "each/do#3"}) == "run b: s {}, again a from each/do#3"
