"""Performing effects: a step's call, the end of a transaction, a chunk of a batch, the dispatch of an outbox.

Everything here is synchronous and knows nothing of Temporal, so that the same code serves an activity, the iterations of
a chunk and a test. Three rules make effects happen once although steps are tried again:

* A writing step records its result under its key in the same SQLite commit as its pages (`Transaction.save`). A
  repeated step finds the recorded result and changes nothing.
* A step that stands alone, and a chunk, commit together with their result. After a crash the transaction's
  journal says whether it happened.
* An outside call gets a key that is the same in every attempt; inside a chunk it is written to the outbox in the chunk's
  transaction, and sent after the commit.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import orjson

from activities.errors import TransactionLost
from agent import Model
from btree import Conflict, Database, Snapshot, Transaction, TransactionEnded, TransactionNotFound
from query import Databases
from script.wire import EndTransaction, StepCall, TransactionRef
from toolbox import Registry, ScriptLibrary, Services, Tool, ToolContext
from toolbox.authoring.conversations import Conversations
from toolbox.authoring.state import Limits
from toolbox.outbox import Outbox
from toolbox.vault import Filling, guarded

ALONE_ATTEMPTS = 5
LEASE_SECONDS = 7 * 86_400.0
"""A run's open transaction is rolled back so long after its last step."""


@dataclass(frozen=True)
class Resources:
    """What effects are performed with.

    `limits` are the most that any session has; `mocked` tools give these results, and do nothing.
    """

    databases: Databases
    registry: Registry
    library: ScriptLibrary
    services: Services
    lease_seconds: float = LEASE_SECONDS
    model: Model | None = None
    limits: Limits = field(default_factory=Limits)
    mocked: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def conversations(self) -> Conversations:
        """The sessions."""
        return Conversations(self.databases)


def perform_call(resources: Resources, call: StepCall) -> Any:
    """Perform one tool call in the transaction that it belongs to; gives the tool's result.

    Raises BTreeError, QueryError or ToolError; a Conflict only where a step that stands alone could not be committed.
    """
    tool = resources.registry.get(call.tool)
    if call.transaction is None:
        return _without_transaction(resources, tool, call)
    if call.transaction.alone:
        return run_alone(
            resources, call.transaction, call.key, call.dry_run, lambda view: invoke(resources, tool, call, view)
        )
    view = open_member(resources, call.transaction)
    recorded = view.recorded(call.key)
    if recorded is not None:
        return orjson.loads(recorded)
    for name in call.savepoints:
        if name not in view.savepoints():
            view.savepoint(name)
    try:
        result = invoke(resources, tool, call, view)
    except BaseException:
        view.discard()
        raise
    if tool.effect == "write" or view.has_unsaved:
        view.save(call.key, orjson.dumps(result))
    elif view.has_unsaved_reads:
        view.save()  # what was read is of the transaction: its commit looks whether others have changed it
    return result


def is_mocked(tool: Tool, call: StepCall) -> bool:
    """Whether a call is written down, and never made: its tool is mocked in this run, or a stand-in."""
    return tool.effect == "external" and (tool.mocked or call.tool in call.mocks)


def into_outbox(view: Snapshot | Transaction, call: StepCall, args: dict[str, Any], *, mocked: bool) -> Any:
    """Write an outside call down instead of making it; gives what stands for its result."""
    return Outbox(view).put(
        key=call.key,
        tool=call.tool,
        args=args,
        run_id=call.run_id,
        step=call.path,
        now=call.now,
        mocked=mocked,
        secrets=call.secrets,
    )


def invoke(resources: Resources, tool: Tool, call: StepCall, view: Snapshot | Transaction | None) -> Any:
    """Call the tool's function, or its stand-in: a mocked outside call becomes a row of the outbox."""
    if call.tool in resources.mocked:
        tool.checked(call.args)
        return resources.mocked[call.tool]
    if tool.effect == "external" and (call.dry_run or is_mocked(tool, call)):
        args = tool.checked(call.args)
        if call.dry_run or view is None:
            return tool.seen(Outbox.preview(call.key))
        return tool.seen(into_outbox(view, call, args, mocked=True))
    context = ToolContext(
        databases=resources.databases,
        database=call.database,
        view=view,
        idempotency_key=call.key,
        run_id=call.run_id,
        step=call.path,
        now=datetime.fromisoformat(call.now),
        dry_run=call.dry_run,
        mocks=frozenset(call.mocks),
        services=resources.services,
        scope=frozenset(call.scope),
        scheduled_at=call.scheduled_at,
        secrets=Filling(resources.services.vault, frozenset(call.secrets)),
    )
    vault = resources.services.vault if tool.effect == "external" else None
    return guarded(vault, lambda: tool.call_sync(context, call.args))


def _without_transaction(resources: Resources, tool: Tool, call: StepCall) -> Any:
    """A call outside of any transaction; where it is mocked, the outbox is that of the system database."""
    if is_mocked(tool, call) and not call.dry_run:
        transaction = TransactionRef(id=f"{call.key}/outbox", database="system", begin=True, alone=True)
        return run_alone(resources, transaction, call.key, False, lambda view: invoke(resources, tool, call, view))
    return invoke(resources, tool, call, None)


def open_member(resources: Resources, reference: TransactionRef) -> Transaction:
    """The run's open transaction: begun by its first step, found again by the others.

    Raises TransactionLost when it is not there any more.
    """
    database = resources.databases.open(reference.database)
    try:
        if reference.begin:
            return database.begin(reference.id, isolation=reference.isolation, lease_seconds=resources.lease_seconds)
        return database.resume(reference.id)
    except (TransactionNotFound, TransactionEnded) as error:
        raise TransactionLost(f"the transaction {reference.id} is not open any more: {error}") from error


def run_alone(
    resources: Resources, reference: TransactionRef, key: str, dry_run: bool, work: Callable[[Transaction], Any]
) -> Any:
    """Run `work` in a transaction of its own that commits together with the result, once however often it is asked for.

    A conflict runs the work again; after `ALONE_ATTEMPTS` Conflict is raised.
    """
    database = resources.databases.open(reference.database)
    number, conflicts = 1, 0
    while True:
        name = reference.id if number == 1 else f"{reference.id}~{number}"
        state = database.status(name).state
        if state == "committed":
            recorded = database.recorded(name, key)
            return orjson.loads(recorded) if recorded is not None else None
        if state == "rolled_back":
            number += 1
            continue
        if state == "open" and (begun := _taken_up(database, name)) is not None:
            begun.rollback()  # an attempt that was lost had marked places in it: what it did is not known here
            continue
        try:
            transaction = database.begin(name, isolation=reference.isolation, durable=False)
        except TransactionEnded:
            continue
        try:
            result = work(transaction)
            if dry_run:
                transaction.rollback()
            else:
                transaction.commit(key, orjson.dumps(result))
        except Conflict:
            transaction.rollback()
            conflicts += 1
            if conflicts == ALONE_ATTEMPTS:
                raise
        except TransactionEnded:
            continue  # another attempt of this very step ended it meanwhile: its outcome is ours
        except BaseException:
            transaction.rollback()
            raise
        else:
            recorded = None if dry_run else database.recorded(name, key)
            return orjson.loads(recorded) if recorded is not None else result


def has_committed(resources: Resources, reference: TransactionRef) -> bool:
    """Whether `run_alone` has done its work in this transaction, or in one that stands for it after a conflict."""
    database, number = resources.databases.open(reference.database), 1
    while True:
        state = database.status(reference.id if number == 1 else f"{reference.id}~{number}").state
        if state != "rolled_back":
            return state == "committed"
        number += 1


def _taken_up(database: Database, name: str) -> Transaction | None:
    """The open transaction of an attempt that was lost, where it has savepoints."""
    with suppress(TransactionEnded, TransactionNotFound):
        transaction = database.resume(name)
        return transaction if transaction.savepoints() else None
    return None


def end_transaction(resources: Resources, call: EndTransaction, *, commit: bool) -> dict[str, Any]:
    """Commit (once, however often it is asked for) or roll back. Raises Conflict, or TransactionLost where nothing is there to commit."""
    database = resources.databases.open(call.transaction.database)
    state = database.status(call.transaction.id)
    if state.state == "committed":
        return {"version": state.version, "state": "committed"}
    if state.state != "open":
        if commit:
            raise TransactionLost(f"the transaction {call.transaction.id} is not open any more")
        return {"version": None, "state": "rolled_back"}
    transaction = database.resume(call.transaction.id)
    if not commit:
        transaction.rollback()
        return {"version": None, "state": "rolled_back"}
    try:
        version = transaction.commit()
    except Conflict:
        transaction.rollback()
        raise
    return {"version": version.seq, "state": "committed"}


def restore_savepoint(resources: Resources, call: EndTransaction) -> dict[str, Any]:
    """Undo what was written since a savepoint, once however often it is asked for. Nothing to undo where it was never marked."""
    transaction = open_member(resources, call.transaction)
    if call.savepoint is not None and call.savepoint in transaction.savepoints():
        transaction.rollback_to(call.savepoint)
    return {"savepoint": call.savepoint}
