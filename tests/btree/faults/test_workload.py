"""The workload is what it promises to be, or the sweeps over it would prove little."""

from tests.btree.faults.settings import test_seed
from tests.btree.faults.workload import Finish, Model, Reopen, Run, Sweep, workload

PAGE = 8192


def test_a_seed_gives_the_same_workload_again() -> None:
    seed = test_seed()
    assert workload(seed) == workload(seed), f"SOP_TEST_SEED={seed}"
    assert workload(seed) != workload(seed + 1)


def test_every_kind_of_action_is_there() -> None:
    seed = test_seed()
    actions = workload(seed)
    runs = [action.task for action in actions if isinstance(action, Run)]
    assert {type(action) for action in actions} == {Run, Finish, Sweep, Reopen}
    assert {task.ending for task in runs} == {"commit", "rollback", "leave"}
    assert any(step.load for task in runs for step in task.steps)
    assert any(len(task.steps) >= 3 for task in runs)


def test_trees_grow_by_a_level_and_shrink_again() -> None:
    """A branch page has room for 8 of the long keys and a leaf for 2 records: 17 records or more need a second branch page."""
    seed = test_seed()
    model: Model = {}
    sizes = [0]
    for action in workload(seed):
        if isinstance(action, Run) and action.task.ending == "commit":
            model = action.task.applied(model)
            sizes.append(sum(len(key) + len(value) for key, value in model["index"].items()))
    assert max(sizes) > 9 * PAGE, f"SOP_TEST_SEED={seed}: {sizes}"
    assert min(sizes[sizes.index(max(sizes)) :]) < max(sizes) // 3, f"SOP_TEST_SEED={seed}: {sizes}"
