"""Running a script against a table of outcomes: no server, no clock, no disk.

A golden file has up to four parts, divided by `---` lines: the script (JSON; further scripts that it calls behind it,
divided by `===`), the settings (`arguments = {...}`, `dry_run = true`, `failed_again = {...}`: what failed in an earlier run) and outcomes (`EFFECT ID = VALUE`, or
`EFFECT ID ! ERROR CODE`), and the expected trace. An effect that is not in the table gives null. Several outcomes for one id
are used in turn.
"""

import json
from collections import defaultdict
from typing import Any

import orjson

from script.compiler.compiler import compile_script
from script.compiler.program import Program
from script.machine import again
from script.machine.effects import TIMERS, Done, Effect, Waiting, Yielded
from script.machine.machine import Machine
from script.source.ast import Script
from script.source.loading import load_script
from script.wire import Outcome

EFFECTS = {
    "select": "read",
    "get": "read",
    "add": "write",
    "update": "write",
    "send_email": "external",
    "coupon_code": "pure",
    "light": "pure",
}
START = "2026-01-05T09:00:00.000+00:00"


def compile_all(texts: list[Any]) -> dict[str, Program]:
    """Programs by hash, the first one first, calls resolved among them."""
    scripts: list[Script] = [load_script(text).script for text in texts]
    programs = [compile_script(script, EFFECTS) for script in scripts]
    names = {program.name: program.hash for program in programs}
    return {program.hash: program.with_calls(names) for program in programs}


class Table:
    """Outcomes by effect id, each also moving the clock by a second."""

    def __init__(self, lines: list[str]) -> None:
        self.settings: dict[str, Any] = {"arguments": {}, "dry_run": False, "failed_again": None}
        self.outcomes: dict[str, list[Outcome]] = defaultdict(list)
        self.order: list[str] = []
        self.cancel_at: str | None = None
        self.answered: list[str] = []
        self._second = 0
        for line in filter(str.strip, lines):
            name, sign, value = line.partition(" ! ") if " ! " in line else line.partition(" = ")
            assert sign, f"neither = nor ! in {line!r}"
            if name in self.settings:
                self.settings[name] = json.loads(value)
            elif name == "order":
                self.order = json.loads(value)
            elif name == "cancel_at":
                self.cancel_at = json.loads(value)
            elif sign == " ! ":
                error = {"code": value, "message": f"{value} happened", "retryable": False}
                self.outcomes[name].append(Outcome(None, error))
            else:
                self.outcomes[name].append(Outcome(json.loads(value)))

    def next(self, waiting: dict[str, Effect]) -> str:
        """Which effect is answered next: the first of `order` that is waiting, otherwise the oldest; timers only if nothing else is left."""
        for name in self.order:
            if name in waiting:
                self.order.remove(name)
                return name
        return next((name for name, effect in waiting.items() if effect.kind != "timer"), next(iter(waiting)))

    def __call__(self, effect: Effect) -> Outcome:
        self._second += 1
        self.answered.append(effect.id)
        known = self.outcomes[effect.id]
        outcome = known.pop(0) if known else Outcome()
        at = f"2026-01-05T09:{self._second // 60:02d}:{self._second % 60:02d}.000+00:00"
        return Outcome(outcome.value, outcome.error, at)


def start(programs: dict[str, Program], table: Table) -> Machine:
    machine = Machine.start(
        programs,
        next(iter(programs)),
        run_id="run",
        key_id="run:1",
        clock=START,
        arguments=table.settings["arguments"],
        dry_run=table.settings["dry_run"],
    )
    if table.settings["failed_again"] is not None:
        again.begin(machine, **table.settings["failed_again"])
    return machine


def drive(machine: Machine, table: Table, *, elsewhere: bool = False, fuel: int = 1000) -> tuple[list[str], Done]:
    """Drive to the end; `elsewhere` writes the state down and takes it up again in a new machine at every stop.

    Effects are answered in the order in which they were asked for; a timer beside others never fires, unless the table has an outcome for it.
    """
    lines: list[str] = []
    waiting: dict[str, Effect] = {}
    while True:
        asked = machine.step(fuel)
        lines += map(event_line, machine.drain())
        if elsewhere:
            machine = Machine(machine.programs, orjson.loads(orjson.dumps(machine.state)))
        if isinstance(asked, Done):
            return lines, asked
        if isinstance(asked, Yielded):
            continue
        assert isinstance(asked, Waiting)
        lines += [effect_line(effect) for effect in asked.start]
        lines += [f"    -x {name}" for name in asked.cancel]
        waiting |= {effect.id: effect for effect in asked.start}
        for effect in asked.start if machine.state["dry_run"] else ():
            assert effect.kind not in ("commit", "dispatch", "approval"), effect
            assert effect.kind not in ("call", "child", "chunk") or effect.call["dry_run"], effect
        for name in asked.cancel:
            if waiting[name].kind in TIMERS:
                del waiting[name]
        name = table.next(waiting)
        if name == table.cancel_at:
            table.cancel_at = None
            machine.cancel()
            lines.append("    cancel")
            if waiting[name].kind in TIMERS:
                table.answered.append(name)
            continue
        effect = waiting.pop(name)
        machine.resume(effect.id, table(effect))


def event_line(event: dict[str, Any]) -> str:
    where = event.get("path", "")
    if event.get("iteration"):
        where += "#" + ".".join(map(str, event["iteration"]))
    told = event.get("error") or event.get("rows") or event.get("result")
    if event["type"] == "run" and event["status"] == "started":
        told = event["arguments"]
    return f"{event['seq']:>3} {event['type']} {where} {event['status']} {compact(told)}".replace("  ", " ")


def effect_line(effect: Effect) -> str:
    call = effect.call
    transaction = call.get("transaction") or {}
    flags = "".join(f" {name}" for name in ("begin", "alone") if transaction.get(name))
    within = f" in {transaction['id']}{flags}" if transaction else ""
    told = {"call": "args", "child": "arguments", "chunk": "variables"}.get(effect.kind)
    what = f" {call['tool']}" if effect.kind == "call" else f" {call['script']}" if effect.kind == "child" else ""
    shown = f" {compact(call[told])}" if told else ""
    chunk = f" from {call['offset']} size {call['size']}" if effect.kind == "chunk" else ""
    chunk += f" again of {call['again']['run']} {call['again']['step']}" if "again" in call else ""
    return f"    -> {effect.kind}{what} {effect.id}{shown}{chunk}{within}"


def compact(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
