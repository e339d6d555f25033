"""A script as the rules see it.

What reads which variable is told by the checker, which walks the script anyway: this one only notes it.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property

from script.checker.checker import Checker
from script.checker.scope import Scope
from script.environment import CheckEnvironment
from script.errors import Problem
from script.review.effects import Called, effect_of, effects, is_safe, stands_alone
from script.source import ast
from script.source.tree import Part, Placed, place, walk

APART = frozenset({"compensate", "on_failure"})
"""Parts whose steps run after the script has failed."""
HANDLING = frozenset({"compensate", "catch", "finally"})
"""Parts that stand for a failure of their step, and are not covered by what handles that."""


class _Noting(Checker):
    """The checker, noting which variables are read where."""

    def __init__(self, script: ast.Script, environment: CheckEnvironment) -> None:
        super().__init__(script, environment)
        self.reads: list[tuple[str, frozenset[str]]] = []

    def read(self, names: Iterable[str], pointer: str, scope: Scope) -> None:
        found = frozenset(names)
        self.reads.append((pointer, found))
        super().read(found, pointer, scope)


class Facts:
    """`problems` are the checker's. `steps` are in the order of the document. Everything here takes time in proportion to the script."""

    def __init__(self, script: ast.Script, environment: CheckEnvironment, called: Called) -> None:
        checker = _Noting(script, environment)
        checker.script()
        self.script = script
        self.environment = environment
        self.tools = environment.tools()
        self.called = called
        self.problems: list[Problem] = checker.problems
        self.steps: list[Placed] = []
        self._parents: dict[str, tuple[Placed | None, Part]] = {}
        self._order: dict[str, int] = {}
        self._changing: dict[tuple[str, str | None], bool] = {}
        self._fails: dict[str, bool] = {}
        self._fails_behind: dict[str, bool] = {}
        parts = place(script)
        self._note(parts, None)
        self._weigh(parts)
        self._reads = checker.reads

    def _note(self, parts: Iterable[Part], parent: Placed | None) -> None:
        for part in parts:
            for placed in part.steps:
                self._order[placed.pointer] = len(self.steps)
                self.steps.append(placed)
                self._parents[placed.pointer] = (parent, part)
                self._note(placed.parts, placed)

    def _weigh(self, parts: Iterable[Part]) -> None:
        """Which steps may end the run by a failure, their own or that of a step inside; and behind which there is such a step."""
        for part in parts:
            behind = False
            for placed in reversed(part.steps):
                self._weigh(placed.parts)
                inside = (each for inner in placed.parts if inner.name not in APART for each in inner.steps)
                self._fails[placed.pointer] = self._may_fail(placed) or any(
                    self._fails[each.pointer] for each in inside
                )
                self._fails_behind[placed.pointer] = behind
                behind = behind or self._fails[placed.pointer]

    # --- where a step stands ---

    def around(self, placed: Placed) -> Iterator[tuple[Placed | None, Part]]:
        """The steps around a step, from the inside out, each with the part that it stands in; last the script itself, as None."""
        at: Placed | None = placed
        while at is not None:
            parent, part = self._parents[at.pointer]
            yield parent, part
            at = parent

    def is_apart(self, placed: Placed) -> bool:
        """Whether a step runs only after the script has failed."""
        return any(part.name in APART for _, part in self.around(placed))

    def covering(self, placed: Placed) -> Iterator[Placed]:
        """A step and those around it whose retry, catch or compensation is for it, too: not that of a step that it handles a failure of."""
        yield placed
        for parent, part in self.around(placed):
            if parent is not None and part.name not in HANDLING:
                yield parent

    def loops(self, placed: Placed) -> list[Placed]:
        """The loops whose body a step stands in, the innermost first."""
        around = (parent for parent, part in self.around(placed) if part.name == "steps")
        return [parent for parent in around if parent is not None and isinstance(parent.node, ast.LoopStep)]

    def position(self, pointer: str) -> int:
        """Where a pointer leads to, in the order of the document; -1 for the script itself."""
        step = self.step_at(pointer)
        return self._order[step.pointer] if step is not None else -1

    def step_at(self, pointer: str) -> Placed | None:
        """The innermost step that a pointer leads to."""
        while pointer and pointer not in self._order:
            pointer = pointer.rpartition("/")[0]
        return self.steps[self._order[pointer]] if pointer else None

    def is_read_later(self, variable: str, placed: Placed) -> bool:
        """Whether a step that may run after this one reads a variable; a handler of failures reads its own `error`."""
        begin = self._order[(self.loops(placed) or [placed])[-1].pointer]
        return any(begin < order for order in self._readers(variable))

    def _readers(self, variable: str) -> Iterator[int]:
        for pointer, names in self._reads:
            step = self.step_at(pointer) if variable in names else None
            if step is not None and not any(
                part.name in APART or part.name == "catch" for _, part in self.around(step)
            ):
                yield self._order[step.pointer]

    # --- what a step does ---

    def effect(self, placed: Placed) -> str | None:
        """The effect class of a command: pure, read, write or external."""
        return effect_of(placed.node, self.tools) if isinstance(placed.node, ast.CommandStep) else None

    def commits_apart(self, placed: Placed) -> str | None:
        """What of a step stays whatever becomes of the script's own transaction: `outside`, `script`, `block`, `write`, or nothing."""
        node, effect = placed.node, self.effect(placed)
        if isinstance(node, ast.CommandStep) and effect == "external":
            return None if is_safe(node) else "outside"
        if isinstance(node, ast.CommandStep) and effect == "write":
            return "write" if node.database is not None else None
        if isinstance(node, ast.BlockStep) and node.database is not None:
            body = [part for part in placed.parts if part.name == "steps"]
            return "block" if any(self.effect(each) == "write" for each in walk(body)) else None
        if isinstance(node, ast.ScriptStep) and stands_alone(node, self.environment.script(node.script_name)):
            return "script" if self.changes(node) else None
        return None

    def changes(self, node: ast.ScriptStep) -> bool:
        """Whether a called script changes something; one whose text nobody knows may."""
        name = (node.script_name, node.version)
        if name not in self._changing:
            text = self.called(*name)
            found = effects(text, self.environment, self.called) if text is not None else ()
            self._changing[name] = text is None or any(each.kind in ("write", "outside") for each in found)
        return self._changing[name]

    def _may_fail(self, placed: Placed) -> bool:
        """Whether a failure of a step itself ends the run: it has an effect, asks somebody, or is there to fail, and nothing handles it."""
        node = placed.node
        reaches = isinstance(node, ast.FetchStep | ast.ScriptStep | ast.AskStep | ast.FailStep)
        waits = isinstance(node, ast.WaitStep) and node.approval is not None
        if not reaches and not waits and self.effect(placed) not in ("read", "write", "external"):
            return False
        return not any(map(_handled, self.covering(placed)))

    def may_fail_later(self, placed: Placed) -> bool:
        """Whether the run may fail when a step is done: by one behind it, or by another iteration of a loop around it."""
        if self._fails_behind[placed.pointer]:
            return True
        for parent, part in self.around(placed):
            if parent is None:
                return False
            if part.name == "steps" and isinstance(parent.node, ast.LoopStep) and self._fails[parent.pointer]:
                return True
            last = parent.part("finally") if part.name != "finally" else ()
            if self._fails_behind[parent.pointer] or any(self._fails[each.pointer] for each in last):
                return True
        return False

    def is_undone(self, placed: Placed) -> bool:
        """Whether a step, or one around it, has a compensation."""
        return any(each.node.compensate is not None for each in self.covering(placed))

    @cached_property
    def is_saga(self) -> bool:
        """Whether the script compensates something, or commits in several places."""
        apart = [self.commits_apart(placed) for placed in self.steps if not self.is_apart(placed)]
        compensates = any(placed.node.compensate is not None for placed in self.steps)
        return compensates or len([kind for kind in apart if kind in ("script", "block", "write")]) > 1


def _handled(placed: Placed) -> bool:
    """Whether a failure of a step lets the run go on; the steps that handle it may fail themselves."""
    return placed.node.continue_on_error or any("*" in part.errors for part in placed.parts)
