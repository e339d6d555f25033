"""A chunk of a batch: the body of a loop for a few hundred rows, in one transaction with its ledger entry.

The rows come from the snapshot that the row reference names, so every chunk of a batch sees the same data whatever is
written meanwhile; the body reads and writes in the chunk's own transaction. The chunk's answer (counts, partial
reductions, where to go on) is recorded in the transaction's journal by the commit: a chunk that is asked for again
after a crash gives its recorded answer, and no row is done twice.

Outside effects of the body are rows of the outbox in the same transaction. They get out after the commit.
"""

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

import orjson

from activities.again import choose
from activities.asking import perform_ask
from activities.elements import Elements, Heartbeat
from activities.errors import ChunkFailed, WaitInBatch
from activities.execution import (
    Resources,
    end_transaction,
    into_outbox,
    invoke,
    is_mocked,
    perform_call,
    restore_savepoint,
    run_alone,
)
from activities.failures import error_of
from btree import StorageError, Transaction
from query import QueryError, open_store, reference_page, reference_places
from script.compiler.program import Program
from script.machine.effects import Effect
from script.machine.local import Iterations
from script.wire import (
    ASK_ACTIVITY,
    MAX_WIRE_BYTES,
    ROWS,
    ChunkCall,
    EndTransaction,
    Outcome,
    PartitionCall,
    StepCall,
    TransactionRef,
    is_rows,
    wire_size,
)
from toolbox import ToolError
from toolbox.ledger import record_failures

MAX_SLEEP: Final = 60
"""Seconds that a step in the body of a batch may wait: its transaction is open meanwhile."""
_LOOK: Final = 1.0


def run_chunk(resources: Resources, call: ChunkCall, heartbeat: Heartbeat) -> dict[str, Any]:
    """Run one chunk; see `script.machine.batches` for the answer's shape.

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


def partition(resources: Resources, call: PartitionCall) -> dict[str, Any]:
    """Where the rows of a reference may be divided: {places: [[ordinal, place in hex], ...]}; fewer places where they are too long."""
    after = bytes.fromhex(call.after) if call.after else None
    found = reference_places(resources.databases, call.rows, every=call.every, after=after, done=call.offset)
    places = [(call.offset + (number + 1) * call.every, place.hex()) for number, place in enumerate(found)]
    while wire_size(places) > MAX_WIRE_BYTES // 2:
        places = places[1::2]
    return {"places": places}


class _Chunk:
    """One chunk being run."""

    def __init__(
        self,
        resources: Resources,
        programs: dict[str, Program],
        call: ChunkCall,
        view: Transaction | None,
        heartbeat: Heartbeat,
        *,
        inner: bool = False,
    ) -> None:
        self._resources = resources
        self._programs = programs
        self._call = call
        self._view = view
        self._heartbeat = heartbeat
        self._inner = inner
        self._outbox = self._marked_outbox = 0
        self._mark: str | None = None
        self._results: list[str] = []
        self.wrote = False

    def run(self) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        try:
            answer = self._run()
        finally:
            self._give_back(answer)
        return answer

    def _run(self) -> dict[str, Any]:
        chosen = choose(self._resources, self._call) if self._call.again is not None else None
        elements, after = self._elements() if chosen is None else (chosen.elements, chosen.after)
        iterations = Iterations(self._programs, self._call, chosen.ordinals if chosen is not None else None)
        run = Elements(iterations, elements, self._perform, self._heartbeat)
        tolerate = self._call.tolerate
        if tolerate is not None and (self._inner or _may_save(self._programs.values())):
            self.mark(0)
        run.run(self if tolerate is not None else None, tolerate or 0)
        if run.failures and tolerate is None:
            position, error = next(iter(run.failures.items()))
            raise ChunkFailed({**error, "ordinal": iterations.ordinal(position)})
        gone = chosen.gone if chosen is not None else []
        self._record(elements, run.failures, iterations, gone)
        answer = {
            "processed": run.processed + len(gone),
            "failed": len(run.failures) + len(gone),
            "after": after,
            "done": after is None,
            "stopped": run.stopped,
            "reduced": iterations.reduced,
            "outbox": self._outbox,
        }
        return answer | (chosen.progress() if chosen is not None else {})

    # --- elements that fail ---

    def mark(self, position: int) -> None:
        """Make what was written until here stay, within the transaction."""
        assert self._view is not None
        self._mark = f"{self._call.key}/{position}"
        self._marked_outbox = self._outbox
        self._view.savepoint(self._mark)

    def undo(self) -> None:
        """Forget what was written since the last mark."""
        assert self._view is not None
        if self._mark is None:
            self._view.discard()
        else:
            self._view.rollback_to(self._mark)
        self._outbox = self._marked_outbox

    def _record(
        self,
        elements: list[Any],
        failures: dict[int, dict[str, Any]],
        iterations: Iterations,
        gone: list[dict[str, Any]],
    ) -> None:
        """Write the elements that failed into the ledger."""
        if not (failures or gone) or self._view is None:
            return
        call = self._call
        fields = self._key_fields() if failures else ()
        rows = [
            {"ordinal": iterations.ordinal(at), "key": _key_of(elements[at], fields), "error": failures[at]}
            for at in sorted(failures)
        ]
        record_failures(self._view, call.run_id, call.step, call.now, [*rows, *gone])

    def _key_fields(self) -> tuple[str, ...]:
        rows = self._call.rows
        if rows is None or "store" not in rows:
            return ()
        version = rows["version"] if self._call.again is None else None
        snapshot = self._resources.databases.open(rows["database"]).snapshot(version)
        return tuple(open_store(snapshot, rows["store"]).info.primary_key)

    # --- what elements do ---

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
            return Outcome(self._effect(effect), None, effect.call.get("until"))
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
        if effect.kind == "restore":
            assert self._view is not None
            self._view.rollback_to(effect.call["savepoint"])
            return None
        if effect.kind == "approval":
            raise WaitInBatch(
                "an approval inside of a batch", hint="ask before the loop, or loop without batch_size over fewer rows"
            )
        if effect.kind in ("sleep", "timer"):
            self._sleep(effect.call["seconds"])
            return None
        raise ValueError(f"the effect {effect.kind} cannot stand in the body of a batch")

    def _sleep(self, seconds: float) -> None:
        """Wait within the chunk, and look now and then whether the run was cancelled."""
        if seconds > MAX_SLEEP:
            hint = "wait before the loop, or loop without batch_size over fewer rows"
            raise WaitInBatch(f"a wait of {seconds:g} s inside of a batch, where {MAX_SLEEP} s are the most", hint=hint)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK))
            self._heartbeat(0)

    def _step(self, step: StepCall) -> Any:
        if step.tool == ASK_ACTIVITY:  # the body needs the answer; a chunk that is tried again asks again
            return perform_ask(self._resources, step).value
        tool = self._resources.registry.get(step.tool)
        if self._view is not None:
            for name in step.savepoints:
                self._view.savepoint(name)
        self.wrote = self.wrote or tool.effect == "external" or tool.writes(step.args)
        if step.transaction is not None and step.transaction.alone:
            return run_alone(
                self._resources,
                step.transaction,
                step.key,
                step.dry_run,
                lambda view: invoke(self._resources, tool, step, view),
            )
        if tool.effect == "external" and step.tool not in self._resources.mocked:
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
        mocked = is_mocked(tool, step) or step.dry_run
        if not mocked:
            self._outbox += 1
        return tool.seen(into_outbox(self._view, step, args, mocked=mocked))

    def _inner_chunk(self, effect: Effect) -> Any:
        """A batch inside of a batch: in the same transaction."""
        reference = effect.call["transaction"]
        call = ChunkCall(**{**effect.call, "transaction": TransactionRef(**reference) if reference else None})
        self.wrote = True
        inner = _Chunk(self._resources, self._programs, call, self._view, self._heartbeat, inner=True)
        answer = inner.run()
        self._outbox += answer["outbox"]
        return answer | {"outbox": 0}


def _key_of(element: Any, fields: tuple[str, ...]) -> Any:
    """The key of a row, as its store's `get` takes it; of a text or a number, itself; null where there is none."""
    if not isinstance(element, dict):
        return element if isinstance(element, str | int | float) else None
    if not fields or not all(field in element for field in fields):
        return None
    return element[fields[0]] if len(fields) == 1 else [element[field] for field in fields]


def _may_save(programs: Iterable[Program]) -> bool:
    """Whether steps of a body may mark places of their own, which makes what was written before them stay."""
    return any(
        (code["op"] == "try" and code["retry"] is not None)
        or (code["op"] == "loop" and code.get("tolerate") is not None)
        for program in programs
        for code in program.code
    )


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
    if effect.kind == "partition":
        return partition(resources, PartitionCall(**call))
    if effect.kind == "chunk":
        return run_chunk(resources, ChunkCall(**call), heartbeat)
    raise ValueError(f"the effect {effect.kind} cannot be performed here")
