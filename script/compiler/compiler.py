"""Script -> Program: the tree is flattened, one small rule for each step type.

    if c      branch c ELSE      loop      loop (list, body, END)      block    enter      async step    spawn END
               <then>                       <steps>                              <steps>                  <step>
               jump END                     next                                 leave                    done
    ELSE:      <else>             END:                                                             END:
    END:

A block with a database has its steps between `alone END` and `done`.

What any step may have is put around it, in the order in which errors are handled:

               when c END
               try                              retry, timeout, compensate
               <step>                                                                     guards: retry, catch
               tried FINALLY
               compensation, its steps, done
               <catch>, jump FINALLY            for each catch                            guard: ignore (continue_on_error)
    FINALLY:   finally, its steps, rethrow                                                guard: finally
    END:

Because inner steps are compiled before the guards of the step around them are added, guards stand innermost first. Async steps are
joined at the end of their list, and before a step that reads (or sets) what they set.

A command is compiled with the effect class of its tool (pure, read, write, external): the machine decides with it
whether the step belongs to the transaction, without knowing any tool.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from script.compiler.deferred import databases_of_sides, deferred
from script.compiler.program import Guard, Parameter, Program, StepInfo, names_of
from script.compiler.secrets import named_secrets
from script.environment import ToolSignature
from script.expressions.sources import condition_source, list_template, reduce_table
from script.source import ast
from script.source.loading import script_hash
from script.wire import ASK_ACTIVITY

TRANSACTION_COMMAND: Final = "manage_transaction"


class UnknownEffect(LookupError):
    """A command names a tool whose effect class is not known; the checker reports such a script before."""


def compile_script(script: ast.Script, effects: Mapping[str, str | ToolSignature]) -> Program:
    """Compile a checked script.

    `effects` gives the effect class of each tool by name, or its signature. Called scripts are left unresolved: see
    `Program.with_calls`. Raises UnknownEffect for a tool that is not in `effects`.
    """
    compiler = _Compiler(effects, script.database)
    on_failure = compiler.script_of(script)
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
        on_failure=on_failure,
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


class _Compiler:
    """The instructions made so far, and one method for each step type."""

    def __init__(self, effects: Mapping[str, str | ToolSignature], database: str | None) -> None:
        self.effects = effects
        self.database = database
        self.code: list[dict[str, Any]] = []
        self.infos: list[StepInfo] = []
        self.guards: list[Guard] = []
        self.databases: set[str] = set()
        self._around: str | None = None  # the database of the block around
        self._depth = 0
        self._running: list[dict[int, frozenset[str]]] = []
        self._loops: list[int] = []

    def emit(self, op: str, step: int, **operands: Any) -> int:
        self.code.append({"op": op, "step": step, **operands})
        return len(self.code) - 1

    def patch(self, at: int, operand: str = "to") -> None:
        self.code[at][operand] = len(self.code)

    def steps_of(self, steps: Iterable[ast.Step], *, parent: int, pointer: str) -> None:
        """A list of steps. Its async steps are awaited at its end, or before somebody needs what they set."""
        running: dict[int, frozenset[str]] = {}
        self._running.append(running)
        step = -1
        for position, node in enumerate(steps):
            where = f"{pointer}/{position}"
            if running:
                self._join_needed(node, running, parent, where)
            step = self.step(node, parent, position, where)
        self._running.pop()
        self._join(running, parent, last=step)

    def _join_needed(self, node: ast.Step, running: dict[int, frozenset[str]], parent: int, pointer: str) -> None:
        scratch = _Compiler(self.effects, self.database)
        scratch._running, scratch._loops = [{}], [0]
        scratch.step(node, -1, 0, pointer)
        used = names_of([{"op": "jump", "step": -1}, *scratch.code])
        names = {*used["reads"], *used["assigns"]}
        needed = {step: outputs for step, outputs in running.items() if not names.isdisjoint(outputs)}
        self._join(needed, parent)
        for step in needed:
            del running[step]

    def _join(self, running: Iterable[int], parent: int, last: int = -1) -> None:
        if steps := list(running):
            self.emit("join", parent, of=steps, last=last)

    def _join_all(self, outermost: int, step: int) -> None:
        """Before `step` leaves lists of steps by a jump."""
        self._join([one for running in self._running[outermost:] for one in running], self.infos[step].parent)

    def step(self, node: ast.Step, parent: int, position: int, pointer: str) -> int:
        step = self._declare(node, parent, position, pointer)
        if not node.is_async:
            self._guarded(node, step, pointer)
            return step
        outer, self._running = self._running, []
        spawn = self.emit("spawn", step, touches=False, to=-1)
        self._guarded(node, step, pointer)
        names = frozenset(names_of(self.code[spawn:])["assigns"])
        self.emit("done", step, body=spawn + 1, outputs=sorted(names))
        self.patch(spawn)
        self.code[spawn]["touches"] = node.type != "script" and any(map(self._touches, self.code[spawn:]))
        self._running = outer
        outer[-1][step] = names
        return step

    def _touches(self, code: Mapping[str, Any]) -> bool:
        """Whether an instruction may work on the script's own database."""
        if code["op"] == "call":
            return code["effect"] in ("read", "write") and code["database"] in (None, self.database)
        if code["op"] == "script" and code["database"] not in (None, self.database):
            return False
        return code["op"] == "transaction" or (code["op"] == "script" and not code["is_async"])

    def _guarded(self, node: ast.Step, step: int, pointer: str) -> None:
        """A step with everything around it."""
        start = len(self.code)
        when = self.emit("when", step, condition=condition_source(node.when), to=-1) if node.when else None
        first, jumps = len(self.code), []
        timeout = node.timeout
        if node.type == "wait" and node.approval is not None and node.approval.timeout is not None:
            timeout = node.approval.timeout
        attempted = node.retry is not None or timeout is not None or node.compensate is not None
        if attempted:
            retry = node.retry.model_dump() if node.retry is not None else None
            self.emit("try", step, retry=retry, timeout=timeout, compensate=None)
        body = len(self.code)
        _RULES[node.type](self, node, step, pointer)
        end = len(self.code)
        if attempted:
            jumps.append(self.emit("tried", step, to=-1))
        elif node.catch:
            jumps.append(self.emit("jump", step, to=-1))
        if node.retry is not None:
            self.guards.append(Guard(body, end, first, step, self._depth, "retry"))
        if node.compensate is not None:
            steps = node.compensate if isinstance(node.compensate, list) else [node.compensate]
            many = isinstance(node.compensate, list)
            self.code[first]["compensate"] = self._part(steps, step, f"{pointer}/compensate", many=many)
        for position, handler in enumerate(node.catch or []):
            self.guards.append(Guard(body, end, len(self.code), step, self._depth, "catch", tuple(handler.errors)))
            self.steps_of(handler.steps, parent=step, pointer=f"{pointer}/catch/{position}/steps")
            jumps.append(self.emit("jump", step, to=-1))
        behind = len(self.code)
        for jump in jumps:
            self.patch(jump)
        if node.continue_on_error:
            self.guards.append(Guard(start, behind, behind, step, self._depth, "ignore"))
        if node.finally_ is not None:
            self.emit("finally", step)
            self.steps_of(node.finally_, parent=step, pointer=f"{pointer}/finally")
            self.emit("rethrow", step)
            self.guards.append(Guard(first, behind + 1, behind, step, self._depth, "finally"))
        if when is not None:
            self.patch(when)

    def _part(self, steps: Iterable[ast.Step], step: int, pointer: str, *, many: bool = True) -> int:
        """Steps that are run later, or not at all; gives where they begin. A single one has no position in its pointer."""
        head = self.emit("compensation", step, reads=[], to=-1)
        outside, self._running, self._loops, self._depth = (self._running, self._loops, self._depth), [], [], 0
        if many:
            self.steps_of(steps, parent=step, pointer=pointer)
        else:
            self._running.append({})
            [self.step(node, step, 0, pointer) for node in steps]
            self._join(self._running.pop(), step)
        self._running, self._loops, self._depth = outside
        self.code[head]["reads"] = names_of(self.code[head:])["reads"]
        self.emit("done", step, body=head + 1, outputs=[])
        self.patch(head)
        return head

    def _declare(self, node: ast.Step, parent: int, position: int, pointer: str) -> int:
        name = node.name or f"{node.type}_{position + 1}"
        path = f"{self._path_around(parent, pointer)}/{name}" if parent >= 0 else name
        while any(info.path == path for info in self.infos):
            path += "_"
        self.infos.append(StepInfo(path, name, node.type, parent, pointer))
        return len(self.infos) - 1

    def _path_around(self, parent: int, pointer: str) -> str:
        """What the path of a step begins with. Below a call of a script are the steps of that script."""
        around = self.infos[parent]
        part = pointer.removeprefix(around.pointer).split("/")[1]
        return f"{around.path}.{part}" if around.type == "script" else around.path

    def script_of(self, script: ast.Script) -> int | None:
        """The whole script; gives where its steps for a failed run begin."""
        self.steps_of(script.steps, parent=-1, pointer="/steps")
        self.emit("end", -1)
        return self._part(script.on_failure, -1, "/on_failure") if script.on_failure is not None else None

    # --- one rule for each step type ---

    def set(self, node: ast.SetStep, step: int, pointer: str) -> None:
        self.emit("set", step, variable=node.variable, value=node.value)

    def say(self, node: ast.SayStep, step: int, pointer: str) -> None:
        self.emit("say", step, message=node.message)

    def return_(self, node: ast.ReturnStep, step: int, pointer: str) -> None:
        self._join_all(0, step)
        self.emit("return", step, value=node.value)

    def fail(self, node: ast.FailStep, step: int, pointer: str) -> None:
        self.emit("fail", step, code=node.code, message=node.message)

    def break_(self, node: ast.BreakStep, step: int, pointer: str) -> None:
        self._join_all(self._loops[-1], step)
        self.emit("break", step)

    def continue_(self, node: ast.ContinueStep, step: int, pointer: str) -> None:
        self._join_all(self._loops[-1], step)
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
        if node.database is None:
            self.steps_of(node.steps, parent=step, pointer=f"{pointer}/steps")
        else:
            self._alone(node, step, pointer)
        self.emit("leave", step, variable=node.variable)

    def _alone(self, node: ast.BlockStep, step: int, pointer: str) -> None:
        """The steps of a block on another database."""
        assert node.database is not None
        self.databases.add(node.database)
        head = self.emit("alone", step, database=node.database, to=-1)
        outer, self._around, running, self._running = self._around, node.database, self._running, []
        self.steps_of(node.steps, parent=step, pointer=f"{pointer}/steps")
        self._around, self._running = outer, running
        self.emit("done", step, body=head + 1, outputs=names_of(self.code[head:])["assigns"])
        self.patch(head)

    def loop(self, node: ast.LoopStep, step: int, pointer: str) -> None:
        head = self.emit(
            "loop",
            step,
            list=list_template(node.list),
            iterator=node.iterator,
            index=node.index,
            variable=node.variable,
            batch_size=node.batch_size,
            concurrency=node.concurrency,
            tolerate=node.tolerate_failures,
            **{"while": condition_source(node.while_) if node.while_ is not None else None},
            reduce=reduce_table(node.reduce),
            depth=self._depth,
            end=-1,
        )
        self._depth += 1
        self._loops.append(len(self._running))
        self.steps_of(node.steps, parent=step, pointer=f"{pointer}/steps")
        self._loops.pop()
        self._depth -= 1
        self.code[head]["next"] = self.emit("next", step, loop=head)
        self.patch(head, "end")
        self.code[head] |= names_of(self.code[head:])

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
        self.emit(
            "call",
            step,
            tool=tool,
            args=args,
            effect=effect,
            variable=node.variable,
            database=node.database or self._around,
            **named_secrets(args, self.effects.get(tool)),
        )

    def script(self, node: ast.ScriptStep, step: int, pointer: str) -> None:
        if node.database:
            self.databases.add(node.database)
        self.emit(
            "script",
            step,
            script=node.script_name,
            version=node.version,
            args=dict(node.script_args),
            variable=node.variable,
            transaction=node.transaction,
            is_async=node.is_async,
            database=node.database,
        )

    def ask(self, node: ast.AskStep, step: int, pointer: str) -> None:
        args = {name: value for name in ("prompt", "system", "model") if (value := getattr(node, name)) is not None}
        literal = {"schema": node.schema_} if node.schema_ is not None else {}
        self.emit(
            "call",
            step,
            tool=ASK_ACTIVITY,
            args=args,
            literal=literal,
            effect="external",
            variable=node.variable,
            database=None,
        )

    def wait(self, node: ast.WaitStep, step: int, pointer: str) -> None:
        approval = node.approval.model_dump(include={"by", "prompt"}) if node.approval is not None else None
        self.emit("wait", step, duration=node.duration, until=node.until, approval=approval, variable=node.variable)


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
    "wait": _Compiler.wait,
    "ask": _Compiler.ask,
}
