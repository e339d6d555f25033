"""One tool call of a session: what it takes, who has to decide about it, and performing it.

A call of the model that changes anything is decided by the person; so is a call of the person's own that changes many rows at once, or
whose tool says so. What is mocked has no effect, and nobody is asked; nor has anything in a session that only tries things out (`stub`),
but for what changes the session itself and its drafts: nothing is published, run or deleted there.

Tools of databases take a `database` beside their own arguments: the one of the step, if it were a step; by default that of the session. A
schedule is fixed to the version that was the latest when it was approved, and mocks what the session mocks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from activities.execution import Resources, invoke, perform_call, run_alone, status_alone
from activities.failures import timestamp
from query import SYSTEM
from script.compiler.secrets import named_secrets
from script.environment import SESSION
from script.wire import StepCall, TransactionRef
from toolbox import Tool, ToolContext
from toolbox.access import Access, Scope, check_start, of_arguments, of_call
from toolbox.authoring.desk import Desk
from toolbox.authoring.state import Session, ToolCall
from toolbox.errors import NoDatabase, UnknownTool
from toolbox.outbox import Outbox
from toolbox.vault import Filling

SCHEDULES: Final = "schedule_script"
DIRECT: Final = frozenset({"run_script"})
"""Tools of the session that start something: their calls wait for an approval only if they are the model's."""


@dataclass(frozen=True)
class Doing:
    """A call that is being done: `args` are the tool's own, `database` that of a step."""

    resources: Resources
    session: Session
    asked: ToolCall
    access: Access
    tool: Tool
    args: dict[str, Any]
    database: str | None

    @property
    def key(self) -> str:
        """The call's idempotency key."""
        return f"session/{self.session.id}/{self.asked.id}"

    @property
    def is_of_session(self) -> bool:
        """Whether the tool works on the session itself."""
        return self.tool.effect == SESSION

    @property
    def is_bulk(self) -> bool:
        """Whether it changes all rows of a query."""
        return self.tool.effect == "read" and self.tool.writes(self.args) and not self.args.get("dry_run")

    @property
    def writes(self) -> bool:
        """Whether it changes rows, stores or indexes."""
        return self.tool.effect == "write" or self.is_bulk

    @property
    def has_effect(self) -> bool:
        """Whether something stays of it."""
        return self.writes or self.tool.effect == "external"

    @property
    def secrets(self) -> list[str]:
        """The secrets that it names."""
        return named_secrets(self.args, self.tool.signature).get("secrets", [])


def prepared(resources: Resources, session: Session, asked: ToolCall, access: Access) -> Doing:
    """A call as it can be done. Raises UnknownTool, InvalidArguments, ScriptNotFound."""
    tool = resources.registry.get(asked.tool)
    args = dict(asked.args)
    tool.checked(args)
    if tool.name == SCHEDULES:
        args = _fixed(resources, session, args)
    return Doing(resources, session, asked, access, tool, args, asked.database or session.database)


def _fixed(resources: Resources, session: Session, args: dict[str, Any]) -> dict[str, Any]:
    """A schedule as it is approved: of the version that is the latest now, with what is mocked in the session. The session is told of
    failures."""
    version = resources.library.get(args["script"], args.get("version")).hash
    mocks = sorted({*session.mocks, *(args.get("mocks") or [])})
    told = {**(args.get("notify") or {}), "session": session.id}
    return {**args, "version": version, "notify": told, **({"mocks": mocks} if mocks else {})}


# --- who may, and who decides ---


def check_rights(doing: Doing) -> None:
    """Whether the person's key, narrowed by the grants of the session, may do that. Raises Forbidden, ToolError."""
    tool, what = doing.tool, doing.tool.name
    if tool.effect in ("pure", SESSION):
        return
    needed = set(of_arguments(doing.args))
    if tool.effect != "external" and doing.database is not None:
        needed.add(Scope("data", "read", doing.database))
    if tool.name == SCHEDULES:
        needed.add(Scope("schedules", "write"))
        if doing.args["notify"].keys() & {"channel", "url", "to"}:
            needed.add(Scope("tools", names="notify"))
        programs = doing.resources.library.closure(doing.args["script"], doing.args.get("version"))
        check_start(doing.access, programs, doing.args.get("arguments") or {})
    else:
        databases = [doing.database] if doing.database is not None else []
        needed |= of_call(tool.name, "write" if doing.writes else tool.effect, databases, doing.secrets)
    doing.access.require(*needed, what=what)
    if doing.asked.by == "model" and doing.database == SYSTEM and tool.effect != "external":
        raise UnknownTool("the system's own database is not for the model", hint="name a database of the catalog")


def stand_in(doing: Doing) -> Any:
    """What a call gives that has no effect here, mocked or stubbed; None for all others."""
    binds = doing.is_of_session and doing.tool.needs_approval
    if doing.tool.effect == "pure" or (doing.is_of_session and not (binds and doing.session.stub)):
        return None
    if doing.session.stub:
        return {"stubbed": True, "tool": doing.tool.name, "args": doing.asked.args}
    is_mocked = doing.tool.name in doing.session.mocks or doing.tool.mocked
    if not is_mocked:
        return None
    value = doing.session.mocks.get(doing.tool.name)
    return value if value is not None else doing.tool.seen(Outbox.preview(doing.key, "mocked"))


def is_decided_by_person(doing: Doing) -> bool:
    """Whether it waits for the person's approval."""
    if (doing.tool.needs_approval and doing.tool.name not in DIRECT) or doing.is_bulk or doing.tool.name == SCHEDULES:
        return True
    if doing.tool.needs_approval and doing.asked.by == "model":
        return True
    return doing.asked.by == "model" and doing.has_effect


# --- performing ---


def perform(doing: Doing, *, expect: str | None = None) -> Any:
    """Perform a call of any tool but those of the session; gives its result. Raises what the tool raises.

    A write is done once, however often it is asked for. `expect` is the token of the preview that was approved;
    one that the call has itself is kept.
    """
    args = doing.args if expect is None or doing.args.get("expect") is not None else {**doing.args, "expect": expect}
    if doing.tool.effect == "external":
        return perform_call(doing.resources, step_of(doing, args))
    if doing.writes:
        return perform_call(doing.resources, step_of(doing, args, alone=doing.key))
    if doing.database is None or doing.tool.effect == "pure":
        try:
            return invoke(doing.resources, doing.tool, step_of(doing, args), None)
        except NoDatabase:
            raise _no_database(doing) from None
    if doing.tool.writes(args):  # a preview of its own: it wants a transaction to look in
        return dropped(doing, lambda view: invoke(doing.resources, doing.tool, step_of(doing, args), view))
    snapshot = doing.resources.databases.open(doing.database).snapshot()
    return invoke(doing.resources, doing.tool, step_of(doing, args), snapshot)


def was_performed(doing: Doing) -> bool:
    """Whether the write of this call is committed: by an attempt that was lost before it could tell, after it was approved."""
    if not doing.writes or doing.database is None:
        return False
    database = doing.resources.databases.open(doing.database)
    return status_alone(database, doing.key)[1] == "committed"


def dropped(doing: Doing, work: Any) -> Any:
    """What `work` gives in a transaction of which nothing is kept."""
    reference = _transaction(doing, f"{doing.key}/preview")
    return run_alone(doing.resources, reference, reference.id, True, work)


def step_of(doing: Doing, args: Mapping[str, Any], *, alone: str | None = None) -> StepCall:
    """The call as a step of a run would make it."""
    return StepCall(
        tool=doing.tool.name,
        args=dict(args),
        path=doing.asked.id,
        key=doing.key,
        run_id=f"session-{doing.session.id}",
        now=timestamp(),
        step=doing.asked.id,
        database=doing.database,
        transaction=_transaction(doing, alone) if alone is not None else None,
        scope=_readable(doing),
        secrets=doing.secrets,
    )


def _transaction(doing: Doing, name: str) -> TransactionRef:
    if doing.database is None:
        raise _no_database(doing)
    return TransactionRef(name, doing.database, begin=True, alone=True)


def _no_database(doing: Doing) -> NoDatabase:
    hint = "name one, as database=NAME, or let switch_database say which one is meant; list_databases has them"
    return NoDatabase(f"{doing.tool.name} needs a database", hint=hint)


def _readable(doing: Doing) -> list[str]:
    """The databases that the call may reach."""
    names = doing.resources.databases.names()
    return [name for name in names if name != SYSTEM and doing.access.has(Scope("data", "read", name))]


def context_of(doing: Doing, desk: Desk | None) -> ToolContext:
    """What a tool of the session gets, and what a tool is asked with what it binds."""
    return ToolContext(
        databases=doing.resources.databases,
        database=doing.session.database,
        view=None,
        idempotency_key=doing.key,
        run_id=f"session-{doing.session.id}",
        step=doing.asked.id,
        now=datetime.fromisoformat(timestamp()),
        dry_run=False,
        mocks=frozenset(doing.session.mocks),
        services=doing.resources.services,
        scope=frozenset(_readable(doing)),
        secrets=Filling(),
        session=desk,
    )
