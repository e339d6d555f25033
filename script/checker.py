"""The checker: everything that can be known to be wrong with a script before it runs, told at once.

It walks the tree the way a run would, with the variables that are defined at each place, compiles every expression, types the
arguments of tools and scripts against their declarations, and looks up every name: with a stable code, a JSON Pointer to the
place, and a hint. What the language has and this release does not run is refused by name (`not_yet_supported`).

A script without a problem of severity `error` may be saved; warnings are told and nothing more.
"""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from script import ast
from script.arguments_check import check_arguments
from script.compiler import TRANSACTION_COMMAND, condition_source
from script.deferred import check_deferred
from script.environment import CheckEnvironment, ScriptSignature
from script.errors import ExpressionSyntaxError, Problem
from script.expressions import compile_expression
from script.scope import Scope
from script.templates import TEMPLATE, compile_template

_COMPARING: Final = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$between", "$exists")
_TEXT: Final = ("$starts_with", "$contains", "$regex", "$options")
FILTER_OPERATORS: Final = frozenset((*_COMPARING, *_TEXT, "$elemMatch", "$and", "$or", "$not"))
SYSTEM_DATABASE: Final = "system"

_PLANNED_FIELDS: Final = {
    "retry": "retry",
    "timeout": "timeout",
    "catch": "catch",
    "finally_": "finally",
    "compensate": "compensate",
}
_ENDS: Final = ("return", "fail", "break", "continue")


def check_script(script: ast.Script, environment: CheckEnvironment) -> list[Problem]:
    """All problems of a script, in the order of the document."""
    checker = _Checker(script, environment)
    checker.script()
    return checker.problems


class _Checker:
    def __init__(self, script: ast.Script, environment: CheckEnvironment) -> None:
        self.root = script
        self.environment = environment
        self.problems: list[Problem] = []
        self.names: set[str] = set()
        self.tools = environment.tools()

    def tell(self, code: str, pointer: str, message: str, hint: str | None = None, *, severity: str = "error") -> None:
        self.problems.append(Problem(code, pointer, message, hint, severity))

    def planned(self, pointer: str, what: str) -> None:
        self.tell("not_yet_supported", pointer, f"{what} is not supported yet by this release")

    # --- the script ---

    def script(self) -> None:
        scope = Scope()
        for index, parameter in enumerate(self.root.parameters):
            pointer = f"/parameters/{index}"
            if scope.knows(parameter.name):
                self.tell("duplicate_parameter", pointer, f"the parameter {parameter.name!r} stands twice")
            if "default" in parameter.model_fields_set:
                self.template(parameter.default, f"{pointer}/default", Scope())
            scope.define(parameter.name)
        self.database(self.root.database, "/database")
        if self.root.on_failure is not None:
            self.planned("/on_failure", "on_failure")
        if not self.root.steps:
            self.tell("no_steps", "/steps", "the script has no steps")
        self.steps(self.root.steps, "/steps", scope, in_loop=False)

    def database(self, name: str | None, pointer: str) -> None:
        if name is None:
            return
        known = self.environment.databases()
        if name == SYSTEM_DATABASE:
            self.tell("database_closed", pointer, "the system database is closed to scripts")
        elif known is not None and name not in known:
            self.tell("unknown_database", pointer, f"there is no database {name!r}", _nearest(name, known))

    # --- steps ---

    def steps(self, steps: Iterable[ast.Step], pointer: str, scope: Scope, *, in_loop: bool) -> bool:
        """Check a list of steps; True if its end is never reached."""
        ended = False
        for index, node in enumerate(steps):
            where = f"{pointer}/{index}"
            if ended:
                self.tell("unreachable", where, "this step is never reached", severity="warning")
                ended = False
            ended = self.step(node, where, scope, in_loop=in_loop)
        return ended

    def step(self, node: ast.Step, pointer: str, scope: Scope, *, in_loop: bool) -> bool:
        self.common(node, pointer, scope)
        inner = scope.copy() if node.when or node.continue_on_error else scope
        ended = _STEPS[node.type](self, node, pointer, inner, in_loop)
        inner.define(node.variable)
        if inner is not scope:
            scope.maybe(inner)
            ended = False
        if node.continue_on_error:
            scope.define("error")
        return bool(ended)

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
        for field, what in _PLANNED_FIELDS.items():
            if getattr(node, field) is not None:
                self.planned(f"{pointer}/{what}", what)
        if node.is_async:
            self.planned(f"{pointer}/is_async", "is_async")
        if node.database is not None:
            self.database(node.database, f"{pointer}/database")
            if node.type not in ("fetch", "command"):
                self.tell(
                    "misplaced_field",
                    f"{pointer}/database",
                    f"a {node.type} step touches no database",
                    "fetch and command steps do",
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
        if node.while_ is not None:
            self.planned(f"{pointer}/while", "while")
        if node.concurrency > 1:
            self.planned(f"{pointer}/concurrency", "concurrency")
        if node.tolerate_failures is not None:
            self.planned(f"{pointer}/tolerate_failures", "tolerate_failures")
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
        self.steps(node.steps, f"{pointer}/steps", body, in_loop=True)
        for name, part in (node.reduce or {}).items():
            self.reduce(part, f"{pointer}/reduce/{name}", body)
        for name in (node.iterator, node.index):
            body.sure.discard(name or "")
        scope.maybe(body)

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
        return self.steps(node.steps, f"{pointer}/steps", scope, in_loop=in_loop)

    def fetch(self, node: ast.FetchStep, pointer: str, scope: Scope, in_loop: bool) -> None:
        if node.source != "btree":
            self.tell(
                "unknown_source", f"{pointer}/source", f"there is no source {node.source!r}", 'the only one is "btree"'
            )
        self.store(node.resource, node.database or self.root.database, f"{pointer}/resource")
        for name in ("filter", "key", "limit"):
            self.template(getattr(node, name), f"{pointer}/{name}", scope)
        if node.filter is not None:
            self.operators(node.filter, f"{pointer}/filter")

    def store(self, name: str, database: str | None, pointer: str) -> None:
        known = self.environment.stores(database) if database else None
        if known is not None and name not in known:
            message = f"there is no store {name!r} in {database} now"
            self.tell("unknown_store", pointer, message, _nearest(name, known), severity="warning")

    def operators(self, value: Any, pointer: str) -> None:
        """Every `$name` of a filter is an operator of the language."""
        if isinstance(value, list):
            for index, element in enumerate(value):
                self.operators(element, f"{pointer}/{index}")
        if not isinstance(value, Mapping):
            return
        for name, operand in value.items():
            if name.startswith("$") and name not in FILTER_OPERATORS:
                self.tell(
                    "unknown_operator",
                    f"{pointer}/{name}",
                    f"there is no operator {name}",
                    _nearest(name, FILTER_OPERATORS),
                )
            self.operators(operand, f"{pointer}/{name}")

    def command(self, node: ast.CommandStep, pointer: str, scope: Scope, in_loop: bool) -> None:
        tool = self.tools.get(node.command)
        args, ambiguous = check_deferred(node.args, tool, f"{pointer}/args", scope.sure)
        self.problems += ambiguous
        self.template(args, f"{pointer}/args", scope)
        if tool is None and node.command in self.environment.planned_tools():
            self.planned(f"{pointer}/command", f"the tool {node.command}")
        elif tool is None:
            self.tell(
                "unknown_tool",
                f"{pointer}/command",
                f"there is no tool {node.command!r}",
                _nearest(node.command, self.tools),
            )
        else:
            self.problems += check_arguments(node.args, tool.arguments_schema, f"{pointer}/args", node.command)
            if node.command == TRANSACTION_COMMAND and node.database is not None:
                self.tell(
                    "misplaced_field",
                    f"{pointer}/database",
                    "a script manages the transaction of its own database only",
                )
            if node.command == "select" and isinstance(node.args.get("filter"), Mapping):
                self.operators(node.args["filter"], f"{pointer}/args/filter")

    def script_(self, node: ast.ScriptStep, pointer: str, scope: Scope, in_loop: bool) -> None:
        self.template(node.script_args, f"{pointer}/script_args", scope)
        itself = node.script_name == self.root.name
        callee = (
            ScriptSignature(tuple(self.root.parameters), self.root.database)
            if itself
            else self.environment.script(node.script_name)
        )
        if itself:
            self.tell(
                "recursion",
                f"{pointer}/script_name",
                "the script calls itself",
                "it needs a way to end",
                severity="warning",
            )
        if callee is None:
            hint = _nearest(node.script_name, self.environment.script_names()) or "save it first"
            self.tell("unknown_script", f"{pointer}/script_name", f"there is no script {node.script_name!r}", hint)
            return
        self.call(node, callee, pointer)

    def call(self, node: ast.ScriptStep, callee: ScriptSignature, pointer: str) -> None:
        known = {parameter.name: parameter for parameter in callee.parameters}
        for name in node.script_args:
            if name not in known:
                where = f"{pointer}/script_args/{name}"
                self.tell(
                    "unknown_argument", where, f"{node.script_name} has no parameter {name!r}", _nearest(name, known)
                )
        for name, parameter in known.items():
            optional = "default" in parameter.model_fields_set or parameter.required is False
            if name not in node.script_args and not optional:
                self.tell(
                    "missing_argument", f"{pointer}/script_args", f"{node.script_name} needs the argument {name!r}"
                )
        if (
            node.transaction == "inherit"
            and callee.database is not None
            and self.root.database not in (None, callee.database)
        ):
            message = f"{node.script_name} works on {callee.database}, and cannot inherit a transaction on {self.root.database}"
            self.tell("database_mismatch", f"{pointer}/transaction", message)

    def say(self, node: ast.SayStep, pointer: str, scope: Scope, in_loop: bool) -> None:
        self.template(node.message, f"{pointer}/message", scope)

    def return_(self, node: ast.ReturnStep, pointer: str, scope: Scope, in_loop: bool) -> bool:
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

    def later(self, node: ast.AskStep | ast.WaitStep, pointer: str, scope: Scope, in_loop: bool) -> None:
        self.planned(f"{pointer}/type", f"the step type {node.type}")

    # --- expressions ---

    def condition(self, text: str, pointer: str, scope: Scope) -> None:
        source = condition_source(text)
        if self.expression(source, pointer, scope) and not compile_expression(source).names:
            self.tell(
                "constant_condition",
                pointer,
                "the condition reads no variable, so it is always the same",
                severity="warning",
            )

    def expression(self, source: str, pointer: str, scope: Scope) -> bool:
        try:
            names = compile_expression(source).names
        except ExpressionSyntaxError as error:
            self.tell(error.code, pointer, error.message, error.hint)
            return False
        self.read(names, pointer, scope)
        return True

    def template(self, value: Any, pointer: str, scope: Scope) -> None:
        """Every string inside of a value."""
        if isinstance(value, Mapping):
            for name, element in value.items():
                if name != TEMPLATE:
                    self.template(element, f"{pointer}/{name}", scope)
        elif isinstance(value, list):
            for index, element in enumerate(value):
                self.template(element, f"{pointer}/{index}", scope)
        elif isinstance(value, str) and "{{" in value:
            try:
                names = compile_template(value).names
            except ExpressionSyntaxError as error:
                self.tell(error.code, pointer, error.message, error.hint)
                return
            self.read(names, pointer, scope)

    def read(self, names: Iterable[str], pointer: str, scope: Scope) -> None:
        for name in sorted(names):
            if name in scope.sure:
                continue
            if name in scope.perhaps:
                message = f"{name} is perhaps not set on every way to this step"
                self.tell("perhaps_undefined", pointer, message, severity="warning")
            else:
                hint = _nearest(name, scope.names()) or f"defined here: {', '.join(scope.names()) or 'nothing'}"
                self.tell("undefined_variable", pointer, f"there is no variable {name!r} here", hint)


_STEPS: Final[Mapping[str, Callable[..., bool | None]]] = {
    "set": _Checker.set,
    "if": _Checker.if_,
    "loop": _Checker.loop,
    "block": _Checker.block,
    "fetch": _Checker.fetch,
    "command": _Checker.command,
    "script": _Checker.script_,
    "ask": _Checker.later,
    "say": _Checker.say,
    "wait": _Checker.later,
    "return": _Checker.return_,
    "fail": _Checker.fail,
    "break": _Checker.leave,
    "continue": _Checker.leave,
}


def _nearest(name: str, known: Iterable[str]) -> str | None:
    near = get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else None
