"""The meaning of the steps, one golden file for each rule; every run is repeated with its state written down at each stop."""

import os
from pathlib import Path

import pytest

from tests.script.machine_driver import Table, compact, compile_all, drive, start

FOLDER = Path(__file__).parent / "golden" / "machine"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_golden_machine(path: Path) -> None:
    parts = path.read_text(encoding="utf-8").split("\n---\n")
    scripts, table = parts[0].split("\n===\n"), parts[1].splitlines()
    scripts[0] = "\n".join(line for line in scripts[0].splitlines() if not line.startswith("#"))
    programs = compile_all(scripts)
    here, done = drive(start(programs, Table(table)), Table(table))
    elsewhere, again = drive(start(programs, Table(table)), Table(table), elsewhere=True, fuel=3)
    assert elsewhere == here
    assert again == done
    trace = "\n".join([*here, f"{done.status} {compact(done.error if done.error else done.value)}"]) + "\n"
    if os.environ.get("GOLDEN") == "write":
        path.write_text("\n---\n".join([parts[0], parts[1], trace]), encoding="utf-8")
    else:
        assert trace == parts[2]


def test_there_are_golden_files() -> None:
    assert len(list(FOLDER.glob("*.txt"))) >= 20
