"""A chunk of a batch: the body of a loop for a few hundred rows, in one transaction with its ledger entry.

The rows come from the snapshot that the row reference names, so every chunk of a batch sees the same data whatever is
written meanwhile; the body reads and writes in the chunk's own transaction. The chunk's answer (counts, partial
reductions, where to go on) is recorded in the transaction's journal by the commit: a chunk that is asked for again
after a crash gives its recorded answer, and no row is done twice.

Outside effects of the body are rows of the outbox in the same transaction. They get out after the commit.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson

from activities.asking import perform_ask
from activities.errors import ChunkFailed
from activities.execution import (
    Resources,
    end_transaction,
    invoke,
    perform_call,
    restore_savepoint,
    run_alone,
)
from activities.failures import error_of
from btree import StorageError, Transaction
from query import QueryError, reference_page
from script.effects import Effect
from script.local import IterationFailed, Iterations
from script.program import Program
from script.wire import ASK_ACTIVITY, ROWS, ChunkCall, EndTransaction, Outcome, StepCall, TransactionRef, is_rows
from toolbox import ToolError
from toolbox.outbox import Outbox

Heartbeat = Callable[[int], None]


def run_chunk(resources: Resources, call: ChunkCall, heartbeat: Heartbeat) -> dict[str, Any]:
    """Run one chunk; see `script.batches` for the answer's shape.

    Raises ChunkFailed when the body fails for an element (nothing of the chunk is kept), Conflict when it could not be
    committed. `heartbeat` is called with the number of elements done, and may raise to stop.
    """
    programs = {program.hash: program for program in resources.library.resolved(call.calls)}
    if call.transaction is None:
        return _Chunk(resources, programs, call, None, heartbeat).run()
    if not call.transaction.alone:
        raise ValueError("a chunk outside of a chunk has a transaction of its own")
    answer: dict[str, Any] = run_alone(
        resources,
        call.transaction,
        call.key,
        call.dry_run,
        lambda view: _Chunk(resources, programs, call, view, heartbeat).run(),
    )
    return answer


class _Chunk:
    """One chunk being run."""

    def __init__(
        self,
        resources: Resources,
        programs: dict[str, Program],
        call: ChunkCall,
        view: Transaction | None,
        heartbeat: Heartbeat,
    ) -> None:
        self._resources = resources
        self._programs = programs
        self._call = call
        self._view = view
        self._heartbeat = heartbeat
        self._outbox = 0
        self._results: list[str] = []

    def run(self) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        try:
            answer = self._run()
        finally:
            self._give_back(answer)
        return answer

    def _run(self) -> dict[str, Any]:
        elements, after = self._elements()
        iterations = Iterations(self._programs, self._call)
        processed = 0
        try:
            for processed in iterations.run(elements, self._perform):
                if processed % 50 == 0:
                    self._heartbeat(processed)
        except IterationFailed as failure:
            raise ChunkFailed({**failure.error, "ordinal": failure.ordinal}) from failure
        return {
            "processed": processed,
            "failed": 0,
            "after": after,
            "done": after is None,
            "stopped": iterations.stopped,
            "reduced": iterations.reduced,
            "outbox": self._outbox,
        }

    def _elements(self) -> tuple[list[Any], str | None]:
        """The chunk's elements, and where the next chunk goes on (None: this is the last)."""
        call = self._call
        if call.items is not None:
            return call.items, str(call.offset + call.size) if len(call.items) == call.size else None
        assert call.rows is not None
        after = bytes.fromhex(call.after) if call.after else None
        records, following = reference_page(
            self._resources.databases, call.rows, after=after, limit=call.size, done=call.offset
        )
        return records, following.hex() if following is not None else None

    def _perform(self, effect: Effect) -> Outcome:
        """Perform an effect of the body; its errors are outcomes, so that the body may go on with them.

        What may pass (a busy or full disk, a conflict) is not the body's business: the whole chunk is tried again.
        """
        try:
            return Outcome(self._effect(effect))
        except Exception as error:
            known = error_of(error)
            if known is None or known.get("retryable"):
                raise
            return Outcome(None, known)

    def _effect(self, effect: Effect) -> Any:
        if effect.kind == "call":
            reference = effect.call["transaction"]
            step = StepCall(**{**effect.call, "transaction": TransactionRef(**reference) if reference else None})
            return self._step(step)
        if effect.kind == "child":
            raise ToolError(
                f"the script {effect.call['script']} has a transaction of its own, which a batch cannot repeat safely yet",
                hint='call it with "transaction": "inherit" (same database), or loop without batch_size over fewer rows',
            )
        if effect.kind == "chunk":
            return self._inner_chunk(effect)
        raise ValueError(f"the effect {effect.kind} cannot stand in the body of a batch")

    def _step(self, step: StepCall) -> Any:
        if step.tool == ASK_ACTIVITY:  # the body needs the answer; a chunk that is tried again asks again
            return perform_ask(self._resources, step).value
        tool = self._resources.registry.get(step.tool)
        if step.transaction is not None and step.transaction.alone:
            return run_alone(
                self._resources,
                step.transaction,
                step.key,
                step.dry_run,
                lambda view: invoke(self._resources, tool, step, view),
            )
        if tool.effect == "external":
            return self._outside(step)
        result = invoke(self._resources, tool, step, self._view)
        if is_rows(result) and "result" in result[ROWS]:
            self._results.append(result[ROWS]["result"])
        return result

    def _give_back(self, answer: dict[str, Any]) -> None:
        """Remove the rows that were written down for the body, but for those that the answer carries out: what it set is gone."""
        carried = orjson.dumps(answer).decode()
        for name in self._results:
            if name not in carried:
                with suppress(StorageError):  # the sweep takes it later
                    self._resources.databases.results.remove(name)

    def _outside(self, step: StepCall) -> Any:
        """An outside call becomes a row of the outbox, mocked or pending."""
        tool = self._resources.registry.get(step.tool)
        args = tool.checked(step.args)
        if self._view is None:
            raise QueryError(
                "a batch with outside calls needs a database for its outbox", hint='give the script a "database"'
            )
        mocked = step.tool in step.mocks or step.dry_run
        if not mocked:
            self._outbox += 1
        outbox = Outbox(self._view)
        return outbox.put(
            key=step.key, tool=step.tool, args=args, run_id=step.run_id, step=step.path, now=step.now, mocked=mocked
        )

    def _inner_chunk(self, effect: Effect) -> Any:
        """A batch inside of a batch: in the same transaction."""
        reference = effect.call["transaction"]
        call = ChunkCall(**{**effect.call, "transaction": TransactionRef(**reference) if reference else None})
        inner = _Chunk(self._resources, self._programs, call, self._view, self._heartbeat)
        answer = inner.run()
        self._outbox += answer["outbox"]
        return answer | {"outbox": 0}


def perform(resources: Resources, effect: Effect, heartbeat: Heartbeat) -> Any:
    """Perform any effect of a machine right here, as the activities do, one function call each.

    Raises what the effect's function raises.
    """
    call = dict(effect.call)
    if isinstance(call.get("transaction"), dict):
        call["transaction"] = TransactionRef(**call["transaction"])
    if effect.kind == "call" and call["tool"] == ASK_ACTIVITY:
        return perform_ask(resources, StepCall(**call)).value
    if effect.kind == "call":
        return perform_call(resources, StepCall(**call))
    if effect.kind in ("commit", "rollback"):
        return end_transaction(resources, EndTransaction(**call), commit=effect.kind == "commit")
    if effect.kind == "restore":
        return restore_savepoint(resources, EndTransaction(**call))
    if effect.kind == "chunk":
        return run_chunk(resources, ChunkCall(**call), heartbeat)
    raise ValueError(f"the effect {effect.kind} cannot be performed here")
