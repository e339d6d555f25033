"""Runs: start, call, follow, look, handle; and the decisions that they wait for."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.client.following import PATIENCE, RunEvents, address, unbroken
from gateway.client.models import Approval, Run, Started
from gateway.client.transport import Transport, given, part


class Runs:
    """The runs of an installation."""

    def __init__(self, gateway: Transport, patience: float = PATIENCE) -> None:
        self._gateway = gateway
        self._patience = patience

    def start(
        self,
        script: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        version: str | int | None = None,
        dry_run: bool = False,
        mocks: Sequence[str] = (),
        idempotency_key: str | None = None,
    ) -> Started:
        """Start a run and go. With an idempotency key, starting twice gives the same run."""
        body = _body(arguments, version, dry_run, mocks)
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        told = self._gateway.post(f"/v1/scripts/{part(script)}/runs", json=body, headers=headers)
        return Started(told["id"], told["script"], told)

    def call(
        self,
        script: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        version: str | int | None = None,
        dry_run: bool = False,
        mocks: Sequence[str] = (),
        idempotency_key: str | None = None,
    ) -> RunEvents:
        """Start a run and follow it. `call(...).result()` is its value."""
        key = idempotency_key or str(uuid.uuid4())
        asked = {"json": _body(arguments, version, dry_run, mocks), "headers": {"Idempotency-Key": key}}

        def opened() -> Iterator[dict[str, Any]]:
            return self._gateway.stream("POST", f"/v1/call/{part(script)}", **asked)

        return RunEvents(key, unbroken(self._gateway, key, opened, 0, self._patience))

    def follow(self, run_id: str, after: int = 0) -> RunEvents:
        """The events of a run: those of the past behind `after`, then live to its end."""

        def opened() -> Iterator[dict[str, Any]]:
            return self._gateway.stream("GET", address(run_id, "/events"), params={"after": after})

        return RunEvents(run_id, unbroken(self._gateway, run_id, opened, after, self._patience), after)

    def result(self, run_id: str) -> Any:
        """Wait for the end of a run; its value. Raises RunFailed."""
        with self.follow(run_id) as events:
            return events.result()

    def get(self, run_id: str) -> Run:
        """How a run stands."""
        return Run.of(self._gateway.get(address(run_id)))

    def steps(self, run_id: str, limit: int | None = None, **filters: str) -> Iterator[Mapping[str, Any]]:
        """The steps that have ended so far, those that all filters fit: step (a path), status."""
        return self._gateway.pages(address(run_id, "/steps"), limit, **filters)

    def batches(self, run_id: str, limit: int | None = None) -> Iterator[Mapping[str, Any]]:
        """How far its batches are, and how they ended: step, status, processed, failed, total, rate, eta_seconds, at, error."""
        return self._gateway.pages(address(run_id, "/batches"), limit)

    def list(self, limit: int | None = None, **filters: str) -> Iterator[Run]:
        """Runs, newest first, those that all filters fit: script, state, outcome, trigger, database, since, until."""
        return map(Run.of, self._gateway.pages("/v1/runs", limit, **filters))

    def cancel(self, run_id: str) -> None:
        """Ask it to end."""
        self._gateway.post(address(run_id, "/cancel"))

    def pause(self, run_id: str) -> None:
        """Let it begin nothing new."""
        self._gateway.post(address(run_id, ":pause"))

    def resume(self, run_id: str) -> None:
        """Let it go on."""
        self._gateway.post(address(run_id, ":resume"))

    def concurrency(self, run_id: str, chunks: int, step: str | None = None) -> None:
        """Let its batch run so many chunks side by side."""
        self._gateway.post(address(run_id, ":concurrency"), json={"concurrency": chunks, "step": step})

    def rerun(
        self,
        run_id: str,
        from_step: str | None = None,
        *,
        arguments: Mapping[str, Any] | None = None,
        version: str | int | None = None,
        failed_elements: bool = False,
        idempotency_key: str | None = None,
    ) -> Started:
        """Run it again as a new run: from its start, from `failed`, from a step's path or key.

        With `failed_elements` only what failed in its batches.
        """
        elements = "failed" if failed_elements else None
        body = given({"from": from_step, "arguments": arguments, "version": version, "elements": elements})
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        told = self._gateway.post(address(run_id, ":rerun"), json=body, headers=headers)
        return Started(told["id"], told["script"], told)


class Approvals:
    """The decisions that runs wait for."""

    def __init__(self, gateway: Transport) -> None:
        self._gateway = gateway

    def list(self, *, mine: bool = False, script: str | None = None, runs: int | None = None) -> Iterator[Approval]:
        """What waits, of at most so many `runs`; `mine`: only what asks for this key's name. A run whose worker is silent is left out."""
        for run in self._gateway.pages("/v1/approvals", runs, mine=mine or None, script=script):
            for found in run["approvals"] or ():
                by = tuple(map(str, found["by"]))
                yield Approval(run["id"], run["script"], found["id"], found["step"], by, found.get("prompt"))

    def approve(self, run_id: str, step: str | None = None, *, comment: str = "") -> None:
        """Approve, in the name of the key. `step` (its path or key) is needed only if the run waits for several decisions."""
        self._decide(run_id, step, comment, approved=True)

    def reject(self, run_id: str, step: str | None = None, *, comment: str = "") -> None:
        """Reject: the step fails with `rejected`."""
        self._decide(run_id, step, comment, approved=False)

    def _decide(self, run_id: str, step: str | None, comment: str, *, approved: bool) -> None:
        body = {"approved": approved, "step": step, "comment": comment}
        self._gateway.post(address(run_id, ":decide"), json=body)


def _body(
    arguments: Mapping[str, Any] | None, version: str | int | None, dry_run: bool, mocks: Sequence[str]
) -> dict[str, Any]:
    return {"arguments": dict(arguments or {}), "version": version, "dry_run": dry_run, "mocks": list(mocks)}
