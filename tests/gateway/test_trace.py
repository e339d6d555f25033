"""Events as lines for a person."""

import pytest

from gateway.cli.trace import line
from tests.script.machine_driver import Table, compile_all, drive, start

FAILING = {"name": "t", "steps": [
    {"type": "command", "name": "mail", "command": "send_email", "args": {}, "compensate": {"type": "say", "name": "sorry", "message": "sorry"}},
    {"type": "fail", "code": "broken", "message": "no"}]}  # fmt: skip


@pytest.mark.parametrize("dry_run", [False, True])
def test_every_event_of_a_failed_run_is_a_line(dry_run: bool) -> None:
    table = Table(["dry_run = true"] if dry_run else [])
    machine = start(compile_all([FAILING]), table)
    events = []
    machine.drain, drain = lambda: events.extend(found := drain()) or found, machine.drain  # type: ignore[method-assign,func-returns-value]
    drive(machine, table)
    lines = [line(event) for event in events]
    assert "compensation of mail: completed" in lines
    assert lines[-1] == "run compensated: fail_2: no [broken]"


def test_a_notice_stands_behind() -> None:
    event = {
        "type": "wait",
        "status": "completed",
        "path": "pause",
        "result": None,
        "notice": "a dry run does not wait",
    }
    assert line(event) == f"{'pause':<32}  wait       completed  (a dry run does not wait)"
