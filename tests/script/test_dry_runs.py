"""Dry runs: the clock jumps over what it does not wait for, and a machine that would commit is a defect."""

import pytest

from script.machine import dry_runs
from tests.script.machine_driver import START, Table, compile_all, drive, start

WAITING = {"name": "t", "steps": [
    {"type": "wait", "duration": "2 days"},
    {"type": "set", "variable": "after", "value": "{{ now() }}"},
    {"type": "command", "name": "call", "command": "light", "args": {}, "timeout": 30, "retry": {"max_attempts": 2, "initial_interval": 60}},
    {"type": "return", "value": "{{ [after, string(now())] }}"}]}  # fmt: skip


def test_the_clock_jumps_over_waits_and_goes_on_from_there() -> None:
    table = Table(["dry_run = true", "call ! busy", "call!2 = 7"])
    machine = start(compile_all([WAITING]), table)
    _, done = drive(machine, table)
    assert done.value == ["2026-01-07T09:00:00.000+00:00", "2026-01-07T09:01:02Z"]


def test_timers_of_a_dry_run_are_those_of_the_real_clock() -> None:
    table = Table(["dry_run = true"])
    machine = start(compile_all([WAITING]), table)
    asked = machine.step()
    timer = next(effect for effect in asked.start if effect.kind == "timer")  # type: ignore[union-attr]
    assert timer.call["until"] == START.replace("00.000", "30").replace(".000", "")


def test_the_trace_tells_what_was_not_done() -> None:
    table = Table(["dry_run = true"])
    machine = start(compile_all([{"name": "t", "steps": [
        {"type": "wait", "duration": "2h"}, {"type": "wait", "approval": {"by": "ann", "prompt": "?"}}]}]), table)  # fmt: skip
    machine.step()
    notices = [event["notice"] for event in machine.drain() if "notice" in event]
    assert notices == [
        "a dry run does not wait: its clock goes on by 7200 s",
        "nobody was asked: a dry run takes it as approved",
    ]


@pytest.mark.parametrize("kind", ["commit", "dispatch", "approval"])
def test_a_dry_run_never_asks_for_what_stays(kind: str) -> None:
    machine = start(compile_all([WAITING]), Table(["dry_run = true"]))
    with pytest.raises(ValueError, match=kind):
        dry_runs.check(machine, kind)
    dry_runs.check(start(compile_all([WAITING]), Table([])), kind)
