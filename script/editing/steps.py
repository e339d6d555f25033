"""Edits of steps, wherever they stand (`places`): each gives a new script, and raises PatchFailed where it cannot be done.

Positions count from 0. What an edit does not name stays as it is.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from script.editing.patches import apply_patch
from script.editing.places import Step, at, find_list, find_step
from script.errors import PatchFailed

Script = Mapping[str, Any]


def insert_step(
    script: Script, position: int | None, step: Any, within: Step | None = None, part: str | None = None
) -> dict[str, Any]:
    """A step at a position of a list, or at its end (None). A list that is not there is made."""
    made = deepcopy(dict(script))
    _put(_list(made, within, part), position, step)
    return made


def delete_step(script: Script, step: Step) -> dict[str, Any]:
    """The script without a step."""
    made = deepcopy(dict(script))
    _take(made, find_step(made, step))
    return made


def move_step(
    script: Script, step: Step, position: int | None, within: Step | None = None, part: str | None = None
) -> dict[str, Any]:
    """A step somewhere else; the position is that in the list without it."""
    made = deepcopy(dict(script))
    pointer, (target, _) = find_step(made, step), find_list(made, within, part)
    if f"{target}/".startswith(f"{pointer}/"):
        raise PatchFailed(f"the step {step!r} cannot be moved into itself")
    steps = _list(made, within, part)
    _put(steps, position, _take(made, pointer))
    return made


def update_step(script: Script, step: Step, changes: Mapping[str, Any], remove: Sequence[str] = ()) -> dict[str, Any]:
    """A step with other fields, each as a whole; a name that begins with / is a pointer into the step (`/args/limit`)."""
    return _with_fields(script, find_step(script, step), changes, remove)


def set_fields(script: Script, changes: Mapping[str, Any], remove: Sequence[str] = ()) -> dict[str, Any]:
    """A script with other fields of its own, each as a whole."""
    return _with_fields(script, "", changes, remove)


def reorder_steps(
    script: Script, order: Sequence[Step], within: Step | None = None, part: str | None = None
) -> dict[str, Any]:
    """The steps of a list in another order: all of them, by their names or the positions that they have."""
    pointer, there = find_list(script, within, part)
    length = len(at(script, pointer)) if there else 0
    places = [f"{pointer}/{step}" if isinstance(step, int) else find_step(script, step) for step in order]
    if sorted(places) != sorted(f"{pointer}/{position}" for position in range(length)):
        raise PatchFailed(
            f"the order has to have each of the {length} steps of the list once", hint="names or positions"
        )
    made = deepcopy(dict(script))
    steps = at(made, pointer)
    if steps:
        steps[:] = [at(script, place) for place in places]
    return made


def _with_fields(script: Script, pointer: str, changes: Mapping[str, Any], remove: Sequence[str]) -> dict[str, Any]:
    node = at(script, pointer)
    for name in remove:
        if at(node, _inside(name)) is None:
            raise PatchFailed(f"there is no {name!r} to remove", hint=f"there are {', '.join(node)}")
    operations: list[dict[str, Any]] = [
        {"op": "add", "path": f"{pointer}{_inside(name)}", "value": value} for name, value in changes.items()
    ]
    operations += [{"op": "remove", "path": f"{pointer}{_inside(name)}"} for name in remove]
    made: dict[str, Any] = apply_patch(script, operations)
    return made


def _inside(name: str) -> str:
    return name if name.startswith("/") else "/" + name.replace("~", "~0").replace("/", "~1")


def _list(made: dict[str, Any], within: Step | None, part: str | None) -> list[Any]:
    """A list of steps in a document that may be changed; made if it is not there."""
    pointer, there = find_list(made, within, part)
    if there:
        steps: list[Any] = at(made, pointer)
        return steps
    owner, _, name = pointer.rpartition("/")
    if owner.endswith("/catch/0"):
        at(made, owner.removesuffix("/catch/0"))["catch"] = [{"errors": ["*"], "steps": []}]
    elif isinstance(at(made, pointer), dict):  # the one step of a compensate
        at(made, owner)[name] = [at(made, pointer)]
    else:
        at(made, owner)[name] = []
    found: list[Any] = at(made, pointer)
    return found


def _put(steps: list[Any], position: int | None, step: Any) -> None:
    if position is not None and not 0 <= position <= len(steps):
        hint = f"positions are 0 to {len(steps)}, which is the end"
        raise PatchFailed(f"there is no position {position}, counted from 0", hint=hint)
    steps.insert(len(steps) if position is None else position, step)


def _take(made: dict[str, Any], pointer: str) -> Any:
    owner, _, last = pointer.rpartition("/")
    parent = at(made, owner)
    return parent.pop(int(last) if isinstance(parent, list) else last)
