"""Checking what a step asks of the world: stores, tools, scripts, databases."""

from collections.abc import Mapping
from typing import Any, Final

from script.checker.arguments import check_arguments, has_template
from script.checker.scope import Scope
from script.checker.values import ValueChecker, nearest
from script.compiler.compiler import TRANSACTION_COMMAND
from script.compiler.deferred import check_deferred
from script.compiler.secrets import check_secrets
from script.environment import SESSION, CheckEnvironment, ScriptSignature
from script.json_schemas import violation
from script.source import ast

SYSTEM_DATABASE: Final = "system"


class CallChecker(ValueChecker):
    """Looks names up in an environment."""

    def __init__(self, script: ast.Script, environment: CheckEnvironment) -> None:
        super().__init__()
        self.root = script
        self.environment = environment
        self.tools = environment.tools()
        self.working = script.database

    def database(self, name: str | None, pointer: str) -> None:
        if name is None:
            return
        known = self.environment.databases()
        if name == SYSTEM_DATABASE:
            self.tell("database_closed", pointer, "the system database is closed to scripts")
        elif known is not None and name not in known:
            self.tell("unknown_database", pointer, f"there is no database {name!r}", nearest(name, known))

    def fetch(self, node: ast.FetchStep, pointer: str, scope: Scope, in_loop: bool) -> None:
        if node.source != "btree":
            self.tell(
                "unknown_source", f"{pointer}/source", f"there is no source {node.source!r}", 'the only one is "btree"'
            )
        self.store(node.resource, node.database or self.working, f"{pointer}/resource")
        for name in ("filter", "key", "limit"):
            self.template(getattr(node, name), f"{pointer}/{name}", scope)
        if node.filter is not None:
            self.operators(node.filter, f"{pointer}/filter")

    def store(self, name: str, database: str | None, pointer: str) -> None:
        known = self.environment.stores(database) if database else None
        if known is not None and name not in known:
            message = f"there is no store {name!r} in {database} now"
            self.tell("unknown_store", pointer, message, nearest(name, known), severity="warning")

    def command(self, node: ast.CommandStep, pointer: str, scope: Scope, in_loop: bool) -> None:
        tool = self.tools.get(node.command)
        args, ambiguous = check_deferred(node.args, tool, f"{pointer}/args", scope.sure)
        self.problems += ambiguous
        self.template(args, f"{pointer}/args", scope)
        if tool is None:
            self.tell(
                "unknown_tool",
                f"{pointer}/command",
                f"there is no tool {node.command!r}",
                nearest(node.command, (name for name, known in self.tools.items() if known.effect != SESSION)),
            )
        elif tool.effect == SESSION:
            self.tell(
                "session_tool",
                f"{pointer}/command",
                f"{node.command} works on a session: scripts cannot call it",
                "call it in the conversation; a step calls tools that read, write, compute or reach the outside",
            )
        else:
            self.problems += check_arguments(node.args, tool.arguments_schema, f"{pointer}/args", node.command)
            self.problems += check_secrets(node.args, tool.arguments_schema, f"{pointer}/args", node.command)
            if node.command == TRANSACTION_COMMAND and node.database is not None:
                self.tell(
                    "misplaced_field",
                    f"{pointer}/database",
                    "a script manages the transaction of its own database only",
                )
            if node.command == "select" and isinstance(node.args.get("filter"), Mapping):
                self.operators(node.args["filter"], f"{pointer}/args/filter")

    def fits(self, value: Any, parameter: ast.Parameter, pointer: str, what: str) -> None:
        """A value without templates, against the type of a parameter; one with templates is checked when it is known."""
        problem = None if has_template(value) else violation(parameter.json_schema(), value)
        if problem is not None:
            self.tell("invalid_argument", pointer, f"{what}: {problem}")

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
            hint = nearest(node.script_name, self.environment.script_names()) or "save it first"
            self.tell("unknown_script", f"{pointer}/script_name", f"there is no script {node.script_name!r}", hint)
            return
        self.call(node, callee, pointer)

    def call(self, node: ast.ScriptStep, callee: ScriptSignature, pointer: str) -> None:
        if node.database is not None and callee.database not in (None, node.database):
            message = f"{node.script_name} works on {callee.database}, and cannot be run on {node.database}"
            self.tell("database_mismatch", f"{pointer}/database", message, "leave out the step's database")
        if node.database is not None and node.transaction == "inherit":
            message = "a step on another database stands alone, and cannot inherit a transaction"
            self.tell("database_mismatch", f"{pointer}/transaction", message)
        known = {parameter.name: parameter for parameter in callee.parameters}
        for name in node.script_args:
            if name not in known:
                where = f"{pointer}/script_args/{name}"
                self.tell(
                    "unknown_argument", where, f"{node.script_name} has no parameter {name!r}", nearest(name, known)
                )
        for name, value in node.script_args.items():
            if name in known:
                where = f"{pointer}/script_args/{name}"
                self.fits(value, known[name], where, f"the argument {name!r} of {node.script_name}")
        for name, parameter in known.items():
            optional = "default" in parameter.model_fields_set or parameter.required is False
            if name not in node.script_args and not optional:
                self.tell(
                    "missing_argument", f"{pointer}/script_args", f"{node.script_name} needs the argument {name!r}"
                )
        if (
            node.transaction == "inherit"
            and callee.database is not None
            and self.working not in (None, callee.database)
        ):
            message = (
                f"{node.script_name} works on {callee.database}, and cannot inherit a transaction on {self.working}"
            )
            self.tell("database_mismatch", f"{pointer}/transaction", message)
