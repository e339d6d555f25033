"""A stand-in for the product's pipeline, for the scripted baseline: the same records, made with as little as will do.

It keeps the rules that the evals are about: reads are performed; what changes, publishes, schedules, runs or reaches outside waits
for the person; a question, and what waits, ends the turn; the person's slash commands are read by `toolbox.authoring.commands`. What it
does not have (a prompt, budgets, recording, a log that outlives it) is the product's.
"""

import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

from activities.execution import invoke, run_alone
from activities.failures import error_of
from evals.case import Case
from evals.outcome import Record
from evals.pipeline import Answers
from evals.properties import EFFECTS
from evals.samples import NOW, a_copy, changes, rows_now
from evals.trials import Bench
from script.errors import ScriptInvalid
from script.wire import ROWS, StepCall, TransactionRef, is_rows
from toolbox.authoring.commands import Answer, Decision, is_command, parse
from toolbox.authoring.state import Pending, Session
from toolbox.errors import InvalidArguments, ToolError

ROUNDS: Final = 16


class StandIn:
    """See `evals.pipeline.Pipeline`."""

    def __init__(self, case: Case, model: Answers) -> None:
        self._stack = ExitStack()
        self._samples = list(case.samples)
        self._resources = self._stack.enter_context(a_copy(self._samples))
        for script in case.published:
            self._resources.library.save(script)
        self._model = model
        self._session = Session("eval", "person", NOW, NOW, database=case.database or case.samples[0])
        self._drafts: dict[str, dict[str, Any]] = {}
        self._calls: dict[str, tuple[str, dict[str, Any]]] = {}
        self._published: list[str] = []
        self._before = rows_now(self._resources.databases, self._samples)
        self._records: list[Record] = []
        self._said = 0

    # --- evals.pipeline.Pipeline ---

    def say(self, text: str) -> Sequence[Record]:
        self._records = []
        self._session.turn += 1
        self._tell("user", text=text)
        if is_command(text):
            self._command(text)
        else:
            self._model.begin(self._said)
            self._turn()
        self._said += 1
        self._tell("turn", status="waiting" if self._session.pending else "completed")
        return list(self._records)

    def scripts(self) -> Mapping[str, tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]:
        return {name: (script, self._problems(script)) for name, script in self._drafts.items()}

    def changed(self) -> Mapping[str, Mapping[str, int]]:
        return changes(self._before, rows_now(self._resources.databases, self._samples))

    def published(self) -> Sequence[str]:
        return list(self._published)

    def close(self) -> None:
        self._stack.close()

    # --- a turn ---

    def _turn(self) -> None:
        for _ in range(ROUNDS):
            reply = self._model.next(self._records)
            if reply.text:
                self._tell("text", text=reply.text, model="scripted")
            waits = [self._call(tool, args, "model") for tool, args in reply.calls]
            if not reply.calls or any(waits):
                return

    def _command(self, text: str) -> None:
        try:
            found = parse(text, self._session, self._resources.registry)
        except ToolError as error:
            self._tell("notice", text=error.message, code=error.code)
            return
        if isinstance(found, Decision):
            self._decide(found)
        elif isinstance(found, Answer):
            self._tell("text", text=found.text, model=None)
        else:
            for tool, args in found.calls:
                self._call(tool, args, "person")

    def _call(self, tool: str, args: dict[str, Any], by: str) -> bool:
        """Do what can be done without the person; gives whether the turn ends with it."""
        name = f"c{len(self._calls) + 1}"
        self._calls[name] = tool, args
        self._tell("tool_call", call=name, tool=tool, args=args, by=by)
        try:
            if tool == "ask_person":
                self._tell("card", card="question", question=args["question"])
                self._result(name, {})
                return True
            if self._has_effect(tool, args):
                self._wait(name, tool, args)
                return True
            self._result(name, self._authoring(tool, args) if tool in _AUTHORING else self._read(name, tool, args))
        except Exception as error:
            known = error_of(error)
            if known is None:
                raise
            self._tell("tool_result", call=name, tool=tool, status="failed", error=known)
        return False

    def _has_effect(self, tool: str, args: Mapping[str, Any]) -> bool:
        if tool in EFFECTS:
            return True
        return (
            self._resources.registry.get(tool).writes(args) and not args.get("dry_run")
            if tool not in _AUTHORING
            else False
        )

    # --- what waits for the person ---

    def _wait(self, name: str, tool: str, args: dict[str, Any]) -> None:
        preview = self._read(name, tool, {**args, "dry_run": True}) if tool in ("select", "join") else {}
        waiting = Pending(f"a{name}", name, "", f"{tool} {args}", self._session.turn)
        self._session.pending.append(waiting)
        self._tell("card", card="approval", approval=waiting.id, call=name, tool=tool, args=args, preview=preview)
        self._tell("tool_result", call=name, tool=tool, status="waiting")

    def _decide(self, decision: Decision) -> None:
        waiting = next(each for each in self._session.pending if each.id == decision.approval)
        self._session.pending.remove(waiting)
        tool, args = self._calls[waiting.call]
        self._tell("card", card="decision", approval=waiting.id, approved=decision.approved)
        if not decision.approved:
            self._tell("tool_result", call=waiting.call, tool=tool, status="rejected")
        elif tool == "publish_script":
            saved = self._resources.library.save(self._drafts[next(reversed(self._drafts))])
            self._published.append(saved.name)
            self._result(waiting.call, {"name": saved.name, "version": saved.hash})
        elif self._resources.registry.get(tool).effect == "external":
            self._result(waiting.call, {"status": "mocked"})
        else:
            self._result(waiting.call, self._write(waiting.call, tool, args))

    # --- performing ---

    def _read(self, name: str, tool: str, args: dict[str, Any]) -> Any:
        if args.get("action") is not None:
            return self._write(name, tool, args, dropped=True)
        database, own = self._database(args)
        view = self._resources.databases.open(database).snapshot()
        return invoke(self._resources, self._resources.registry.get(tool), self._step(name, tool, own, database), view)

    def _write(self, name: str, tool: str, args: dict[str, Any], *, dropped: bool = False) -> Any:
        database, own = self._database(args)
        found, step = self._resources.registry.get(tool), self._step(name, tool, own, database)
        reference = TransactionRef(uuid.uuid4().hex, database, begin=True, alone=True)
        work = lambda view: invoke(self._resources, found, step, view)  # noqa: E731
        return run_alone(self._resources, reference, reference.id, dropped, work)

    def _database(self, args: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        own = dict(args)
        return str(own.pop("database", None) or self._session.database), own

    def _step(self, name: str, tool: str, args: dict[str, Any], database: str) -> StepCall:
        return StepCall(
            tool=tool,
            args=args,
            path=name,
            key=uuid.uuid4().hex,
            run_id="eval",
            now=NOW,
            step=name,
            database=database,
            scope=self._samples,
        )

    def _authoring(self, tool: str, args: dict[str, Any]) -> Any:
        if tool == "create_script":
            if not isinstance(args.get("name"), str):
                raise InvalidArguments("create_script needs the argument 'name'")
            self._keep({"steps": [], **args})
        elif tool == "set_fields":
            self._keep({**self._draft(), **args["fields"]})
        elif tool == "save_step":
            self._keep({**self._draft(), "steps": [*self._draft()["steps"], args["step"]]})
        elif tool == "open_draft":
            self._keep(self._drafts.get(args["script"]) or self._resources.library.get(args["script"]).script)
        elif tool == "dry_run":
            return self._dry_run(args.get("script"), args.get("arguments") or {})
        elif tool == "mock_tool":
            self._session.mocks[args["tool"]] = args.get("result")
            return {"mocked": args["tool"]}
        draft = self._draft()
        return {"script": draft, "problems": self._problems(draft)}

    def _dry_run(self, name: str | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
        published = {
            row["name"]: self._resources.library.get(row["name"]).script for row in self._resources.library.scripts()
        }
        bench = Bench({**published, **self._drafts}.values(), self._samples)
        try:
            ran = bench.run(name or str(self._draft()["name"]), arguments)
        finally:
            bench.close()
        return {"status": ran.status, "result": ran.value, "error": ran.error}

    def _keep(self, script: Mapping[str, Any]) -> None:
        """The draft that was edited last is the last one."""
        self._drafts.pop(str(script["name"]), None)
        self._drafts[str(script["name"])] = dict(script)

    def _draft(self) -> dict[str, Any]:
        if not self._drafts:
            raise InvalidArguments("no draft is open")
        return self._drafts[next(reversed(self._drafts))]

    def _problems(self, script: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """What the checker says; a script that is a draft here as well is there."""
        try:
            problems = self._resources.library.check(script)[1]
        except ScriptInvalid as invalid:
            problems = list(invalid.problems)
        drafts = [f"'{name}'" for name in self._drafts]
        return [
            each.to_dict()
            for each in problems
            if each.severity == "error"
            and not (each.code == "unknown_script" and any(name in each.message for name in drafts))
        ]

    # --- records ---

    def _tell(self, type: str, **fields: Any) -> None:
        self._records.append({"turn": self._session.turn, "type": type, **fields})

    def _result(self, call: str, result: Any) -> None:
        rows = result
        if is_rows(result):
            raise ValueError(
                f"the samples are small, and {self._calls[call][0]} gives a reference to rows: {result[ROWS]}"
            )
        self._tell("tool_result", call=call, tool=self._calls[call][0], status="done", result=rows)


_AUTHORING: Final = frozenset(
    {"create_script", "set_fields", "save_step", "open_draft", "mock_tool", "show_draft", "dry_run"}
)
