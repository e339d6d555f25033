"""Dispatching the outbox: outside effects that a chunk left in its transaction get out after its commit.

Each row is sent under its key, which is the same at every attempt, and then marked. A crash between sending and marking
sends again under the same key, for the other side to recognise: at least once, with a stable key.
"""

from datetime import datetime
from typing import Any

from activities.execution import Resources
from btree import Transaction
from script.wire import DispatchCall
from toolbox import ToolContext, ToolError
from toolbox.outbox import Outbox
from toolbox.vault import Filling, guarded


def dispatch_outbox(resources: Resources, call: DispatchCall) -> dict[str, Any]:
    """Send what is pending under the call's key prefix; gives {sent, failed}.

    Every row is tried. Raises, at the end, the ToolError of a row whose failure may pass (`retryable`): the next attempt
    finds only what is still pending.
    """
    database = resources.databases.open(call.database)
    counts = {"sent": 0, "failed": 0}
    delayed: ToolError | None = None
    for row in list(Outbox(database.snapshot()).pending(call.prefix)):
        try:
            error = _send(resources, call, row)
        except ToolError as may_pass:
            delayed = may_pass
            continue
        counts["failed" if error else "sent"] += 1

        def mark(transaction: Transaction, key: str = row["key"], error: dict[str, Any] | None = error) -> None:
            Outbox(transaction).mark(key, "failed" if error else "sent", at=call.now, error=error)

        database.transact(mark)
    if delayed is not None:
        raise delayed
    return counts


def _send(resources: Resources, call: DispatchCall, row: dict[str, Any]) -> dict[str, Any] | None:
    context = ToolContext(
        databases=resources.databases,
        database=None,
        view=None,
        idempotency_key=row["key"],
        run_id=call.run_id,
        step=row["step"],
        now=datetime.fromisoformat(call.now),
        dry_run=False,
        mocks=frozenset(),
        services=resources.services,
        scope=frozenset(),
        secrets=Filling(resources.services.vault, frozenset(row.get("secrets", ()))),
    )
    tool = resources.registry.get(row["tool"])
    try:
        guarded(resources.services.vault, lambda: tool.call_sync(context, row["args"]))
    except ToolError as error:
        if error.retryable:
            raise
        return dict(error.to_dict())
    except Exception as error:  # a defect of the tool: it would come again, and hold up the rows behind this one
        return {"code": "internal", "message": f"{type(error).__name__}: {error}", "retryable": False}
    return None
