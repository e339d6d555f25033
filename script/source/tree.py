"""Steps with their places: what a step is called in a run, where it stands in the text, and a number for people.

The paths are those that the compiler gives (a test compares them), and so those of events and of `sop run rerun --from`. Numbers follow
them: the steps inside of 2 are 2.1, 2.2, ..., whichever part of it they stand in.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from script.source import ast


@dataclass(frozen=True)
class Part:
    """A list of steps inside of a step (or of the script). `name` is steps, then, else, compensate, catch, finally or on_failure;
    `errors` are those of a catch."""

    name: str
    pointer: str
    steps: "tuple[Placed, ...]"
    errors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Placed:
    """A step in its place. `database` is the one that it works on: its own, that of a block around, or the script's."""

    node: ast.Step
    name: str
    path: str
    pointer: str
    number: str
    database: str | None
    parts: tuple[Part, ...]

    def part(self, name: str) -> "tuple[Placed, ...]":
        """The steps of a part; none if there is no such part."""
        return tuple(placed for part in self.parts if part.name == name for placed in part.steps)


def place(script: ast.Script) -> tuple[Part, ...]:
    """The steps of a script, and those of `on_failure`, all in their places."""
    return _Placing().script(script)


def walk(parts: Iterable[Part]) -> Iterator[Placed]:
    """All steps, each before those inside of it."""
    for part in parts:
        for placed in part.steps:
            yield placed
            yield from walk(placed.parts)


@dataclass(frozen=True)
class _Around:
    """The step around: its type, path, pointer and number; the script itself has none. `databases` are that of its own steps, and that
    of what stands around them."""

    databases: tuple[str | None, str | None]
    type: str = ""
    path: str = ""
    pointer: str = ""
    number: str = ""

    def path_of(self, name: str, pointer: str) -> str:
        """Below a call of a script are the steps of that script, so what stands in the step itself says where."""
        if not self.path:
            return name
        part = pointer.removeprefix(self.pointer).split("/")[1]
        return f"{self.path}.{part}/{name}" if self.type == "script" else f"{self.path}/{name}"


@dataclass(frozen=True)
class _List:
    """A list of steps that is to be placed. A `single` step has no position in its pointer."""

    name: str
    pointer: str
    steps: Iterable[ast.Step]
    errors: tuple[str, ...] = ()
    single: bool = False


class _Placing:
    """`taken` are the paths that were given: the second `say_1` is `say_1_`."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def script(self, script: ast.Script) -> tuple[Part, ...]:
        lists = [_List("steps", "/steps", script.steps)]
        if script.on_failure is not None:
            lists.append(_List("on_failure", "/on_failure", script.on_failure))
        return self._parts(lists, _Around((script.database, script.database)))

    def _parts(self, lists: Iterable[_List], around: _Around) -> tuple[Part, ...]:
        found, count = [], 0
        for each in lists:
            placed = []
            database = around.databases[0 if each.name == "steps" else 1]
            for position, node in enumerate(each.steps):
                count += 1
                pointer = each.pointer if each.single else f"{each.pointer}/{position}"
                placed.append(self._step(node, position, pointer, count, database, around))
            found.append(Part(each.name, each.pointer, tuple(placed), each.errors))
        return tuple(found)

    def _step(
        self, node: ast.Step, position: int, pointer: str, count: int, database: str | None, around: _Around
    ) -> Placed:
        name = node.name or f"{node.type}_{position + 1}"
        path = around.path_of(name, pointer)
        while path in self._taken:
            path += "_"
        self._taken.add(path)
        number = f"{around.number}.{count}" if around.number else str(count)
        inner = node.database if isinstance(node, ast.BlockStep) and node.database else database
        inside = _Around((inner, database), node.type, path, pointer, number)
        parts = self._parts(_lists(node, pointer), inside)
        return Placed(node, name, path, pointer, number, node.database or database, parts)


def _lists(node: ast.Step, pointer: str) -> Iterator[_List]:
    """The lists of steps inside of a step, in the order of the compiler."""
    if isinstance(node, ast.IfStep):
        yield _List("then", f"{pointer}/then", node.then)
        yield _List("else", f"{pointer}/else", node.else_)
    elif isinstance(node, ast.LoopStep | ast.BlockStep):
        yield _List("steps", f"{pointer}/steps", node.steps)
    if node.compensate is not None:
        single = not isinstance(node.compensate, list)
        steps = node.compensate if isinstance(node.compensate, list) else [node.compensate]
        yield _List("compensate", f"{pointer}/compensate", steps, single=single)
    for position, handler in enumerate(node.catch or []):
        yield _List("catch", f"{pointer}/catch/{position}/steps", handler.steps, tuple(handler.errors))
    if node.finally_ is not None:
        yield _List("finally", f"{pointer}/finally", node.finally_)
