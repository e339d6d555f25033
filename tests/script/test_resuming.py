"""A run that begins in the middle of another one: what its state becomes, and that any such state runs to an end."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from script.machine.effects import Done, Waiting
from script.machine.machine import Machine
from script.machine.resuming import CannotResume, Retracing, adopt, failed_step, resumed
from script.machine.state import Fiber
from script.wire import Outcome
from tests.script.drawn_programs import FIRST, HELPER, OTHER, Drawn, answers, steps
from tests.script.machine_driver import START, Table, compile_all, drive

LATER = "2026-02-01T10:00:00.000+00:00"
NOBODY = "no step has this name"


class Keys(Retracing):
    """Also remembers which steps it came to."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.keys: list[str] = []

    def _look(self, fiber: Fiber) -> None:
        super()._look(fiber)
        if fiber["frames"]:
            frame = fiber["frames"][-1]
            step = self.programs[frame["program"]].code[frame["pc"]]["step"]
            self.keys += [self.key(frame, step)] if step >= 0 else []


def begin(programs: dict[str, Any], wanted: str) -> Keys:
    machine = Keys.start(
        programs, next(iter(programs)), run_id="run", key_id="run:1", clock=START, arguments={}, database=None
    )
    machine.wanted = wanted
    return machine


def retraced(script: dict[str, Any], wanted: str, lines: list[str], *, batches: bool = False) -> tuple[Keys, list[str]]:
    """A machine that ran a script against a table, and what it told."""
    machine = begin(compile_all([json.dumps(script), json.dumps(HELPER), json.dumps(OTHER)]), wanted)
    machine.batches = batches
    told, _ = drive(machine, Table(lines))
    return machine, told


def going_on(old: Retracing) -> Machine:
    """The machine of a new run that goes on with an old one."""
    state = orjson.loads(orjson.dumps(resumed(old)))
    machine = Machine(old.programs, state)
    adopt(machine.state, run_id="new", key_id="new:1", clock=LATER)
    machine.emit_started({}, {"of": "run", "from": old.key_found})
    return machine


def continued(old: Retracing, lines: list[str]) -> list[str]:
    """What a new run tells that goes on with an old one."""
    machine = going_on(old)
    return drive(machine, Table(lines))[0]


def command(name: str, tool: str, **more: Any) -> dict[str, Any]:
    return {"type": "command", "name": name, "command": tool, "args": {}, **more}


def managed(action: str) -> dict[str, Any]:
    return {"type": "command", "name": action, "command": "manage_transaction", "args": {"action": action}}


THREE = [command("one", "add"), command("two", "send_email"), command("three", "add")]


def test_an_open_transaction_that_was_rolled_back_is_done_again_but_not_what_was_done_outside() -> None:
    old, _ = retraced({"name": "t", "database": "shop", "steps": THREE}, "three", ["three ! bad"])
    assert continued(old, []) == [
        " 1 run started {}",
        "    -> call add one {} in new:1/t1.1 begin",
        " 2 command one completed null",
        " 3 command two completed null",
        "    -> call add three {} in new:1/t1.1",
        " 4 command three completed null",
        "    -> commit commit in new:1/t1.1",
        " 5 run completed null",
    ]


def test_what_was_committed_later_stays() -> None:
    steps = [*THREE, managed("commit"), command("four", "add")]
    old, _ = retraced({"name": "t", "database": "shop", "steps": steps}, "three", ["four ! bad"])
    told = continued(old, [])
    assert told[1] == "    -> call add three {} in new:1/t2.1 begin"
    assert [line for line in told if "->" in line][1:] == [
        "    -> commit commit in new:1/t2.1",
        "    -> call add four {} in new:1/t3.1 begin",
        "    -> commit commit in new:1/t3.1",
    ]


def test_a_transaction_that_was_begun_explicitly_is_explicit_again() -> None:
    steps = [managed("begin"), *THREE, managed("commit"), command("four", "add")]
    old, _ = retraced({"name": "t", "database": "shop", "steps": steps}, "three", ["four ! bad"])
    scope = resumed(old)["scopes"]["run"]
    assert (scope["txn"]["explicit"], scope["txn"]["used"], scope["txn"]["number"]) == (True, False, 2)


def test_a_commit_that_nobody_answered() -> None:
    script = {"name": "t", "database": "shop", "steps": THREE}
    machine = begin(compile_all([json.dumps(script)]), "three")
    asked = machine.step()
    while isinstance(asked, Waiting) and asked.start[0].kind != "commit":
        machine.resume(asked.start[0].id, Outcome())
        asked = machine.step()
    machine.finish("failed", error={"code": "terminated", "message": "", "retryable": False})
    with pytest.raises(CannotResume, match="nobody knows") as caught:
        resumed(machine)
    assert caught.value.code == "not_resumable"


def test_a_conflict_in_the_old_run_does_not_count_in_the_new_one() -> None:
    lines = ["three ! conflict", "three~2 ! bad"]
    old, _ = retraced({"name": "t", "database": "shop", "steps": THREE}, "three", lines)
    assert continued(old, [])[1] == "    -> call add one {} in new:1/t1.1 begin"


def test_compensations_that_are_due_go_along_and_those_of_the_open_transaction_do_not() -> None:
    undo = {"compensate": command("undo", "update")}
    steps = [command("one", "add", **undo), managed("commit"), command("two", "add", **undo), command("three", "add")]
    machine = begin(compile_all([json.dumps({"name": "t", "database": "shop", "steps": steps})]), "three")
    while not machine.found:
        asked = machine.step()
        assert isinstance(asked, Waiting)
        machine.resume(asked.start[0].id, Outcome())
        machine.step()
        if not machine.found:
            machine.state["effects"] = {
                name: effect | {"told": False} for name, effect in machine.state["effects"].items()
            }
    machine.finish("failed", error={"code": "terminated", "message": "", "retryable": False})
    assert [entry["key"] for entry in machine.found["sagas"]] == ["one", "two"]
    told = continued(machine, ["three ! bad"])
    assert told[1] == "    -> call add two {} in new:1/t2.1 begin"
    undone = [line for line in told if "-> call update" in line]
    assert undone == ["    -> call update one/undo {} in new:1/compensation/one/t1.1 begin"]


def test_a_run_that_has_compensated_cannot_be_gone_on_with() -> None:
    steps = [command("one", "send_email", compensate=command("undo", "update")), command("two", "add")]
    old, told = retraced({"name": "t", "steps": steps}, "two", ["two ! bad"])
    assert "compensated" in told[-1]
    with pytest.raises(CannotResume, match="undone") as caught:
        resumed(old)
    assert caught.value.code == "compensated" and caught.value.hint


@pytest.mark.parametrize(
    ("wanted", "code"), [(NOBODY, "step_not_run"), ("after", "step_not_run"), ("tell", "not_resumable")]
)
def test_steps_that_cannot_be_begun_with(wanted: str, code: str) -> None:
    script = {
        "name": "t",
        "steps": [command("one", "add"), command("after", "add")],
        "on_failure": [command("tell", "send_email")],
    }
    old, _ = retraced(script, wanted, ["one ! bad"])
    with pytest.raises(CannotResume) as caught:
        resumed(old)
    assert caught.value.code == code


def test_an_iteration_by_its_key_and_a_step_by_its_path() -> None:
    loop = {"type": "loop", "name": "each", "list": "[7, 8, 9]", "iterator": "x", "steps": [command("do", "add")]}
    script = {"name": "t", "steps": [loop]}
    for wanted, key in (("each/do#1", "each/do#1"), ("each/do", "each/do#0"), ("each", "each")):
        old, _ = retraced(script, wanted, ["each/do#2 ! bad"])
        assert old.key_found == key
        effects = [line.split()[3] for line in continued(old, []) if "-> call" in line]
        assert effects == [f"each/do#{number}" for number in range(int(key[-1]) if "#" in key else 0, 3)]


def test_what_was_under_way_beside_is_asked_for_again() -> None:
    steps = [
        command("slow", "light", is_async=True),
        {"type": "wait", "name": "pause", "duration": "1h", "is_async": True},
        command("fast", "get"),
        command("next", "get"),
    ]
    old, _ = retraced({"name": "t", "steps": steps}, "next", ['order = ["fast", "next"]', "next ! bad"])
    told = continued(old, [])
    assert [line for line in told if "->" in line] == [
        "    -> call get next {}",
        "    -> call light slow {}",
        "    -> sleep pause",
    ]


def test_a_timeout_has_as_much_time_left_as_it_had() -> None:
    block = {"type": "block", "name": "all", "timeout": "1h", "steps": [command("one", "get"), command("two", "get")]}
    old, _ = retraced({"name": "t", "steps": [block]}, "all/two", ["all/two ! bad"])
    machine = going_on(old)
    asked = machine.step()
    assert isinstance(asked, Waiting)
    timer = next(effect for effect in asked.start if effect.kind == "timer")
    assert timer.call["until"] == "2026-02-01T10:59:59+00:00"
    assert machine.state["clock"] == LATER


def test_a_batch_goes_on_with_the_chunk_that_failed() -> None:
    body = [command("do", "add")]
    loop = {"type": "loop", "name": "each", "list": "[1, 2, 3, 4, 5]", "iterator": "x", "batch_size": 2, "steps": body}
    script = {"name": "t", "database": "shop", "steps": [loop]}
    part = '{"processed": 2, "failed": 0, "after": null, "done": false, "stopped": false, "reduced": {}, "outbox": 0}'
    lines = [f"each/chunk0 = {part}", "each/chunk1 ! bad"]
    for batches, first in ((True, "each/chunk1"), (False, "each/chunk0")):
        old, _ = retraced(script, "each", lines, batches=batches)
        machine = going_on(old)
        asked = machine.step()
        assert isinstance(asked, Waiting)
        (chunk,) = asked.start
        assert (chunk.id, chunk.kind) == (first, "chunk")
        call = chunk.call
        assert (call["key"], call["key_id"], call["run_id"]) == (f"new:1/{first}", "new:1", "new")
        assert call["transaction"]["id"] == f"new:1/{first}"


def test_which_step_failed() -> None:
    loop = {"type": "loop", "name": "each", "list": "[1, 2]", "iterator": "x", "steps": [command("do", "get")]}
    tried = {"type": "block", "name": "try", "retry": {"max_attempts": 2}, "steps": [command("in", "get")]}
    cases: list[tuple[list[dict[str, Any]], list[str], str | None]] = [
        ([loop], ["each/do#1 ! bad"], "each/do#1"),
        ([command("one", "get", continue_on_error=True), command("two", "get")], ["one ! bad", "two ! bad"], "two"),
        ([tried], ["try/in ! bad", "try/in!2 ! bad"], "try/in"),
        ([{"type": "script", "name": "call", "script_name": "helper", "script_args": {"a": 1}}], [], None),
        ([{"type": "script", "name": "call", "script_name": "other", "script_args": {}}], ["call ! bad"], "call"),
        ([command("beside", "get", is_async=True), command("two", "get")], ["beside ! bad"], "beside"),
    ]
    for body, lines, expected in cases:
        programs = compile_all([json.dumps({"name": "t", "steps": body}), json.dumps(HELPER), json.dumps(OTHER)])
        machine, table, told = begin(programs, NOBODY), Table(lines), []
        asked = machine.step()
        waiting: dict[str, Any] = {}
        while not isinstance(asked, Done):
            assert isinstance(asked, Waiting)
            waiting |= {effect.id: effect for effect in asked.start}
            name = next(iter(waiting))
            machine.resume(name, table(waiting.pop(name)))
            asked = machine.step()
        told = machine.drain()
        assert failed_step(told, machine.state["done"]["error"]) == expected, body


@settings(max_examples=150, deadline=None)
@given(
    steps(2, False),
    answers,
    st.lists(st.integers(0, 9), max_size=30),
    answers,
    st.lists(st.integers(0, 8), max_size=30),
    st.sampled_from([None, "shop"]),
    st.integers(0, 1000),
)
def test_any_run_goes_on_from_any_step(
    body: list[dict[str, Any]],
    drawn: list[str],
    picks: list[int],
    drawn_again: list[str],
    picks_again: list[int],
    database: str | None,
    which: int,
) -> None:
    script = {"name": "t", "steps": FIRST + body, **({"database": database} if database else {})}
    programs = compile_all([script, HELPER, OTHER])
    looking = begin(programs, NOBODY)
    whole, done = drive(looking, Drawn(drawn, picks))
    assume(done.status in ("completed", "failed", "canceled"))
    wanted = looking.keys[which % len(looking.keys)]
    old = begin(programs, wanted)
    assert drive(old, Drawn(drawn, picks)) == (whole, done)
    try:
        machine = going_on(old)
    except CannotResume as error:
        assert error.code == "not_resumable"
        return
    lines, again = drive(machine, Drawn(drawn_again, picks_again))
    assert isinstance(again, Done)
    numbers = [int(line.split()[0]) for line in lines if not line.startswith("    ")]
    assert numbers == list(range(1, len(numbers) + 1))
    within = [line.rpartition(" in ")[2].split()[0] for line in lines if " in " in line and line.startswith("    ->")]
    assert all(name.startswith("new:1/") for name in within)
    begun = {line.split()[-2] for line in lines if line.startswith("    ->") and line.endswith(" begin")}
    over = {line.split()[-1] for line in lines if line.startswith(("    -> commit", "    -> rollback"))}
    assert {name.rpartition(".")[0] for name in begun} <= {name.rpartition(".")[0] for name in over} or "conflict" in (
        *drawn_again,
    )


@settings(max_examples=50, deadline=None)
@given(steps(2, False), answers, st.lists(st.integers(0, 8), max_size=30))
def test_from_the_first_step_is_the_whole_run(body: list[dict[str, Any]], drawn: list[str], picks: list[int]) -> None:
    programs = compile_all([{"name": "t", "steps": FIRST + body, "database": "shop"}, HELPER, OTHER])
    looking = begin(programs, NOBODY)
    whole, done = drive(looking, Drawn(drawn, picks))
    assume(done.status in ("completed", "failed"))
    old = begin(programs, looking.keys[0])
    drive(old, Drawn(drawn, picks))
    lines, again = drive(going_on(old), Drawn(drawn, picks))
    assert (lines, again) == ([line.replace("run:1/", "new:1/") for line in whole], done)
