"""Batches that tolerate failures, on real data: what a failed element wrote is gone, and the ledger has it."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activities import chunks
from query import StoreNotFound, drop_store
from script.machine.effects import Done, Effect
from script.wire import Outcome
from tests.activities.conftest import Local

NUMBERS = [{"id": number, "bad": number % 7 == 3} for number in range(40)]
NOTE = {"type": "command", "name": "note", "command": "add", "args": {"store": "seen", "record": {"id": "{{ n.id }}"}}}
BAD = {"type": "fail", "name": "bad", "when": "n.bad", "code": "bad_one", "message": "{{ n.id }} is bad"}


def batch(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "t", "database": "shop", "parameters": ["numbers"], "steps": [
        {"type": "loop", "name": "each", "list": "numbers", "iterator": "n", "batch_size": 10, "output_variable": "r",
         "reduce": {"sum": {"op": "sum", "value": "n.id"}, "ids": {"op": "collect", "value": "n.id", "limit": 3}},
         "steps": list(steps), **more},
        {"type": "return", "value": "{{ r }}"}]}  # fmt: skip


def expected(numbers: list[dict[str, Any]]) -> dict[str, Any]:
    good = [number["id"] for number in numbers if not number["bad"]]
    bad = len(numbers) - len(good)
    return {"processed": len(numbers), "failed": bad, "reduced": {"sum": sum(good), "ids": good[:3]}}


@pytest.mark.parametrize("steps", [(NOTE, BAD), (BAD, NOTE)], ids=["after a write", "before any"])
def test_what_a_failed_element_wrote_is_undone_and_the_ledger_has_it(here: Local, steps: tuple[Any, ...]) -> None:
    here.store("seen", [])
    done = here.run(batch(*steps, tolerate_failures=6), {"numbers": NUMBERS})
    assert done == Done("completed", expected(NUMBERS))
    assert [row["id"] for row in here.rows("seen")] == [number["id"] for number in NUMBERS if not number["bad"]]
    assert here.rows("_batch_failures") == [
        {"run": "run", "step": "each", "ordinal": number["id"], "key": None, "code": "bad_one",
         "message": f"{number['id']} is bad", "at": "2026-01-05T09:00:00.000+00:00"}
        for number in NUMBERS if number["bad"]
    ]  # fmt: skip


def test_rows_of_a_store_are_in_the_ledger_by_their_key(here: Local) -> None:
    here.store("seen", [])
    here.store("numbers", [{**number, "pad": "x" * 1000} for number in NUMBERS])
    script = batch(NOTE, BAD, tolerate_failures="15%")
    script["parameters"] = []
    script["steps"].insert(0, {"type": "fetch", "name": "all", "resource": "numbers", "variable": "numbers"})
    assert here.run(script) == Done("completed", expected(NUMBERS))
    assert [(row["ordinal"], row["key"]) for row in here.rows("_batch_failures")] == [
        (number["id"], number["id"]) for number in NUMBERS if number["bad"]
    ]


def test_one_failure_too_many_ends_the_batch_and_keeps_what_went_well(here: Local) -> None:
    here.store("seen", [])
    done = here.run(batch(NOTE, BAD, tolerate_failures=2), {"numbers": NUMBERS})
    assert done.status == "failed"
    assert done.error is not None
    assert (done.error["code"], done.error["step"]) == ("too_many_failures", "each")
    assert "3 of the first 18 elements failed, and 2 are tolerated" in done.error["message"]
    assert [row["id"] for row in here.rows("seen")] == [n for n in range(17) if n % 7 != 3]
    assert [row["ordinal"] for row in here.rows("_batch_failures")] == [3, 10, 17]


def test_without_tolerance_the_first_failure_ends_the_batch_and_undoes_its_chunk(here: Local) -> None:
    here.store("seen", [])
    done = here.run(batch(NOTE, BAD), {"numbers": NUMBERS[4:]})
    assert done.error is not None
    assert (done.error["code"], done.error["ordinal"]) == ("bad_one", 6)
    assert here.rows("seen") == []
    assert here.rows("_batch_failures") == []


def test_a_dry_run_counts_failures_and_keeps_nothing(here: Local) -> None:
    here.store("seen", [])
    assert here.run(batch(NOTE, BAD, tolerate_failures=9), {"numbers": NUMBERS}, dry_run=True).value == expected(
        NUMBERS
    )
    assert here.rows("seen") == here.rows("_batch_failures") == []


def test_tolerance_makes_a_loop_a_batch(here: Local) -> None:
    here.store("seen", [])
    script = batch(NOTE, BAD, tolerate_failures="50%")
    del script["steps"][0]["batch_size"]
    assert here.run(script, {"numbers": NUMBERS}).value == expected(NUMBERS)


def test_a_batch_without_a_database_has_no_ledger_and_is_refused(here: Local) -> None:
    script = batch(BAD, tolerate_failures=1)
    del script["database"]
    done = here.run(script, {"numbers": NUMBERS})
    assert done.error is not None
    assert done.error["code"] == "no_database"


def test_calls_of_failed_elements_do_not_get_out(here: Local) -> None:
    here.store("seen", [])
    mail = {
        "type": "command",
        "name": "mail",
        "command": "send_email",
        "args": {"to": "a@example.com", "subject": "no. {{ n.id }}", "body": "x"},
    }
    here.run(batch(mail, BAD, tolerate_failures="20%"), {"numbers": NUMBERS}, mocks=["send_email"])
    assert sorted(int(row["args"]["subject"][4:]) for row in here.rows("_outbox")) == expected_ids()


def expected_ids() -> list[int]:
    return [number["id"] for number in NUMBERS if not number["bad"]]


def test_batches_inside_of_a_batch_undo_their_own(here: Local) -> None:
    here.store("seen", [])
    inner = {"type": "loop", "name": "inner", "list": "[0, 1, 2, 3]", "iterator": "m", "tolerate_failures": 2, "steps": [
        {"type": "command", "name": "note", "command": "add", "args": {"store": "seen", "record": {"id": "{{ n.id * 10 + m }}"}}},
        {"type": "fail", "name": "odd", "when": "m == 1", "code": "odd", "message": "odd"}]}  # fmt: skip
    done = here.run(batch(inner, BAD, tolerate_failures=6), {"numbers": NUMBERS})
    assert done.value == expected(NUMBERS)
    assert [row["id"] for row in here.rows("seen")] == [n * 10 + m for n in expected_ids() for m in (0, 2, 3)]
    ledger = here.rows("_batch_failures")
    assert [row["ordinal"] for row in ledger if row["step"] == "each"] == [n["id"] for n in NUMBERS if n["bad"]]
    assert {row["step"] for row in ledger if row["step"] != "each"} == {f"each/inner#{n}" for n in expected_ids()}


def test_a_chunk_that_was_lost_in_the_middle_is_done_from_its_beginning(
    here: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the lost attempt had marked in its transaction is not done twice."""
    here.store("seen", [{"id": -1}])
    count = {
        "type": "command",
        "name": "count",
        "command": "update",
        "args": {"store": "seen", "key": -1, "values": {"id": -1, "$inc": {"n": 1}}},
    }
    machine = here.begin(batch(NOTE, count, BAD, tolerate_failures=6), {"numbers": NUMBERS})
    lost: Iterator[bool] = iter([True])
    real = chunks.record_failures

    def crash(*args: Any) -> None:
        if next(lost, False):
            raise SystemExit
        real(*args)

    def answer(effect: Effect) -> Outcome:
        if effect.kind == "chunk":
            monkeypatch.setattr("btree.Transaction.rollback", lambda transaction: None)
            try:
                here.outcome(effect)
            except SystemExit:
                pass
            finally:
                monkeypatch.undo()
                monkeypatch.setattr(chunks, "record_failures", crash)
        return here.outcome(effect)

    monkeypatch.setattr(chunks, "record_failures", crash)
    assert here.drive(machine, answer).value == expected(NUMBERS)
    assert [row["id"] for row in here.rows("seen")] == [-1, *expected_ids()]
    assert here.rows("seen")[0]["n"] == len(expected_ids())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.booleans(), min_size=1, max_size=25), st.booleans(), st.integers(1, 8))
def test_any_failures_leave_what_the_others_wrote(here: Local, bad: list[bool], writes_first: bool, size: int) -> None:
    database = here.resources.databases.ensure("shop")
    with suppress(StoreNotFound):
        database.transact(partial(drop_store, name="seen"))
    here.store("seen", [])
    numbers = [{"id": position, "bad": failing} for position, failing in enumerate(bad)]
    steps = (NOTE, BAD) if writes_first else (BAD, NOTE)
    script = batch(*steps, tolerate_failures="100%", batch_size=size)
    done = here.run(script, {"numbers": numbers}, key_id=f"run:{database.head().seq}")
    assert done.value == expected(numbers)
    assert [row["id"] for row in here.rows("seen")] == [n["id"] for n in numbers if not n["bad"]]
