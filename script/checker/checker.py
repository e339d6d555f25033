"""The checker: everything that can be known to be wrong with a script before it runs, told at once.

It walks the tree the way a run would, with the variables that are defined at each place, compiles every expression, types the
arguments of tools and scripts against their declarations, and looks up every name: with a stable code, a JSON Pointer to the
place, and a hint.

A script without a problem of severity `error` may be saved; warnings are told and nothing more.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from script.checker.calls import CallChecker
from script.checker.scope import Scope
from script.environment import CheckEnvironment
from script.errors import Problem
from script.expressions.sources import condition_source
from script.source import ast


def check_script(script: ast.Script, environment: CheckEnvironment) -> list[Problem]:
    """All problems of a script, in the order of the document."""
    checker = Checker(script, environment)
    checker.script()
    return checker.problems


class Checker(CallChecker):
    """`side` is the innermost part around that runs beside others (`async` or `parallel`), `outer` the variables from before it."""

    def __init__(self, script: ast.Script, environment: CheckEnvironment) -> None:
        super().__init__(script, environment)
        self.side: str | None = None
        self.in_batch = False
        self.names: set[str] = set()

    # --- the script ---

    def script(self) -> None:
        scope = Scope()
        for index, parameter in enumerate(self.root.parameters):
            pointer = f"/parameters/{index}"
            if scope.knows(parameter.name):
                self.tell("duplicate_parameter", pointer, f"the parameter {parameter.name!r} stands twice")
            self.schema(parameter.json_schema(), f"{pointer}/type")
            if "default" in parameter.model_fields_set:
                self.template(parameter.default, f"{pointer}/default", Scope())
                self.fits(parameter.default, parameter, f"{pointer}/default", f"the default of {parameter.name!r}")
            scope.define(parameter.name)
        self.database(self.root.database, "/database")
        self.schema(self.root.output_schema, "/output_schema")
        if self.root.on_failure is not None:
            self.steps(self.root.on_failure, "/on_failure", _with_error(scope), in_loop=False)
        if not self.root.steps:
            self.tell("no_steps", "/steps", "the script has no steps")
        self.steps(self.root.steps, "/steps", scope, in_loop=False)

    # --- steps ---

    def steps(self, steps: Iterable[ast.Step], pointer: str, scope: Scope, *, in_loop: bool) -> bool:
        """Check a list of steps; True if its end is never reached."""
        ended = False
        running: dict[str, str] = {}
        for index, node in enumerate(steps):
            where = f"{pointer}/{index}"
            if ended:
                self.tell("unreachable", where, "this step is never reached", severity="warning")
                ended = False
            if node.is_async:
                self.beside(node, where, scope, running)
            else:
                ended = self.step(node, where, scope, in_loop=in_loop)
        return ended

    def beside(self, node: ast.Step, pointer: str, scope: Scope, running: dict[str, str]) -> None:
        """An async step: what it sets appears when it is joined, and no other may set it."""
        before, side = scope.copy(), self.side
        self.side = "async"
        branch = scope.copy()
        self.step(node, pointer, branch, in_loop=False)
        self.side = side
        name = node.name or node.type
        for variable in sorted(ast.assigned([node])):
            if variable in running:
                self.tell(
                    "parallel_write",
                    pointer,
                    f"{running[variable]} and {name} run side by side, and both set {variable!r}",
                    "give each a variable of its own",
                )
            running[variable] = name
        scope.sure, scope.perhaps = branch.sure, branch.perhaps
        for variable in before.names():
            scope.define(variable, surely=variable in before.sure)

    def step(self, node: ast.Step, pointer: str, scope: Scope, *, in_loop: bool) -> bool:
        self.common(node, pointer, scope)
        before = scope.copy()
        inner = scope.copy() if node.when or node.continue_on_error else scope
        ended = bool(_STEPS[node.type](self, node, pointer, inner, in_loop))
        inner.define(node.variable)
        if node.compensate is not None:
            steps = node.compensate if isinstance(node.compensate, list) else [node.compensate]
            single = not isinstance(node.compensate, list)
            self.part(steps, f"{pointer}/compensate", _with_error(inner), single=single)
        ended = self.handlers(node, pointer, before, inner, ended, in_loop=in_loop)
        if node.finally_ is not None:
            after = before.copy()
            after.maybe(inner)
            self.steps(node.finally_, f"{pointer}/finally", after, in_loop=in_loop)
        if inner is not scope:
            scope.maybe(inner)
            ended = False
        if node.continue_on_error:
            scope.define("error")
        return ended

    def part(self, steps: Iterable[ast.Step], pointer: str, scope: Scope, *, single: bool) -> None:
        """Steps that run later, apart from the script."""
        side, self.side = self.side, "compensation"
        if single:
            for node in steps:
                self.step(node, pointer, scope, in_loop=False)
        else:
            self.steps(steps, pointer, scope, in_loop=False)
        self.side = side

    def handlers(
        self, node: ast.Step, pointer: str, before: Scope, inner: Scope, ended: bool, *, in_loop: bool
    ) -> bool:
        """The catches of a step: each begins with what was surely set before it; True if no way leads behind the step."""
        ways = [] if ended else [inner.copy()]
        for index, handler in enumerate(node.catch or []):
            branch = before.copy()
            branch.maybe(inner)
            branch.define("error")
            if not self.steps(handler.steps, f"{pointer}/catch/{index}/steps", branch, in_loop=in_loop):
                ways.append(branch)
        if node.catch and ways:
            inner.join(*ways)
        return not ways

    def common(self, node: ast.Step, pointer: str, scope: Scope) -> None:
        """What every step may have."""
        if node.name is not None and node.name in self.names:
            self.tell(
                "duplicate_name",
                f"{pointer}/name",
                f"there is another step named {node.name!r}",
                "names tell steps apart: use another",
            )
        self.names.add(node.name or "")
        if node.when is not None:
            self.condition(node.when, f"{pointer}/when", scope)
        if node.timeout is not None:
            self.duration(node.timeout, f"{pointer}/timeout", scope)
        if self.in_batch and node.compensate is not None:
            hint = "compensate in a script that the batch calls, or give the loop itself a compensation"
            self.tell("compensate_in_batch", f"{pointer}/compensate", "a batch cannot keep compensations", hint)
        if node.database is not None:
            self.database(node.database, f"{pointer}/database")
            if node.type not in ("fetch", "command", "script", "block"):
                self.tell(
                    "misplaced_field",
                    f"{pointer}/database",
                    f"a {node.type} step touches no database",
                    "fetch, command, script and block steps do",
                )

    def set(self, node: ast.SetStep, pointer: str, scope: Scope, in_loop: bool) -> None:
        self.template(node.value, f"{pointer}/value", scope)

    def if_(self, node: ast.IfStep, pointer: str, scope: Scope, in_loop: bool) -> bool:
        self.condition(node.condition, f"{pointer}/condition", scope)
        branches = []
        for steps, name in ((node.then, "then"), (node.else_, "else")):
            branch = scope.copy()
            if not self.steps(steps, f"{pointer}/{name}", branch, in_loop=in_loop):
                branches.append(branch)
        if branches:
            scope.join(*branches)
        return not branches

    def loop(self, node: ast.LoopStep, pointer: str, scope: Scope, in_loop: bool) -> None:
        for field in ("batch_size", "tolerate_failures"):
            if node.while_ is not None and getattr(node, field) is not None:
                hint = f"leave out {field}, or while"
                self.tell("misplaced_field", f"{pointer}/{field}", "a batch goes over rows or a list, to its end", hint)
        self.side_by_side(node, pointer, scope)
        if isinstance(node.list, str) and "{{" not in node.list:
            self.expression(node.list, f"{pointer}/list", scope)
        else:
            self.template(node.list, f"{pointer}/list", scope)
        body = scope.copy()
        for name in (node.iterator, node.index):
            if name is not None and scope.knows(name):
                message = f"{name} is a variable already, and would be gone after the loop"
                self.tell("shadowed_variable", f"{pointer}/iterator", message, "give the iterator another name")
            body.define(name)
        if node.while_ is not None:
            self.condition(node.while_, f"{pointer}/while", body)
        side, in_batch = self.side, self.in_batch
        self.side = "parallel" if node.concurrency > 1 else side
        self.in_batch = in_batch or node.batch_size is not None or node.tolerate_failures is not None
        self.steps(node.steps, f"{pointer}/steps", body, in_loop=True)
        self.side, self.in_batch = side, in_batch
        for name, part in (node.reduce or {}).items():
            self.reduce(part, f"{pointer}/reduce/{name}", body)
        for name in (node.iterator, node.index):
            body.sure.discard(name or "")
        scope.maybe(body)

    def side_by_side(self, node: ast.LoopStep, pointer: str, scope: Scope) -> None:
        """What a loop with `concurrency` may not do."""
        if node.concurrency == 1:
            return
        if node.while_ is not None:
            hint = "leave out concurrency, or while"
            self.tell("misplaced_field", f"{pointer}/concurrency", "iterations with a condition go one by one", hint)
        for variable in sorted(ast.assigned(node.steps) & {*scope.sure, *scope.perhaps}):
            self.tell(
                "parallel_write",
                f"{pointer}/steps",
                f"iterations run side by side, and set {variable!r}, a variable from outside of the loop",
                "bring values out with output_variable or reduce",
            )

    def reduce(self, part: ast.Reduce, pointer: str, body: Scope) -> None:
        if part.where is not None:
            self.condition(part.where, f"{pointer}/where", body)
        if isinstance(part.value, str):
            self.expression(condition_source(part.value), f"{pointer}/value", body)
        else:
            self.template(part.value, f"{pointer}/value", body)
        if part.op != "count" and "value" not in part.model_fields_set:
            self.tell("missing_field", pointer, f"{part.op} needs a value")

    def block(self, node: ast.BlockStep, pointer: str, scope: Scope, in_loop: bool) -> bool:
        if node.database is None:
            return self.steps(node.steps, f"{pointer}/steps", scope, in_loop=in_loop)
        side, outer = self.side, self.working
        self.side, self.working = self.side or "alone", node.database
        ended = self.steps(node.steps, f"{pointer}/steps", scope, in_loop=False)
        self.side, self.working = side, outer
        return ended

    def say(self, node: ast.SayStep, pointer: str, scope: Scope, in_loop: bool) -> None:
        self.template(node.message, f"{pointer}/message", scope)

    def return_(self, node: ast.ReturnStep, pointer: str, scope: Scope, in_loop: bool) -> bool:
        if self.side is not None:
            where = {
                "async": "an async step",
                "parallel": "a loop with concurrency",
                "compensation": "a compensation",
                "alone": "a block with a database",
            }[self.side]
            hint = "set a variable, and return behind"
            self.tell("misplaced_return", pointer, f"a return cannot stand inside of {where}", hint)
        self.template(node.value, f"{pointer}/value", scope)
        return True

    def fail(self, node: ast.FailStep, pointer: str, scope: Scope, in_loop: bool) -> bool:
        self.template(node.code, f"{pointer}/code", scope)
        self.template(node.message, f"{pointer}/message", scope)
        return True

    def leave(self, node: ast.BreakStep | ast.ContinueStep, pointer: str, scope: Scope, in_loop: bool) -> bool:
        if not in_loop:
            self.tell("not_in_a_loop", pointer, f"{node.type} stands outside of any loop")
        return True

    def wait(self, node: ast.WaitStep, pointer: str, scope: Scope, in_loop: bool) -> None:
        given = [name for name in ("duration", "until", "approval") if getattr(node, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "nothing"
            hint = 'for example {"type": "wait", "duration": "2h"}'
            self.tell("ambiguous_wait", pointer, f"a wait has one of duration, until and approval, not {found}", hint)
        if self.in_batch and node.approval is not None:
            hint = "ask before the loop, or loop without batch_size"
            self.tell("wait_in_batch", f"{pointer}/approval", "nobody can be asked inside of a batch", hint)
        if node.duration is not None:
            self.duration(node.duration, f"{pointer}/duration", scope)
        self.template(node.until, f"{pointer}/until", scope)
        if node.approval is not None:
            self.template(node.approval.model_dump(), f"{pointer}/approval", scope)
            if node.approval.timeout is not None and node.timeout is not None:
                hint = "leave out the one of the step"
                self.tell("ambiguous_timeout", f"{pointer}/timeout", "the approval has a timeout of its own", hint)
            if node.approval.timeout is not None:
                self.duration(node.approval.timeout, f"{pointer}/approval/timeout", scope)

    def ask(self, node: ast.AskStep, pointer: str, scope: Scope, in_loop: bool) -> None:
        for name in ("prompt", "system", "model"):
            self.template(getattr(node, name), f"{pointer}/{name}", scope)
        if not node.prompt.strip():
            self.tell("missing_field", f"{pointer}/prompt", "an ask needs a prompt")
        self.schema(node.schema_, f"{pointer}/schema")
        if self.environment.has_model() is False:
            message = "no language model is configured, so the step would fail"
            hint = "set SOP_OPENAI_MODEL, and SOP_OPENAI_API_KEY or SOP_OPENAI_BASE_URL"
            self.tell("model_not_configured", pointer, message, hint, severity="warning")


_STEPS: Final[Mapping[str, Callable[..., bool | None]]] = {
    "set": Checker.set,
    "if": Checker.if_,
    "loop": Checker.loop,
    "block": Checker.block,
    "fetch": Checker.fetch,
    "command": Checker.command,
    "script": Checker.script_,
    "ask": Checker.ask,
    "say": Checker.say,
    "wait": Checker.wait,
    "return": Checker.return_,
    "fail": Checker.fail,
    "break": Checker.leave,
    "continue": Checker.leave,
}


def _with_error(scope: Scope) -> Scope:
    """The variables of steps that run after a failure."""
    found = scope.copy()
    found.define("error")
    return found
