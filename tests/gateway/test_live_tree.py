"""A run as a tree on a terminal: golden pictures of runs, drawn by the machine that tells their events.

A golden file has a script, the outcomes of its effects (both as `tests/script/machine_driver.py` reads them), and what is seen: a picture whenever
an effect of `look = [...]` is about to be answered, and the last one. `height = N` is the height of the screen.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, Group
from rich.text import Text

from gateway.cli.live.steps import Steps
from gateway.cli.live.view import frame
from script.machine.effects import Done, Effect, Waiting
from script.machine.standing import standing
from tests.script.machine_driver import Table, compile_all, start

FOLDER = Path(__file__).parent / "golden" / "tree"


def printed(lines: list[Text], width: int = 110) -> str:
    console = Console(record=True, width=width, file=open(os.devnull, "w"), color_system=None)  # noqa: SIM115, PTH123
    console.print(Group(*lines))
    console.file.close()
    return "\n".join(line.rstrip() for line in console.export_text().splitlines())


def pictures(scripts: list[str], lines: list[str]) -> list[str]:
    """What is seen of a run."""
    settings: dict[str, Any] = {"look": [], "height": None}
    for line in lines:
        name, _, value = line.partition(" = ")
        if name in settings:
            settings[name] = json.loads(value)
    table = Table([line for line in lines if line.partition(" = ")[0] not in settings])
    machine, steps, now = start(compile_all(scripts), table), Steps(), 0.0
    waiting: dict[str, Effect] = {}
    seen = []
    while not isinstance(asked := machine.step(1000), Done):
        for event in machine.drain():
            steps.add(event)
        assert isinstance(asked, Waiting)
        waiting |= {effect.id: effect for effect in asked.start}
        for name in asked.cancel:
            waiting.pop(name, None)
        name = table.next(waiting)
        if name in settings["look"]:
            where = standing(machine)
            for child in where["children"]:
                child["where"] = {"steps": [{"step": "inside", "type": "command"}]}
            steps.stand(where, now)
            seen.append(printed(frame(steps, now + 2, height=settings["height"])))
        now += 10
        effect = waiting.pop(name)
        machine.resume(effect.id, table(effect))
    for event in machine.drain():
        steps.add(event)
    return [*seen, printed(frame(steps, now, ended=True))]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_golden_tree(path: Path) -> None:
    parts = path.read_text(encoding="utf-8").split("\n---\n")
    scripts = parts[0].split("\n===\n")
    scripts[0] = "\n".join(line for line in scripts[0].splitlines() if not line.startswith("#"))
    found = "\n\n".join(pictures(scripts, parts[1].splitlines())) + "\n"
    if os.environ.get("GOLDEN") == "write":
        path.write_text("\n---\n".join([*parts[:2], found]), encoding="utf-8")
    else:
        assert found == parts[2]


def test_a_long_run_has_a_small_tree() -> None:
    steps = Steps()
    steps.add({"seq": 1, "type": "run", "status": "started", "run_id": "r", "script": "s", "arguments": {}})
    event = {"status": "completed", "duration_ms": 1.0, "result": None}
    for number in range(50_000):
        of = {**event, "seq": 2 * number + 2, "iteration": [number]}
        steps.add(
            {**of, "type": "command", "path": "each/mail", "status": "failed" if number % 1000 == 0 else "completed"}
        )
        steps.add(
            {**of, "seq": of["seq"] + 1, "type": "warning", "path": "each/mail", "error": {"code": "c", "message": "m"}}
        )
    assert len(list(steps.root.walk())) == 3
    shown = printed(frame(steps, 0.0, height=7))
    assert "iteration 50000" in shown and "×50000  50 failed" in shown and "49997 warnings before" in shown
    steps.add(
        {**event, "seq": 100_002, "type": "loop", "path": "each", "iteration": [], "result": {"processed": 50_000}}
    )
    assert "50000 times" in (folded := printed(frame(steps, 0.0))) and "50 failed in it" in folded
    assert len(folded.splitlines()) == 2


def test_what_a_worker_says_stays_for_as_long_as_it_is_so() -> None:
    steps = Steps()
    for now in (0.0, 5.0):
        steps.stand({"steps": [{"step": "a", "type": "command"}], "paused": now > 0, "more": 3}, now)
    shown = printed(frame(steps, 7.0))
    assert "7.0 s" in shown and "paused" in shown and "3 more under way" in shown
    steps.stand(None, 8.0)
    assert "7.0 s" not in printed(frame(steps, 9.0)) and not steps.root.busy
    steps.silent = True
    assert "the gateway does not answer" in printed(frame(steps, 9.0))


def test_there_are_golden_files() -> None:
    assert len(list(FOLDER.glob("*.txt"))) >= 6
