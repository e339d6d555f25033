"""What follows on a message, until nothing does: the same for the workflow of sessions and for whoever drives a turn without Temporal.

A generator asks for one activity after the other (`Asked`) and is sent what each gave (`Next`). It does nothing itself, so those who
drive it differ in how they perform, and in nothing else. The tool calls of a reply, or of a command, come one after the other; the
first that ends the turn is the last, and a turn in which one waits for the person ends waiting.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from script.session_wire import ACT_ACTIVITY, THINK_ACTIVITY, ActCall, Next, ThinkCall


@dataclass(frozen=True)
class Asked:
    """An activity that is to be performed; `summary` is what the Temporal UI calls it."""

    activity: str
    call: ThinkCall | ActCall
    summary: str


Turn = Generator[Asked, Next, Next]


def turn(session: str, heard: Next, access: dict[str, Any]) -> Turn:
    """The turn of a message that was heard; its value is how it ended (done, or wait)."""
    found, number = heard, 0
    while found.kind in ("think", "act"):
        if found.kind == "act":
            found = yield from _acts(session, found, access)
            continue
        found = yield Asked(THINK_ACTIVITY, ThinkCall(session, found.turn, number, access), f"think {number + 1}")
        number += 1
    return found


def _acts(session: str, asked: Next, access: dict[str, Any]) -> Turn:
    waits, found = False, Next("done", asked.turn)
    for name, tool in zip(asked.calls, asked.tools, strict=True):
        found = yield Asked(ACT_ACTIVITY, ActCall(session, asked.turn, name, access, asked.approved), tool)
        if found.kind == "done":
            return found
        waits = waits or found.kind == "wait"
    if waits:
        return Next("wait", asked.turn)
    return found if found.kind == "think" else Next("done", asked.turn)
