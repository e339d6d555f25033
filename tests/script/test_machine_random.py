"""Random programs: what must hold for every program, whatever its effects answer, and in whatever order.

A machine whose state is written down and taken up elsewhere at every stop tells the same story. (`random_programs.py` draws the scripts,
`random_driver.py` the answers; both from a seed, so that what fails can be looked at again.)
"""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.script.machine_driver import compile_all
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
