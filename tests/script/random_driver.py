"""A driver that answers effects in any order, several at once, with anything; and what must hold for whatever program it drives."""

import re
from collections.abc import Mapping
from random import Random
from typing import Any

import orjson

from script.compiler.program import Program
from script.machine import local
from script.machine.effects import TIMERS, Done, Effect, Waiting
from script.machine.machine import Machine
from script.machine.reruns import ATTEMPTS
from script.machine.state import MAIN, RUN_SCOPE
from script.wire import GIVEN_UP, Decision, Outcome
from tests.script.machine_driver import START, event_line

ENOUGH = 5_000
"""Answers: a run of a random program that needs more goes on for ever."""


class Checked(Machine):
    """A machine that looks at its state when its run ends."""

    def finish(self, status: str, *, value: Any = None, error: dict[str, Any] | None = None, **more: Any) -> None:
        if self.state["root"] in self.programs and MAIN in self.state["fibers"]:
            self.at_the_end()
        super().finish(status, value=value, error=error, **more)

    def at_the_end(self) -> None:
        state = self.state
        left = {name: fiber for name, fiber in state["fibers"].items() if "ended" not in (fiber["wait"] or ())}
        assert not left, f"fibers are left: {left}"
        assert not state["effects"], f"effects are left: {list(state['effects'])}"
        assert list(state["scopes"]) == [RUN_SCOPE], f"scopes are left: {list(state['scopes'])}"
        scope = state["scopes"][RUN_SCOPE]
        assert scope["txn"] is None or not scope["txn"]["used"], f"a transaction is left: {scope['txn']}"
        assert scope["busy"] is None, f"the turn is still taken by {scope['busy']}"
        assert scope["checkpoint"] is None and "rerun" not in scope
        if state["ending"]["status"] != "completed":
            assert not state["sagas"], f"compensations are left: {state['sagas']}"
        assert all(entry["txn"] is None for entry in state["sagas"]), f"not settled: {state['sagas']}"


class Driver:
    """Drives one machine as `random` says; `elsewhere`: with its state written down and taken up at every stop."""

    def __init__(
        self,
        programs: Mapping[str, Program],
        random: Random,
        *,
        elsewhere: bool = False,
        fuel: int = 1000,
        dry_run: bool = False,
    ) -> None:
        self.random = random
        self.elsewhere = elsewhere
        self.fuel = fuel
        self.lines: list[str] = []
        self.waiting: dict[str, Effect] = {}
        self.asked: dict[str, int] = {}
        self.effects: list[Effect] = []
        self.answers: list[tuple[Effect, Outcome]] = []
        self.given_up: set[str] = set()
        self.timers: set[str] = set()
        self.cancelled = False
        self.events: list[dict[str, Any]] = []
        self._answered = 0
        # what goes wrong how often, in this run
        self.trouble = {
            "failed": random.choice([0, 0.05, 0.3]),
            "conflict": random.choice([0, 0.1, 0.5]),
            "cancel": random.choice([0, 0, 0.03, 0.2]),
            "pause": random.choice([0, 0.02]),
        }
        self.machine: Machine = Checked.start(
            programs, next(iter(programs)), run_id="run", key_id="run:1", clock=START, arguments={}, dry_run=dry_run
        )

    def run(self) -> Done:
        """Drive it to its end."""
        while True:
            asked = self.machine.step(self.fuel)
            self._drain()
            if self.elsewhere:
                self.machine = Checked(self.machine.programs, orjson.loads(orjson.dumps(self.machine.state)))
            if isinstance(asked, Done):
                return asked
            if isinstance(asked, Waiting):
                self._waiting(asked)
                self._news()

    def _drain(self) -> None:
        events = self.machine.drain()
        self.events += events
        self.lines += map(event_line, events)

    def _waiting(self, asked: Waiting) -> None:
        for effect in asked.start:
            assert effect.id not in self.waiting, f"{effect.id} is asked for, and was not answered"
            if effect.id in self.asked and not effect.id.startswith("conflict"):
                raise AssertionError(f"{effect.id} is asked for again")
            self.asked[effect.id] = self.asked.get(effect.id, 0) + 1
            self.waiting[effect.id] = effect
            if effect.kind in TIMERS:
                self.timers.add(effect.id)
            self.effects.append(effect)
            self.lines.append(f"    -> {effect.kind} {effect.id}")
        for name in asked.cancel:
            self.lines.append(f"    -x {name}")
            if name not in self.waiting:
                assert name in self.timers, f"{name} is given up, and is not under way"
            elif self.waiting[name].kind in TIMERS:
                del self.waiting[name]
            else:
                self.given_up.add(name)

    def _news(self) -> None:
        """Something comes: signals, a cancellation, one answer or several."""
        random, trouble = self.random, self.trouble
        machine = self.machine
        assert self._answered < ENOUGH, "the run does not end"
        heard = len(self.lines)
        if random.random() < trouble["pause"]:
            self.lines.append("    pause")
            machine.hear("pause")
        elif machine.state["paused"]:
            self.lines.append("    go on")
            machine.hear("go_on")
        if not self.cancelled and random.random() < trouble["cancel"]:
            self.cancelled = True
            self.lines.append("    cancel")
            self._hear_decisions()
            machine.cancel()
        else:
            self._hear_decisions()
        candidates = [name for name, effect in self.waiting.items() if effect.kind != "approval"]
        if not candidates:
            fibers = orjson.dumps(machine.state["fibers"]).decode()
            assert self.waiting or len(self.lines) > heard, f"nothing is under way, and the run waits: {fibers}"
            return
        several = random.choice([1, 1, 2, len(candidates)])
        picked = [name for name in candidates if name in random.sample(candidates, min(several, len(candidates)))]
        self._answered += 1
        outcomes = {}
        for name in picked:
            effect = self.waiting.pop(name)
            outcomes[name] = self._outcome(effect)
            self.answers.append((effect, outcomes[name]))
            told = outcomes[name].error["code"] if outcomes[name].error else outcomes[name].value
            self.lines.append(f"    <- {name} {told}")
        machine.resume_all(outcomes)

    def _hear_decisions(self) -> None:
        for name, effect in list(self.waiting.items()):
            if effect.kind == "approval" and self.random.random() < 0.5:
                by = self.random.choice(["someone", "someone", "another"])
                decision = Decision(name, self.random.random() < 0.7, by, self._now(), None)
                self.lines.append(f"    decide {name} {decision.approved} {by}")
                if by == "someone":
                    del self.waiting[name]
                self.machine.hear("decide", decision)

    def _now(self) -> str:
        number = len(self.answers)
        return f"2026-01-05T{9 + number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}.000+00:00"

    def _outcome(self, effect: Effect) -> Outcome:
        random, at = self.random, self._now()
        if effect.kind in TIMERS:
            return Outcome(at=at)
        if effect.id in self.given_up and random.random() < 0.6:
            return GIVEN_UP
        transaction = effect.call.get("transaction")
        if random.random() < self.trouble["failed"] and effect.kind != "rollback":
            return Outcome(None, {"code": "failed", "message": "failed", "retryable": False}, at)
        if transaction and random.random() < self.trouble["conflict"]:
            return Outcome(None, {"code": "conflict", "message": "conflict", "retryable": True}, at)
        if effect.kind == "chunk":
            return Outcome(self._chunk(effect, outbox=random.random() < 0.3), None, at)
        if effect.kind == "child":
            return Outcome(3, None, at, self._sagas_of(effect))
        return Outcome([1, 2] if effect.call.get("tool") == "select" else 3, None, at)

    def _chunk(self, effect: Effect, *, outbox: bool = False) -> dict[str, Any]:
        call = effect.call
        table = self.machine.programs[call["program"]].linked[call["loop"]].operands["reduce"] or {}
        return {
            "processed": len(call["items"]),
            "failed": 0,
            "after": None,
            "done": call["offset"] + call["size"] >= len(self._all_items(effect)),
            "stopped": False,
            "reduced": {
                name: {"count": 2, "value": [1, 2] if part["op"] == "collect" else 3} for name, part in table.items()
            },
            "outbox": int(outbox),
        }

    def _all_items(self, effect: Effect) -> list[Any]:
        code = self.machine.programs[effect.call["program"]].code[effect.call["loop"]]
        return list(orjson.loads(code["list"].strip("{} ")))

    def _sagas_of(self, effect: Effect) -> list[dict[str, Any]]:
        """What a child run that went well leaves to be compensated."""
        call = effect.call
        machine = Machine.start(
            self.machine.programs,
            call["version"],
            run_id=call["run_id"],
            key_id=call["run_id"],
            clock=START,
            arguments=call["arguments"],
        )

        def perform(effect: Effect) -> Outcome:
            if effect.kind == "approval":
                return Outcome({"approved": True, "by": "someone", "at": START, "comment": None})
            if effect.kind == "chunk":
                return Outcome(self._chunk(effect))
            return Outcome([1] if effect.call.get("tool") == "select" else 3)

        done = local.run(machine, perform)
        return list(machine.state["sagas"]) if done.status == "completed" else []


# --- what must hold for every run ---


def check(driver: Driver, done: Done) -> None:
    assert done.status in ("completed", "failed", "canceled", "compensated", "compensation_failed")
    numbers = [event["seq"] for event in driver.events]
    assert numbers == list(range(1, len(numbers) + 1))
    left = set(driver.waiting) - set(driver.machine.state["forgotten"])
    assert not left, f"not answered at the end: {left}"
    every_transaction_ends(driver)
    compensations(driver, done)
    if driver.cancelled and done.status == "completed":
        assert driver.lines.index("    cancel") > 0


def every_transaction_ends(driver: Driver) -> None:
    """What was begun is committed or rolled back, or begun again after a conflict (at most five times)."""
    begun, ended, all_ids = set(), set(), set()
    for effect in driver.effects:
        transaction = effect.call.get("transaction")
        if not transaction or transaction["alone"]:
            continue
        all_ids.add(transaction["id"])
        if transaction["begin"]:
            begun.add(transaction["id"])
        if effect.kind in ("commit", "rollback"):
            ended.add(transaction["id"])
    for name in begun - ended:
        number, _, attempt = name.rpartition(".")
        assert int(attempt) == ATTEMPTS or f"{number}.{int(attempt) + 1}" in all_ids or _conflicted(driver, name), (
            f"{name} does not end"
        )


def _conflicted(driver: Driver, transaction: str) -> bool:
    """Whether something of a transaction was told that it is lost."""
    return any(
        (effect.call.get("transaction") or {}).get("id") == transaction
        and outcome.error is not None
        and outcome.error["code"] == "conflict"
        for effect, outcome in driver.answers
    )


def compensations(driver: Driver, done: Done) -> None:
    """Each at most once, and none for a run that succeeded."""
    told = [event for event in driver.events if event["type"] == "compensation" and event["status"] != "retrying"]
    names = [event["step"] for event in told]
    assert len(names) == len(set(names)), f"compensated twice: {names}"
    if done.status in ("completed",):
        assert not names


def key_of(name: str) -> str:
    """Without the attempts."""
    return re.sub(r"[~!][\d.]+$", "", re.sub(r"![\d.]+$", "", name))
