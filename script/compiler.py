"""Script -> Program: the tree is flattened, one small rule for each step type.

    when c      when c END        if c      branch c ELSE      loop      loop (list, body, END)      block    enter
                <step>                       <then>                       <steps>                              <steps>
                END:                         jump END                     next                                 leave
                                    ELSE:    <else>             END:
                                    END:

A step with `continue_on_error` adds a guard over its instructions, whose target is the place behind it. Because inner
steps are compiled before the guard of the step around them is added, guards stand innermost first.

A command is compiled with the effect class of its tool (pure, read, write, external): the machine decides with it
whether the step belongs to the transaction, without knowing any tool.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from script import ast
from script.deferred import databases_of_sides, deferred
from script.environment import ToolSignature
from script.loading import script_hash
from script.program import Guard, Parameter, Program, StepInfo, link

TRANSACTION_COMMAND: Final = "manage_transaction"


class UnknownEffect(LookupError):
    """A command names a tool whose effect class is not known; the checker reports such a script before."""


def compile_script(script: ast.Script, effects: Mapping[str, str | ToolSignature]) -> Program:
    """Compile a checked script.

    `effects` gives the effect class of each tool by name, or its signature. Called scripts are left unresolved: see
    `Program.with_calls`. Raises UnknownEffect for a tool that is not in `effects`.
    """
    compiler = _Compiler(effects)
    compiler.steps_of(script.steps, parent=-1, pointer="/steps")
    compiler.emit("end", -1)
    return Program(
        hash=script_hash(script),
        name=script.name,
        code=tuple(compiler.code),
        steps=tuple(compiler.infos),
        guards=tuple(compiler.guards),
        parameters=tuple(_parameter(parameter) for parameter in script.parameters),
        database=script.database,
        isolation=script.isolation,
        databases=tuple(sorted(compiler.databases | ({script.database} if script.database else set()))),
        output_schema=script.output_schema,
    )


def _parameter(parameter: ast.Parameter) -> Parameter:
    has_default = "default" in parameter.model_fields_set
    return Parameter(
        name=parameter.name,
        required=parameter.required if parameter.required is not None else not has_default,
        schema=parameter.json_schema(),
        default=parameter.default,
        description=parameter.description or "",
    )


def condition_source(text: str) -> str:
    """The CEL of a condition, written with or without braces."""
    stripped = text.strip()
    if stripped.startswith("{{") and stripped.endswith("}}"):
        return stripped[2:-2].strip()
    return stripped


class _Compiler:
    """The instructions made so far, and one method for each step type."""

    def __init__(self, effects: Mapping[str, str | ToolSignature]) -> None:
        self.effects = effects
        self.code: list[dict[str, Any]] = []
        self.infos: list[StepInfo] = []
        self.guards: list[Guard] = []
        self.databases: set[str] = set()
        self._depth = 0

    def emit(self, op: str, step: int, **operands: Any) -> int:
        self.code.append({"op": op, "step": step, **operands})
        return len(self.code) - 1

    def patch(self, at: int, operand: str = "to") -> None:
        self.code[at][operand] = len(self.code)

    def steps_of(self, steps: Iterable[ast.Step], *, parent: int, pointer: str) -> None:
        for position, node in enumerate(steps):
            self.step(node, parent, position, f"{pointer}/{position}")

    def step(self, node: ast.Step, parent: int, position: int, pointer: str) -> None:
        step = self._declare(node, parent, position, pointer)
        start = len(self.code)
        guard = self.emit("when", step, condition=condition_source(node.when), to=-1) if node.when else None
        _RULES[node.type](self, node, step, pointer)
        if guard is not None:
            self.patch(guard)
        if node.continue_on_error:
            end = len(self.code)
            self.guards.append(Guard(start, end, end, step, self._depth))

    def _declare(self, node: ast.Step, parent: int, position: int, pointer: str) -> int:
        name = node.name or f"{node.type}_{position + 1}"
        path = f"{self.infos[parent].path}/{name}" if parent >= 0 else name
        taken = {info.path for info in self.infos}
        while path in taken:
            path += "_"
        self.infos.append(StepInfo(path, name, node.type, parent, pointer))
        return len(self.infos) - 1

    # --- one rule for each step type ---

    def set(self, node: ast.SetStep, step: int, pointer: str) -> None:
        self.emit("set", step, variable=node.variable, value=node.value)

    def say(self, node: ast.SayStep, step: int, pointer: str) -> None:
        self.emit("say", step, message=node.message)

    def return_(self, node: ast.ReturnStep, step: int, pointer: str) -> None:
        self.emit("return", step, value=node.value)

    def fail(self, node: ast.FailStep, step: int, pointer: str) -> None:
        self.emit("fail", step, code=node.code, message=node.message)

    def break_(self, node: ast.BreakStep, step: int, pointer: str) -> None:
        self.emit("break", step)

    def continue_(self, node: ast.ContinueStep, step: int, pointer: str) -> None:
        self.emit("continue", step)

    def if_(self, node: ast.IfStep, step: int, pointer: str) -> None:
        branch = self.emit("branch", step, condition=condition_source(node.condition), to=-1)
        self.steps_of(node.then, parent=step, pointer=f"{pointer}/then")
        if node.else_:
            jump = self.emit("jump", step, to=-1)
            self.patch(branch)
            self.steps_of(node.else_, parent=step, pointer=f"{pointer}/else")
            self.patch(jump)
        else:
            self.patch(branch)

    def block(self, node: ast.BlockStep, step: int, pointer: str) -> None:
        self.emit("enter", step)
        self.steps_of(node.steps, parent=step, pointer=f"{pointer}/steps")
        self.emit("leave", step, variable=node.variable)

    def loop(self, node: ast.LoopStep, step: int, pointer: str) -> None:
        head = self.emit(
            "loop",
            step,
            list=_list_template(node.list),
            iterator=node.iterator,
            index=node.index,
            variable=node.variable,
            batch_size=node.batch_size,
            reduce=_reduce(node.reduce),
            depth=self._depth,
            end=-1,
        )
        self._depth += 1
        self.steps_of(node.steps, parent=step, pointer=f"{pointer}/steps")
        self._depth -= 1
        self.code[head]["next"] = self.emit("next", step, loop=head)
        self.patch(head, "end")
        self.code[head] |= _names_of_body(self.code[head : len(self.code)])

    def fetch(self, node: ast.FetchStep, step: int, pointer: str) -> None:
        fields = ("filter", "key", "fields", "order_by", "limit", "single")
        args = {name: value for name in fields if (value := getattr(node, name)) not in (None, False)}
        self._call(node, step, "select", {"store": node.resource, **args}, "read")

    def command(self, node: ast.CommandStep, step: int, pointer: str) -> None:
        if node.command == TRANSACTION_COMMAND:
            self.emit("transaction", step, args=dict(node.args))
            return
        effect = self.effects.get(node.command)
        if effect is None:
            raise UnknownEffect(f"{pointer}: the tool {node.command!r} is not known")
        args = dict(node.args)
        if isinstance(effect, ToolSignature):
            args, effect = deferred(args, effect.arguments_schema), effect.effect_of(args)
        self._call(node, step, node.command, args, effect)

    def _call(
        self, node: ast.FetchStep | ast.CommandStep, step: int, tool: str, args: dict[str, Any], effect: str
    ) -> None:
        if node.database:
            self.databases.add(node.database)
        self.databases.update(databases_of_sides(args))
        self.emit("call", step, tool=tool, args=args, effect=effect, variable=node.variable, database=node.database)

    def script(self, node: ast.ScriptStep, step: int, pointer: str) -> None:
        self.emit(
            "script",
            step,
            script=node.script_name,
            version=node.version,
            args=dict(node.script_args),
            variable=node.variable,
            transaction=node.transaction,
        )


_RULES: Final[Mapping[str, Callable[..., None]]] = {
    "set": _Compiler.set,
    "if": _Compiler.if_,
    "loop": _Compiler.loop,
    "block": _Compiler.block,
    "fetch": _Compiler.fetch,
    "command": _Compiler.command,
    "script": _Compiler.script,
    "say": _Compiler.say,
    "return": _Compiler.return_,
    "fail": _Compiler.fail,
    "break": _Compiler.break_,
    "continue": _Compiler.continue_,
}


def _list_template(value: Any) -> Any:
    """A loop's list as a template: text without braces is an expression (a variable name, most often)."""
    if isinstance(value, str) and "{{" not in value:
        return "{{ " + value + " }}"
    return value


def _reduce(parts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The reduce table: `value` text is an expression with or without braces, `where` a condition."""
    if parts is None:
        return None
    table: dict[str, Any] = {}
    for name, part in parts.items():
        entry = part if isinstance(part, dict) else part.model_dump(exclude_none=True)
        value, where = entry.get("value"), entry.get("where")
        table[name] = {
            "op": entry["op"],
            "value": "{{ " + condition_source(value) + " }}" if isinstance(value, str) else value,
            "where": condition_source(where) if where is not None else None,
            "limit": entry.get("limit"),
        }
    return table


def _names_of_body(code: list[dict[str, Any]]) -> dict[str, Any]:
    """Which variables the instructions of a loop read, and which they assign (sorted lists)."""
    reads: set[str] = set()
    assigns: set[str] = set()
    for position, instruction in enumerate(code):
        linked = link(instruction)
        for name, template in linked.templates.items():
            if not (position == 0 and name == "list"):
                reads |= template.names
        for condition in linked.conditions.values():
            reads |= condition.names
        if position and instruction.get("variable"):
            assigns.add(instruction["variable"])
    return {"reads": sorted(reads), "assigns": sorted(assigns)}
