"""Power loss at every write and every sync: nothing acknowledged is lost, nothing half done is seen.

The controls run the same sweep with less synchronous settings. They have to find damage and losses; otherwise the sweep
would find none in the engine either.
"""

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import apsw
import pytest

from btree import BTreeError
from tests.btree.faults.disk import Disk
from tests.btree.faults.driver import Driver, Ledger
from tests.btree.faults.settings import fast_folder, long_form, sampled, test_seed
from tests.btree.faults.verify import verify
from tests.btree.faults.vfs import abandon, mounted, opener
from tests.btree.faults.workload import workload


@dataclass(frozen=True)
class Trial:
    """One run of a workload, with the power lost behind change `crash_at` (None: never)."""

    seed: int
    crash_at: int | None
    synchronous: str = "FULL"

    def run(self, folder: Path) -> tuple[Disk, Ledger, list[str]]:
        """What happened, and what is wrong with the file that is left."""
        for path in folder.iterdir():
            path.unlink()
        disk = Disk(crash_at=self.crash_at, seed=self.seed * 1_000_003 + (self.crash_at or 0))
        path = folder / "trial.db"
        with mounted(disk) as vfs:
            driver = Driver(opener(path, vfs, self.synchronous))
            try:
                driver.run(workload(self.seed))
            except (BTreeError, apsw.Error) as error:  # of which kind is asked in test_io_errors
                assert disk.crashed, f"{self}: an error without a cause: {error!r}"
            except AssertionError as error:  # the driver found a lie
                raise AssertionError(f"{self}: {error}") from error
            abandon(driver.database)
        if disk.crashed:
            disk.write_survivors(folder)
        return disk, driver.ledger, verify(path, driver.ledger)


def changes_of(seed: int, folder: Path) -> int:
    """How many changes the whole workload makes; without a crash it has to be in order."""
    disk, ledger, problems = Trial(seed, None).run(folder)
    assert not problems, f"seed {seed}: {problems}"
    assert ledger.commits >= 10
    return disk.changes


def problems_of(seed: int, synchronous: str, count: int, folder: Path) -> Counter[str]:
    """Kinds of problems over a sample of crash points, and the number of trials."""
    found: Counter[str] = Counter()
    for crash_at in sampled(range(changes_of(seed, folder)), count, random.Random(seed)):
        _, _, problems = Trial(seed, crash_at, synchronous).run(folder)
        found["trials"] += 1
        found.update({problem.split(":")[0] for problem in problems})
    return found


@pytest.mark.parametrize("offset", range(6 if long_form() else 1))
@pytest.mark.timeout(1800)
def test_no_acknowledged_fact_is_lost(tmp_path: Path, offset: int) -> None:
    seed = test_seed() + offset
    with fast_folder(tmp_path) as folder:
        points = range(changes_of(seed, folder) + 1)
        for crash_at in sampled(points, 900, random.Random(seed)):
            trial = Trial(seed, crash_at)
            _, _, problems = trial.run(folder)
            assert not problems, f"SOP_TEST_SEED={seed}: {trial}: {problems}"


def test_control_without_syncs_is_damaged(tmp_path: Path) -> None:
    seed = test_seed()
    with fast_folder(tmp_path) as folder:
        found = problems_of(seed, "OFF", 150, folder)
    assert found["damage"] + found["lost"] >= found["trials"] // 3, f"SOP_TEST_SEED={seed}: {found}"


def test_control_with_syncs_at_checkpoints_only_loses_commits(tmp_path: Path) -> None:
    seed = test_seed()
    with fast_folder(tmp_path) as folder:
        found = problems_of(seed, "NORMAL", 150, folder)
    assert found["lost"], f"SOP_TEST_SEED={seed}: {found}"
