"""Batches whose chunks run side by side, on real data: the same result, ordinals and keys with any concurrency and in any order."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from script.machine.effects import Done, Effect, Waiting
from script.machine.machine import Machine
from script.wire import Concurrency
from tests.activities.conftest import Local

COUNT = 160
ROWS = [
    {"id": n, "price": (n * 37) % 101, "share": n / 7 * 10 ** (n % 12), "kind": "ab"[n % 2], "pad": "x" * 300}
    for n in range(COUNT)
]
FETCHES: dict[str, dict[str, Any]] = {
    "in the order of the key": {},
    "backwards": {"order_by": "-id"},
    "filtered": {"filter": {"price": {"$lt": 90}}},
    "written down": {"order_by": "price", "limit": 140},
    "limited": {"limit": 110},
}


def batch(concurrency: int, fetch: dict[str, Any], **more: Any) -> dict[str, Any]:
    reductions = {
        "n": {"op": "count"},
        "total": {"op": "sum", "value": "row.share"},
        "mean": {"op": "avg", "value": "row.share"},
        "least": {"op": "min", "value": "row.price"},
        "first": {"op": "collect", "value": "row.id", "limit": 90},
    }
    note = {"row": "{{ row.id }}", "at": "{{ at }}", "token": "{{ uuid() }}"}
    return {"name": "t", "database": "shop", "steps": [
        {"type": "fetch", "name": "all", "resource": "rows", "variable": "rows", **fetch},
        {"type": "loop", "name": "each", "list": "rows", "iterator": "row", "index": "at", "batch_size": 10, "output_variable": "r",
         "concurrency": concurrency, "reduce": reductions, "steps": [
            {"type": "fail", "name": "bad", "when": "row.id % 50 == 7", "code": "bad", "message": "bad"},
            {"type": "command", "name": "note", "command": "upsert", "args": {"store": "seen", "record": note}}],
         "tolerate_failures": 10, **more},
        {"type": "return", "value": "{{ r }}"}]}  # fmt: skip


Systems = Callable[[], Local]
Drive = Callable[[Local, Machine], Done]


def last_first(waiting: list[Effect]) -> int:
    return len(waiting) - 1


def filled(systems: Systems) -> Local:
    here = systems()
    here.store("rows", ROWS)
    here.store("seen", [], key="row")
    return here


def left(systems: Systems, script: dict[str, Any], drive: Drive) -> tuple[Any, ...]:
    """What a batch gives and leaves, in a system of its own."""
    here = filled(systems)
    done = drive(here, here.begin(script))
    assert done.error is None, done.error
    ledger = [{**row, "at": None} for row in here.rows("_batch_failures")]
    return done.value, here.rows("seen"), ledger


@pytest.mark.parametrize("fetch", FETCHES.values(), ids=FETCHES.keys())
def test_the_same_with_any_concurrency(systems: Systems, fetch: dict[str, Any]) -> None:
    wanted = left(systems, batch(1, fetch), lambda here, machine: here.drive(machine))
    assert wanted[0]["processed"] > 100
    assert wanted[2]
    for concurrency in (2, 100):
        found = left(systems, batch(concurrency, fetch), lambda here, machine: here.drive(machine, pick=last_first))
        assert found == wanted


def test_a_list_is_divided_by_counting(systems: Systems) -> None:
    rows = [{"id": n, "price": n, "share": n / 3} for n in range(105)]
    found = []
    for concurrency in (1, 3):
        script = batch(concurrency, {})
        script["parameters"] = ["rows"]
        del script["steps"][0]
        here = filled(systems)
        done = here.drive(here.begin(script, {"rows": rows}), pick=last_first)
        found.append((done, here.rows("seen")))
    assert found[0] == found[1]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(2, 20),
    st.lists(st.integers(0, 100)),
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 9)), max_size=4),
)
def test_the_same_in_any_order_and_while_the_concurrency_changes(
    systems: Systems, concurrency: int, picks: list[int], changes: list[tuple[int, int]]
) -> None:
    def drive(here: Local, machine: Machine) -> Done:
        order, seen, when = iter(picks), [0], dict(changes)

        def pick(waiting: list[Effect]) -> int:
            seen[0] += 1
            if seen[0] in when:
                machine.hear("concurrency", Concurrency("each", when[seen[0]]))
            return next(order, 0) % len(waiting)

        return here.drive(machine, pick=pick)

    wanted = left(systems, batch(1, {}), lambda here, machine: here.drive(machine))
    assert left(systems, batch(concurrency, {}), drive) == wanted


def drive_by_hand(here: Local, machine: Machine, rounds: int) -> list[int]:
    """Answer all that is under way, so many times; how many chunks ran at once each time."""
    counts = []
    for _ in range(rounds):
        asked = machine.step()
        assert isinstance(asked, Waiting)
        counts.append(sum(effect["kind"] == "chunk" for effect in machine.state["effects"].values()))
        for name in list(machine.state["effects"]):
            effect = machine.state["effects"][name]
            machine.resume(name, here.outcome(Effect(name, effect["kind"], effect["call"])))
    return counts


def test_more_and_fewer_chunks_run_at_once_when_told(systems: Systems) -> None:
    here = filled(systems)
    machine = here.begin(batch(1, {}))
    assert drive_by_hand(here, machine, 4) == [0, 0, 1, 1]
    machine.hear("concurrency", Concurrency("each", 4))
    assert drive_by_hand(here, machine, 3) == [0, 4, 4]
    machine.hear("concurrency", Concurrency("each", 2))
    assert drive_by_hand(here, machine, 2) == [2, 2]
    machine.hear("concurrency", Concurrency("each", 0))
    machine.hear("concurrency", Concurrency("other", 9))
    assert drive_by_hand(here, machine, 1) == [2]
    assert here.drive(machine).value["processed"] == COUNT


def test_a_paused_batch_begins_no_chunk_before_it_goes_on(systems: Systems) -> None:
    here = filled(systems)
    machine = here.begin(batch(2, {}))
    assert drive_by_hand(here, machine, 4) == [0, 0, 0, 2]
    assert isinstance(machine.step(), Waiting)
    machine.hear("pause")
    assert drive_by_hand(here, machine, 2) == [2, 0]
    machine.hear("go_on")
    assert drive_by_hand(here, machine, 1) == [2]
    assert here.drive(machine).value["processed"] == COUNT
