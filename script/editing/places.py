"""Steps in their places, in the JSON of a script that may be wrong.

A step is meant by its name (or, where it has none, by its type and position in its list, `say_2`, as in a run), if only one is called so;
by its position in the script's own steps, from 0; or by a JSON Pointer, `/steps/2/then/0`.

A list of steps is a *part* of a step: `steps` of a loop or block, `then` and `else` of an if, `finally`, `compensate`, `catch` (its
first handler; others by their pointer), and `steps` and `on_failure` of the script itself.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from script.errors import PatchFailed

Step = str | int
_PARTS: Final = ("steps", "then", "else", "finally", "compensate", "on_failure")
_USUAL: Final = {"if": "then", "loop": "steps", "block": "steps"}
_OF_ALL: Final = ("finally", "compensate", "catch")


def steps_of(script: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """All steps: pointer, name (its own, or the one it has in a run), the step; each before those inside of it."""
    yield from _steps(script, "")


def find_step(script: Mapping[str, Any], step: Step) -> str:
    """The pointer of a step. Raises PatchFailed, with what there is."""
    known = list(steps_of(script))
    wanted = f"/steps/{step}" if isinstance(step, int) else step
    found = [pointer for pointer, name, _ in known if wanted in (pointer, name)]
    own = [pointer for pointer, _, node in known if node.get("name") == wanted]
    if len(own or found) == 1:
        return (own or found)[0]
    if found:
        raise PatchFailed(f"more than one step is called {step!r}", hint=f"take one of {', '.join(own or found)}")
    names = [name for _, name, _ in known]
    near = get_close_matches(str(step), names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the steps are {', '.join(names)}" if names else "it has no steps"
    counted = ", counted from 0" if isinstance(step, int) else ""
    raise PatchFailed(f"there is no step {step!r}{counted}", hint=hint)


def find_list(script: Mapping[str, Any], within: Step | None, part: str | None) -> tuple[str, bool]:
    """The pointer of a list of steps, and whether it is there already. Raises PatchFailed."""
    if within is None:
        name: str | None = part or "steps"
        if name not in ("steps", "on_failure"):
            raise PatchFailed(f"the script has no part {name!r}", hint="say within which step")
        return f"/{name}", name in script
    if isinstance(within, str) and within.rpartition("/")[2] in _PARTS and part is None:
        owner = within.rpartition("/")[0]
        handler = re.search(r"/catch/\d+$", owner) is not None and isinstance(at(script, owner), Mapping)
        if not owner or handler or any(pointer == owner for pointer, _, _ in steps_of(script)):
            return within, isinstance(at(script, within), list)
    pointer = find_step(script, within)
    node = at(script, pointer)
    name = part or _USUAL.get(str(node.get("type")))
    usual = ("then", "else") if node.get("type") == "if" else ("steps",) if node.get("type") in _USUAL else ()
    if name not in (*usual, *_OF_ALL):
        raise PatchFailed(
            f"the step {within!r} has no part {name!r}" if name else f"the step {within!r} has no steps of its own",
            hint=f"its parts are {', '.join((*usual, *_OF_ALL))}",
        )
    if name == "catch":
        return f"{pointer}/catch/0/steps", bool(node.get("catch"))
    return f"{pointer}/{name}", isinstance(node.get(name), list)


def at(script: Any, pointer: str) -> Any:
    """What is at a pointer; None where nothing is."""
    value = script
    for part in pointer.split("/")[1:]:
        if isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, Mapping):
            value = value.get(part.replace("~1", "/").replace("~0", "~"))
        else:
            return None
    return value


def unused_name(wanted: str, taken: Collection[str]) -> str:
    """A name that is not taken: the wanted one, or with a number behind."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name


def _steps(node: Mapping[str, Any], pointer: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for part in _PARTS:
        yield from _list(node.get(part), f"{pointer}/{part}")
    handlers = node.get("catch")
    for position, handler in enumerate(handlers if isinstance(handlers, list) else []):
        if isinstance(handler, Mapping):
            yield from _list(handler.get("steps"), f"{pointer}/catch/{position}/steps")


def _list(value: Any, pointer: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    if isinstance(value, Mapping):  # the one step of a compensate
        yield from _one(value, pointer, 0)
    for position, step in enumerate(value if isinstance(value, list) else []):
        if isinstance(step, Mapping):
            yield from _one(step, f"{pointer}/{position}", position)


def _one(step: Mapping[str, Any], pointer: str, position: int) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    name = step.get("name")
    yield pointer, name if isinstance(name, str) else f"{step.get('type')}_{position + 1}", step
    yield from _steps(step, pointer)
