"""Dry runs in the process: as a run tells them, and nothing stays."""

from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import CancelledError

import activities.authoring.rehearsal as rehearsal
from activities import Resources
from activities.authoring import LocalRehearsal
from script.errors import ScriptInvalid
from script.wire import wire_size
from tests.authoring.harness import ME, rows_of, with_rows
from toolbox.access import Access, parse_scopes
from toolbox.errors import Forbidden

CUSTOMERS = 23_570


def dry(
    here: Resources, steps: list[dict[str, Any]], /, mocks: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    script = {"name": "tried", "database": "hr", "steps": steps, **more}
    return LocalRehearsal(here)(script, {}, mocks=mocks or {}, access=ME)


def command(tool: str, /, name: str = "step", **args: Any) -> dict[str, Any]:
    return {"type": "command", "name": name, "command": tool, "args": args, "variable": name}


def committed(here: Resources) -> dict[str, tuple[int, list[str]]]:
    """What is committed in each database, and the transactions that are open."""
    found = {}
    for name in here.databases.names():
        database = here.databases.open(name)
        found[name] = (database.head().seq, [status.id for status in database.open_transactions()])
    return found


def test_reads_are_real_and_writes_are_dropped(here: Resources) -> None:
    before = committed(here)
    told = dry(
        here,
        [
            command("update", "changed", store="people", key=1, values={"salary": 7}),
            command("get", "seen", store="people", key=1),
            {
                "type": "if",
                "name": "poor",
                "condition": "seen.salary < 10",
                "then": [{"type": "return", "value": "{{ seen.salary }}"}],
            },
        ],
    )
    assert (told["status"], told["result"], told["events_left_out"]) == ("completed", 7, 0)
    assert [event["type"] for event in told["events"]] == ["run", "command", "command", "if", "return", "run"]
    assert [event["seq"] for event in told["events"]] == [1, 2, 3, 4, 5, 6]
    assert told["events"][0]["dry_run"] is True
    assert committed(here) == before


def test_a_failed_run_leaves_nothing_open(here: Resources) -> None:
    before = committed(here)
    told = dry(here, [command("delete", store="people", key=1), command("get", "gone", store="nobody", key=1)])
    assert (told["status"], told["error"]["code"]) == ("failed", "store_not_found")
    assert committed(here) == before


def test_the_outside_and_the_model_are_not_asked_and_waits_are_over_at_once(here: Resources) -> None:
    mail = command("send_email", "mail", to=["a@example.com"], subject="s", body="b")
    told = dry(
        here,
        [
            {"type": "wait", "name": "long", "duration": "2 days"},
            {"type": "ask", "name": "question", "prompt": "?", "variable": "answer"},
            mail,
            {"type": "return", "value": "{{ mail.status }}"},
        ],
    )
    assert (told["status"], told["result"]) == ("completed", "dry_run")
    assert here.model.requests == []  # type: ignore[union-attr]
    given = dry(here, [mail, {"type": "return", "value": "{{ mail.id }}"}], {"send_email": {"id": 42}})
    assert given["result"] == 42


def test_mocks_give_their_results_in_batches_too(here: Resources) -> None:
    steps = [
        {"type": "fetch", "name": "all", "source": "btree", "resource": "people", "variable": "people"},
        {
            "type": "loop",
            "name": "each",
            "list": "people",
            "iterator": "p",
            "batch_size": 2,
            "steps": [command("send_email", "mail", to=["a@example.com"], subject="s", body="b")],
            "reduce": {"ids": {"op": "sum", "value": "mail.id"}},
            "output_variable": "found",
        },
        {"type": "return", "value": "{{ found.reduced.ids }}"},
    ]
    before = committed(here)
    assert dry(here, steps, {"send_email": {"id": 42}})["result"] == 3 * 42
    assert committed(here) == before


def test_scripts_that_are_called_are_rehearsed_in_their_place(here: Resources) -> None:
    with_rows(here, "crm", "notes", [{"id": 1}])
    here.library.save(
        {
            "name": "note",
            "database": "crm",
            "parameters": ["id"],
            "steps": [
                command("add", "added", store="notes", record={"id": "{{ id }}"}),
                {"type": "return", "value": "{{ id * 2 }}"},
            ],
        }
    )
    before = committed(here)
    call = {"type": "script", "name": "noted", "script_name": "note", "script_args": {"id": 21}, "variable": "n"}
    told = dry(here, [call, {"type": "return", "value": "{{ n }}"}])
    assert (told["status"], told.get("result")) == ("completed", 42), told
    assert len({event["run_id"] for event in told["events"]}) == 2
    assert committed(here) == before


def test_a_batch_over_all_customers(here: Resources) -> None:
    with_many(here)
    before = committed(here)
    told = dry(
        here,
        [
            {"type": "fetch", "name": "all", "source": "btree", "resource": "customers", "variable": "customers"},
            {
                "type": "loop",
                "name": "each",
                "list": "{{ customers }}",
                "iterator": "c",
                "batch_size": 1000,
                "steps": [
                    {
                        "type": "if",
                        "condition": "c.spent > 5",
                        "then": [command("send_email", "m", to=["a@example.com"], subject="s", body="b")],
                    }
                ],
                "reduce": {"n": {"op": "count", "where": "c.spent > 5"}},
                "output_variable": "done",
            },
            {"type": "return", "value": "{{ done.reduced }}"},
        ],
    )
    assert (told["status"], told["result"]) == ("completed", {"n": CUSTOMERS // 7})
    assert wire_size(told["events"]) < rehearsal.MOST_BYTES + 4096
    assert committed(here) == before


def with_many(here: Resources) -> None:
    with_rows(here, "hr", "customers", [{"id": number, "spent": number % 7} for number in range(CUSTOMERS)])


def test_many_events_are_cut_and_the_end_is_told(here: Resources) -> None:
    loop = {"type": "loop", "name": "each", "list": "{{ [1, 2, 3, 4, 5] }}", "iterator": "a", "steps": [
        {"type": "loop", "name": "inner", "list": "{{ people }}", "iterator": "b", "steps": [{"type": "set", "variable": "c", "value": "{{ b }}"}] * 20}]}  # fmt: skip
    steps = [{"type": "fetch", "name": "all", "source": "btree", "resource": "people", "variable": "people"}, loop]
    told = dry(here, steps)
    assert len(told["events"]) <= rehearsal.MOST_EVENTS
    assert told["events_left_out"] > 100
    assert told["events"][-1]["type"] == "run"
    assert told["events"][-1]["seq"] == len(told["events"]) + told["events_left_out"]


def test_what_is_wrong_or_not_allowed_is_not_tried(here: Resources) -> None:
    with pytest.raises(ScriptInvalid):
        dry(here, [command("selekt", store="people")])
    reader = Access("key-2", "reader", parse_scopes(["data:hr:read"]))
    script = {"name": "t", "database": "hr", "steps": [command("delete", store="people", key=1)]}
    with pytest.raises(Forbidden, match="data:hr:write"):
        LocalRehearsal(here)(script, {}, mocks={}, access=reader)


def test_a_rehearsal_that_is_cancelled_leaves_nothing(here: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    before, asked = committed(here), 0

    def cancelled() -> None:
        nonlocal asked
        asked += 1
        if asked > 4:
            raise CancelledError("stop")

    monkeypatch.setattr(rehearsal, "check_cancelled", cancelled)
    with pytest.raises(CancelledError):
        dry(
            here,
            [command("update", f"s{number}", store="people", key=1, values={"salary": number}) for number in range(9)],
        )
    assert committed(here) == before
    assert rows_of(here, "hr", "people")[0]["salary"] == 100


def test_the_churn_example(here: Resources) -> None:
    """Its scripts as they are, over a few customers."""
    import json

    folder = Path(__file__).parents[2] / "examples" / "churn" / "scripts"
    gone = {"customer_id": "c1", "date": "1998-01-01", "sequence": 1, "cds": 9, "dollars": 900.5}
    with_rows(here, "customers", "orders", [gone], "customer_id")
    people = [{"customer_id": f"c{number}", "email": "c@example.com"} for number in range(3)]
    with_rows(here, "customers", "customers", people, "customer_id")
    here.library.save(json.loads((folder / "check_churn_risk.json").read_text()))
    script = json.loads((folder / "weekly_churn_prevention.json").read_text())
    before = committed(here)
    told = LocalRehearsal(here)(script, {"as_of": "1998-03-15"}, mocks={"send_email": None}, access=ME)
    assert (told["status"], told["result"]["at_risk"]) == ("completed", 3)
    assert committed(here) == before
