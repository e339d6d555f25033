"""Random programs: what must hold for every program, whatever its effects answer, and in whatever order.

A machine whose state is written down and taken up elsewhere at every stop tells the same story. (`random_programs.py` draws the scripts,
`random_driver.py` the answers; both from a seed, so that what fails can be looked at again. `drawn_programs.py` has smaller ones.)
"""

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from script.machine.effects import Done
from script.machine.reruns import ATTEMPTS
from tests.script.drawn_programs import CANCEL, FIRST, HELPER, OTHER, Drawn, answers, steps
from tests.script.machine_driver import compile_all, drive, start
from tests.script.random_driver import Driver, check
from tests.script.random_programs import scripts


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 1 << 32))
def test_random_programs_survive_any_stop(seed: int) -> None:
    programs = compile_all(scripts(Random(seed)))
    dry_run = seed % 11 == 0
    here = Driver(programs, Random(seed), dry_run=dry_run)
    done = here.run()
    check(here, done)
    elsewhere = Driver(programs, Random(seed), dry_run=dry_run, elsewhere=True, fuel=1 + seed % 7)
    assert elsewhere.run() == done
    assert elsewhere.lines == here.lines


@settings(max_examples=300, deadline=None)
@given(
    steps(2, False),
    answers,
    st.lists(st.integers(0, CANCEL), max_size=30),
    st.sampled_from([None, "shop"]),
    st.integers(1, 7),
    st.booleans(),
)
def test_drawn_programs_survive_any_stop(
    body: list[dict[str, Any]], drawn: list[str], picks: list[int], database: str | None, fuel: int, dry_run: bool
) -> None:
    script = {"name": "t", "steps": FIRST + body, **({"database": database} if database else {})}
    programs = compile_all([script, HELPER, OTHER])
    tables = [Drawn(drawn, picks) for _ in range(2)]
    for table in tables:
        table.settings["dry_run"] = dry_run
    here, done = drive(start(programs, tables[0]), tables[0])
    elsewhere, again = drive(start(programs, tables[1]), tables[1], elsewhere=True, fuel=fuel)
    assert elsewhere == here
    assert again == done
    assert isinstance(done, Done)
    assert done.status in ("completed", "failed", "canceled", "compensated", "compensation_failed")
    _numbered_without_gaps(here)
    _every_transaction_ends(here)


def _every_transaction_ends(lines: list[str]) -> None:
    """What was begun is committed or rolled back, or begun again after a conflict (at most five times, and not in a canceled run)."""
    effects = [line.split() for line in lines if line.startswith("    ->")]
    begun = {words[-2] for words in effects if words[-1] == "begin"}
    ended = {words[-1] for words in effects if words[1] in ("commit", "rollback")}
    for name in begun - ended:
        number, _, attempt = name.rpartition(".")
        again = f"{number}.{int(attempt) + 1}"
        canceled = "    cancel" in lines and any(" warning rerun " in line for line in lines)
        assert int(attempt) == ATTEMPTS or canceled or any(again in words for words in effects), name


def _numbered_without_gaps(lines: list[str]) -> None:
    numbers = [int(line.split()[0]) for line in lines if not line.startswith("    ")]
    assert numbers == list(range(1, len(numbers) + 1))
