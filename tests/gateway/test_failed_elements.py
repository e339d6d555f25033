"""Runs that do again what failed in the batches of an earlier run, and nothing else of them."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from gateway.runs.batches import note
from tests.gateway.conftest import Gateway, Sop, eventually, problem_of
from tests.gateway.test_handling import HOLD, standing, started
from tests.gateway.test_reruns import events, paths, rerun
from tests.gateway.test_runs import ended

COUNT = 60
PAD = "x" * 1000
FAILED = {"elements": "failed"}


async def fill(gateway: Gateway, store: str, rows: list[dict[str, Any]]) -> None:
    content = "\n".join(map(json.dumps, rows))
    headers = {"Content-Type": "application/x-ndjson"}
    path = f"/v1/databases/shop/stores/{store}/rows:import"
    answer = await gateway.http.post(path, content=content, headers=headers)
    assert answer.json()["imported"] == len(rows), answer.text


async def shop(gateway: Gateway) -> None:
    """Items, of which every tenth is bad."""
    await gateway.http.post("/v1/databases", json={"name": "shop"})
    for store in ("items", "seen"):
        await gateway.http.post("/v1/databases/shop/stores", json={"name": store, "primary_key": ["id"]})
    await fill(gateway, "items", [{"id": n, "bad": n % 10 == 3, "pad": PAD} for n in range(COUNT)])


async def rows(gateway: Gateway, store: str) -> list[dict[str, Any]]:
    answer = await gateway.http.get(f"/v1/databases/shop/stores/{store}/rows?limit=1000")
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def ledger(gateway: Gateway, run_id: str) -> list[tuple[str, int, str]]:
    found = await rows(gateway, "_batch_failures")
    return [(row["step"], row["ordinal"], row["code"]) for row in found if row["run"] == run_id]


def batch(name: str, *, check: str = "item.bad", **more: Any) -> dict[str, Any]:
    """A batch that notes each element, and fails where `check` says so: behind the note, which is undone then."""
    record = {"id": f"{name} {{{{ item.id }}}}", "at": "{{ at }}"}
    note = {"type": "command", "name": f"{name} note", "command": "add", "args": {"store": "seen", "record": record}}
    fail = {"type": "fail", "name": f"{name} fail", "when": check, "code": "bad", "message": "it is bad"}
    body = {"list": "items", "iterator": "item", "index": "at", "batch_size": 4, "output_variable": name}
    reduced = {"ids": {"op": "collect", "value": "item.id", "limit": 100}}
    loop = {"type": "loop", "name": name, **body, "reduce": reduced, "tolerate_failures": "50%"}
    return {**loop, "steps": [note, fail], **more}


def fetch(**more: Any) -> dict[str, Any]:
    return {"type": "fetch", "name": "all", "resource": "items", "variable": "items", **more}


OUT = {"type": "return", "name": "out", "value": "{{ one }}"}


async def completed(gateway: Gateway, name: str, **body: Any) -> str:
    run_id = await started(gateway, name, **body)
    found = await ended(gateway, run_id)
    assert found["state"] == "completed", found
    return run_id


async def test_rows_are_read_again_as_they_are_now_and_each_element_is_done_once(gateway: Gateway) -> None:
    await shop(gateway)
    say = {"type": "say", "name": "between", "message": "{{ one.failed }} failed"}
    none, two = batch("none", check="false"), batch("two", check="item.bad || item.id == 7")
    out = {"type": "return", "name": "out", "value": {"one": "{{ one }}", "none": "{{ none }}", "two": "{{ two }}"}}
    steps = [{"type": "say", "name": "first", "message": "x"}, fetch(), none, batch("one"), say, two, out]
    await gateway.save("several", steps, database="shop")
    old = await completed(gateway, "several")
    assert len(await rows(gateway, "seen")) == 3 * COUNT - 6 - 7
    await fill(gateway, "items", [{"id": n, "bad": False, "pad": "y"} for n in (3, 13, 23, 33)])
    remove = {"type": "command", "name": "remove", "command": "delete", "args": {"store": "items", "key": 43}}
    await gateway.save("remove", [remove], database="shop")
    await completed(gateway, "remove")
    found = await rerun(gateway, old, **FAILED)
    assert (found["state"], found["from"], found["elements"]) == ("completed", "one", "failed")
    one, two_again, nothing = (found["output"][name] for name in ("one", "two", "none"))
    left = [row["id"] for row in await rows(gateway, "items")]
    assert (43 in left, one["processed"], one["failed"]) == (False, 6, 2)
    assert one["reduced"]["ids"] == [3, 13, 23, 33] and nothing["processed"] == COUNT
    assert (two_again["processed"], two_again["failed"], two_again["reduced"]["ids"]) == (7, 3, [3, 13, 23, 33])
    assert await ledger(gateway, found["id"]) == [
        ("one", 43, "element_gone"),
        ("one", 53, "bad"),
        ("two", 7, "bad"),
        ("two", 43, "element_gone"),
        ("two", 53, "bad"),
    ]
    seen = {row["id"]: row["at"] for row in await rows(gateway, "seen")}
    assert [seen[f"one {n}"] for n in (3, 13, 23, 33)] == [3, 13, 23, 33] and "one 53" not in seen
    told = await events(gateway, found["id"])
    assert (told[0]["rerun_of"], told[0]["from"], told[0]["elements"]) == (old, "one", "failed")
    assert set(paths(told)) == {"one", "between", "two", "out"}
    assert [event["result"]["total"] for event in told if event["type"] == "progress"] == [6, 6, 7, 7]
    await fill(gateway, "items", [{"id": 53, "bad": False, "pad": "y"}])
    last = await rerun(gateway, found["id"], **FAILED)
    assert last["output"]["one"]["reduced"]["ids"] == [53] and last["output"]["two"]["reduced"]["ids"] == [53]


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_rows_without_a_key_are_found_by_their_place(gateway: Gateway, concurrency: int) -> None:
    await shop(gateway)
    mended = {"type": "command", "name": "mended", "command": "get", "args": {"store": "seen", "key": "mended"}}
    one = batch("one", check="item.bad && size(mended) == 0", concurrency=concurrency)
    one["steps"] = [mended | {"output_variable": "mended"}, *one["steps"]]
    one["steps"][1]["args"]["record"]["id"] = "{{ at }}"
    one["reduce"]["ids"]["value"] = "at"
    await gateway.save("places", [fetch(fields=["bad", "pad"]), one, OUT], database="shop")
    old = await completed(gateway, "places")
    assert [at for _, at, _ in await ledger(gateway, old)] == [3, 13, 23, 33, 43, 53]
    await fill(gateway, "seen", [{"id": "mended"}])
    await fill(gateway, "items", [{"id": n, "bad": True, "pad": PAD} for n in range(-5, 0)])
    found = await rerun(gateway, old, **FAILED)
    assert found["output"] == {"processed": 6, "failed": 0, "reduced": {"ids": [3, 13, 23, 33, 43, 53]}}
    assert len(await rows(gateway, "seen")) == COUNT + 1


async def test_elements_of_a_list(gateway: Gateway) -> None:
    await shop(gateway)
    mended = {"type": "command", "name": "mended", "command": "get", "args": {"store": "seen", "key": "mended"}}
    one = batch("one", check="item % 5 == 4 && size(mended) == 0", list="[9, 8, 7, 6, 5, 4, 3, 2, 1]")
    one["steps"] = [mended | {"output_variable": "mended"}, *one["steps"]]
    one["steps"][1]["args"]["record"]["id"] = "{{ item }}"
    one["reduce"]["ids"]["value"] = "item * 100 + at"
    await gateway.save("numbers", [one, OUT], database="shop")
    old = await completed(gateway, "numbers")
    assert [at for _, at, _ in await ledger(gateway, old)] == [0, 5]
    await fill(gateway, "seen", [{"id": "mended"}])
    found = await rerun(gateway, old, **FAILED)
    assert found["output"] == {"processed": 2, "failed": 0, "reduced": {"ids": [900, 405]}}
    assert sorted(row["id"] for row in await rows(gateway, "seen") if row["id"] != "mended") == list(range(1, 10))


async def test_a_batch_that_was_under_way_beside_does_not_go_on(gateway: Gateway) -> None:
    await shop(gateway)
    good = batch("good", check="false", is_async=True, list="[{'id': 1}, {'id': 2}]", batch_size=1, concurrency=2)
    one = batch("one", is_async=True)
    await gateway.save("beside", [fetch(), good, one, OUT], database="shop")
    old = await completed(gateway, "beside")
    await fill(gateway, "items", [{"id": n, "bad": False, "pad": "y"} for n in range(3, COUNT, 10)])
    found = await rerun(gateway, old, **FAILED)
    assert (found["state"], found["output"]["processed"], found["output"]["failed"]) == ("completed", 6, 0)
    ids = sorted(row["id"] for row in await rows(gateway, "seen"))
    assert ids == sorted(["good 1", "good 2", *(f"one {n}" for n in range(COUNT))])


async def test_what_has_no_failed_elements(gateway: Gateway, sop: Sop) -> None:
    await shop(gateway)
    await gateway.save("fine", [fetch(), batch("two", check="false")], database="shop")
    fine = await completed(gateway, "fine")
    await gateway.save("bad", [fetch(), batch("one"), OUT], database="shop")
    dry = await completed(gateway, "bad", dry_run=True)
    for run_id in (fine, dry):
        problem_of(await gateway.http.post(f"/v1/runs/{run_id}:rerun", json=FAILED), 422, "nothing_failed")
    for name, value in (("from", "one"), ("arguments", {}), ("version", "latest")):
        answer = await gateway.http.post(f"/v1/runs/{fine}:rerun", json={**FAILED, name: value})
        assert problem_of(answer, 422, "invalid_field")["errors"][0]["pointer"] == f"/{name}"
    await gateway.save("held", [HOLD])
    held = await started(gateway, "held")
    await standing(gateway, held, paused=False)
    problem_of(await gateway.http.post(f"/v1/runs/{held}:rerun", json=FAILED), 409, "run_open")
    gateway.gate.set()
    old = await completed(gateway, "bad")
    told = await sop("run", "rerun", old, "--failed")
    assert told.code == 0 and f"again {old} from one, failed elements only" in told.err
    assert json.loads(told.out)["processed"] == 6
    assert (await sop("run", "rerun", old, "--failed", "--from", "one")).code == 2
    assert (await sop("run", "rerun", fine, "--failed")).code == 2


async def test_the_ledger_is_read_like_any_store_and_goes_with_a_backup(gateway: Gateway) -> None:
    await shop(gateway)
    await gateway.save("judge", [fetch(), batch("one"), OUT], database="shop")
    run_id = await completed(gateway, "judge")
    path = "/v1/databases/shop/stores/_batch_failures"
    listed = (await gateway.http.get("/v1/databases/shop/stores")).json()["data"]
    assert {store["name"]: store["count"] for store in listed}["_batch_failures"] == 6
    asked = {"filter": {"run": run_id}, "values": {"n": "count"}, "group_by": ["step", "code"]}
    grouped = await gateway.http.post(f"{path}:aggregate?format=json", json=asked)
    assert grouped.json() == [{"step": "one", "code": "bad", "n": 6}]
    written = await gateway.http.delete(f"{path}/rows/{quote(json.dumps([run_id, 'one', 3]))}")
    problem_of(written, 403, "reserved_store")
    copy = (await gateway.http.get("/v1/databases/shop/backup")).content
    restored = await gateway.http.put("/v1/databases/again/backup", content=copy)
    assert restored.status_code == 201, restored.text
    rows_again = (await gateway.http.get("/v1/databases/again/stores/_batch_failures/rows")).json()["data"]
    assert [row["ordinal"] for row in rows_again] == [3, 13, 23, 33, 43, 53]


async def test_batches_are_listed_with_how_they_ended(gateway: Gateway, sop: Sop) -> None:
    await shop(gateway)
    nothing = {"type": "fetch", "name": "nothing", "resource": "items", "filter": {"id": 999}, "variable": "none"}
    plain = {"type": "loop", "name": "plain", "list": "[1]", "iterator": "n", "steps": [batch("inner")]}
    failing = batch("two", check="item.id > 5", tolerate_failures=3)
    steps = [fetch(), nothing, plain, {**batch("empty"), "list": "none"}, failing]
    await gateway.save("judge", steps, database="shop")
    run_id = await started(gateway, "judge")
    assert (await ended(gateway, run_id))["state"] == "failed"
    path = f"/v1/runs/{run_id}/batches"
    found = (await gateway.http.get(path)).json()["data"]
    shown = [
        tuple(row[name] for name in ("step", "status", "processed", "failed", "total", "eta_seconds")) for row in found
    ]
    assert shown == [
        ("plain/inner#0", "completed", 60, 6, 60, None),
        ("empty", "completed", 0, 0, 0, None),
        ("two", "failed", 10, 4, 60, None),
    ]
    assert [row.get("error", {}).get("code") for row in found] == [None, None, "too_many_failures"]
    told = await events(gateway, run_id)
    ends = {event["path"]: event for event in told if event["type"] == "loop"}
    assert found[1]["at"] > ends["empty"]["started_at"] and found[2]["at"] == ends["two"]["started_at"]
    cursor: str | None = ""
    pages: list[list[Any]] = []
    while cursor is not None:
        page = (await gateway.http.get(path, params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        pages.append(page["data"])
        cursor = page["next_cursor"]
    assert [len(page) for page in pages] == [2, 1] and [*pages[0], *pages[1]] == found
    listed = await sop("run", "batches", run_id, "-o", "json")
    assert [row["step"] for row in listed.json] == [row["step"] for row in found]
    problem_of(await gateway.http.get("/v1/runs/none/batches"), 404, "run_not_found")


async def test_a_batch_that_is_under_way_and_one_that_was_canceled(gateway: Gateway) -> None:
    await shop(gateway)
    held = batch("held")
    held["steps"].append(HOLD | {"when": "item.id == 20"})
    await gateway.save("judge", [fetch(), held], database="shop")
    run_id = await started(gateway, "judge")

    async def batches() -> list[tuple[str, int]]:
        rows = (await gateway.http.get(f"/v1/runs/{run_id}/batches")).json()["data"]
        return [(row["status"], row["processed"]) for row in rows]

    async def waits() -> bool:
        return await batches() == [("running", 20)]

    await eventually(waits)
    await gateway.http.post(f"/v1/runs/{run_id}/cancel")
    gateway.gate.set()
    assert (await ended(gateway, run_id))["state"] == "canceled"
    assert [status for status, _ in await batches()] == ["canceled"]


def test_a_batch_that_is_tried_again_goes_on() -> None:
    """What a failed try told is over as soon as the next one is due; the end counts."""
    about = {
        "path": "all",
        "iteration": [2],
        "name": "all",
        "started_at": "2026-01-01T00:00:00.000+00:00",
        "duration_ms": 0.0,
    }
    far = {"processed": 5, "failed": 0, "total": 9, "rate": None, "eta_seconds": None}
    found: dict[str, dict[str, Any]] = {}
    told = []
    for kind, status, more in (
        ("progress", "running", {"result": far}),
        ("loop", "failed", {"error": {"code": "busy"}}),
        ("warning", "retrying", {"error": {"code": "busy"}, "attempt": 1}),
        ("progress", "running", {"result": far | {"processed": 9}}),
        ("loop", "completed", {"result": {"processed": 9, "failed": 0}}),
    ):
        note(found, {"type": kind, "status": status, **about, **more})
        (batch,) = found.values()
        told.append((batch["step"], batch["status"], batch["processed"], batch.get("error")))
    assert told == [
        ("all#2", "running", 5, None),
        ("all#2", "failed", 5, {"code": "busy"}),
        ("all#2", "running", 5, None),
        ("all#2", "running", 9, None),
        ("all#2", "completed", 9, None),
    ]
