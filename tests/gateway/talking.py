"""A stand-in for the workflow of sessions, which speaks by the words of its messages: the routes are tested with it, without any author.

    hello         deltas, the whole text
    hold          says that it waits, and does until it is stopped
    mail          asks for an approval; the decision is answered
    rows          a tool's result that is many rows; `few` one that is a list
    cards         every kind of card

All of it is written as the real one writes it: once, in the log, under names.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import httpx2
from fastapi import FastAPI
from temporalio import activity, workflow
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from gateway.app import create_app
from gateway.services import Services
from query import create_store, list_stores, open_store
from script.session_wire import (
    CLOSE_SIGNAL,
    MESSAGE_SIGNAL,
    SESSION_WORKFLOW,
    STOP_SIGNAL,
    SessionInput,
    SessionMessage,
)
from script.wire import ROWS
from tests.gateway.conftest import Gateway, authorization
from toolbox.access import parse_scopes
from toolbox.authoring import Conversations, Pending, ToolCall, Work
from toolbox.authoring.conversations import MESSAGES

MANY = 2_500
STEPS = [
    {"step": "check_risk", "type": "if", "status": "completed", "condition": {
        "expression": "days > 60 && total > 500", "values": {"days": 94, "total": 1200}, "substituted": "94 > 60 && 1200 > 500", "result": True}},
    {"step": "check_risk/orders", "type": "fetch", "status": "completed", "rows": {"count": 12}},
    {"step": "check_risk/mail", "type": "command", "status": "failed", "error": {
        "code": "not_configured", "message": "there is no mail server", "step": "check_risk/mail"}},
]  # fmt: skip
PROBLEM = {
    "severity": "error",
    "code": "unknown_tool",
    "pointer": "/steps/0",
    "message": "there is no tool 'mial'",
    "hint": "did you mean 'mail'?",
}
DRAFT = {"draft": "d1", "name": "check", "revision": 2}
CARDS: list[dict[str, Any]] = [
    {"card": "question", "question": "Which time zone is 9 AM in?", "options": ["Europe/Madrid", "UTC"]},
    {"card": "draft", **DRAFT, "diff": {"text": ["step check_risk is new, at the end", "step old is gone"],
                                        "changes": [{"kind": "added", "pointer": "/steps/0"}]}, "problems": [PROBLEM]},
    {"card": "problems", **DRAFT, "problems": [PROBLEM]},
    {"card": "trace", "name": "check", "arguments": {"customer": "john_doe"}, "status": "failed", "steps": STEPS, "left_out": "3 steps in between",
     "error": {"code": "not_configured", "message": "there is no mail server"}, "duration_ms": 4.5},
    {"card": "decision", "approval": "a7", "call": "c7", "tool": "send_email", "approved": False, "by": "anna", "comment": "not now"},
    {"card": "schedule", "id": "weekly", "script": "check", "time_zone": "Europe/Madrid",
     "next_runs": [{"utc": "2026-11-23T08:00:00Z", "local": "2026-11-23T09:00:00+01:00"}], "mocks": ["send_email"]},
    {"card": "run", "run_id": "r1", "script": "check", "version": "abcdef0123456789"},
    {"card": "recording", "name": "mine", "mode": "compiled", "status": "paused", "recorded": 2, "left_out": 1},
    {"card": "new_thing", "anything": [1, "a\x1b[31m"]},
]  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One thing that the stand-in does."""

    session: str
    message: SessionMessage
    what: str


@workflow.defn(name=SESSION_WORKFLOW)
class FakeSession:
    """Takes one message after the other."""

    def __init__(self) -> None:
        self._inbox: list[SessionMessage] = []
        self._stopped = self._closed = False

    @workflow.run
    async def run(self, start: SessionInput) -> None:
        while True:
            await workflow.wait_condition(lambda: bool(self._inbox) or self._closed)
            if not self._inbox:
                return
            message = self._inbox.pop(0)
            self._stopped = False
            if not await self._do(start.session, message, "hear"):
                continue
            status = "completed"
            if message.text == "hold":
                await workflow.wait_condition(lambda: self._stopped or self._closed)
                status = "canceled"
            elif message.text == "mail":
                status = "waiting"
            await self._do(start.session, message, f"end {status}")

    async def _do(self, session: str, message: SessionMessage, what: str) -> bool:
        done: bool = await workflow.execute_activity(
            "talk", Step(session, message, what), result_type=bool, start_to_close_timeout=timedelta(seconds=20)
        )
        return done

    @workflow.signal(name=MESSAGE_SIGNAL)
    def message(self, message: SessionMessage) -> None:
        self._inbox.append(message)

    @workflow.signal(name=STOP_SIGNAL)
    def stop(self) -> None:
        self._stopped = True

    @workflow.signal(name=CLOSE_SIGNAL)
    def close(self) -> None:
        self._closed = True


class Talker:
    """What the stand-in does, in the log."""

    def __init__(self, log: Conversations) -> None:
        self.log = log
        self.messages: list[SessionMessage] = []

    @activity.defn(name="talk")
    def talk(self, step: Step) -> bool:
        """Whether there is something to do about a message that was heard; or the end of its turn."""
        if step.what == "hear":
            self.messages.append(step.message)
            known = self.log.turn_of(step.session, step.message.key) is not None
            return not known and bool(
                self.log.once(step.session, f"hear/{step.message.key}", lambda work: hear(work, step.message))
            )
        status = step.what.partition(" ")[2]
        self.log.once(step.session, f"end/{step.message.key}", lambda work: end(work, status))
        return True


def hear(work: Work, message: SessionMessage) -> bool:
    session = work.session
    session.turn += 1
    session.turn_status, session.turn_started_at = "running", work.now
    heard = {"session": session.id, "key": message.key, "turn": session.turn, "after": session.seq}
    open_store(work.transaction, MESSAGES).add(heard)
    if message.approval is not None:
        decided = message.approval
        work.say("user", approval=decided.id, approved=decided.approved, comment=decided.comment)
        session.pending = [pending for pending in session.pending if pending.id != decided.id]
        if decided.approved:
            work.say("tool_call", call="c1", tool="send_email", args={"to": "anna@example.com"}, by="model")
            work.say("tool_result", call="c1", tool="send_email", status="done", result={"status": "sent"})
        return True
    work.say("user", text=message.text)
    speak(work, message.text)
    return True


def speak(work: Work, text: str) -> None:
    session = work.session
    if text == "mail":
        session.calls = [ToolCall("c1", session.turn, "send_email", {"to": "anna@example.com"}, "model", "waiting")]
        session.pending = [Pending("a1", "c1", "f00d", "Send a mail to anna@example.com", session.turn)]
        work.say("card", card="approval", approval="a1", what="Send a mail to anna@example.com", tool="send_email",
                 args={"to": "anna@example.com"}, hash="f00d", preview={"to": "anna@example.com", "rows": [{"id": 1}, {"id": 2}]})  # fmt: skip
    elif text == "cards":
        for card in CARDS:
            work.say("card", **card)
    elif text == "few":
        work.say("tool_call", call="c2", tool="select", args={"store": "orders"}, by="person")
        work.say("tool_result", call="c2", tool="select", status="done", result=[{"id": 1, "city": "Rome"}, {"id": 2}])
    elif text in ("hello", "hold"):
        for piece in ("hel", "lo"):
            work.say("text_delta", text=piece)
        work.say("text", text="hello", model="scripted", usage={"input_tokens": 3, "output_tokens": 1})


def end(work: Work, status: str) -> bool:
    work.session.turn_status = status
    work.say("turn", status=status, message="", usage={"input_tokens": 3, "output_tokens": 1, "cost": 0.0})
    return True


@dataclass
class Talk:
    """A gateway whose sessions the stand-in speaks in."""

    services: Services
    app: FastAPI
    http: httpx2.AsyncClient
    talker: Talker
    gateway: Gateway

    def key(self, *scopes: str) -> dict[str, str]:
        """The header of a new key."""
        return authorization(self.services.keys.create("anna", parse_scopes(scopes)))

    async def begin(self, **given: Any) -> str:
        """A new session's address."""
        answer = await self.http.post("/v1/sessions", json=given)
        assert answer.status_code == 201, answer.text
        return str(answer.headers["location"])

    def many_rows(self, session: str) -> int:
        """A tool's result that is a reference to rows; the number of its record."""
        database = self.services.databases.ensure("shop")

        def fill(transaction: Any) -> None:
            if not list_stores(transaction):
                store = create_store(transaction, "orders", primary_key=["id"])
                for number in range(MANY):
                    store.add({"id": number, "city": "Rome"})

        database.transact(fill)
        seq = database.head().seq
        reference = self.services.databases.seals.sealed(
            {"database": "shop", "version": seq, "count": MANY, "store": "orders", "query": {"store": "orders"}}
        )
        said = {"call": "c3", "tool": "select", "status": "done", "rows": {"count": MANY, "ref": reference}}
        assert ROWS not in reference
        seq = self.services.conversations.change(session, lambda work: work.say("tool_result", **said)["seq"])
        return int(seq)


@asynccontextmanager
async def talking(gateway: Gateway) -> AsyncIterator[Talk]:
    """The gateway with a task queue of its own, where the stand-in works."""
    queue = f"talk-{uuid.uuid4().hex[:8]}"
    services = replace(gateway.services, task_queue=queue, stopping=asyncio.Event())
    talker = Talker(Conversations(services.databases))
    app = create_app(services)
    transport = httpx2.ASGITransport(app)
    with ThreadPoolExecutor(8) as threads:
        async with (
            Worker(
                services.client,
                task_queue=queue,
                workflows=[FakeSession],
                activities=[talker.talk],
                activity_executor=threads,
                workflow_runner=UnsandboxedWorkflowRunner(),
            ),
            httpx2.AsyncClient(
                transport=transport, base_url="http://gateway", headers=authorization(gateway.key), timeout=30
            ) as http,
        ):
            yield Talk(services, app, http, talker, gateway)
