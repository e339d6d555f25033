"""The product's own pipeline, without HTTP and without Temporal: the functions that the activities of a session are, driven as its workflow
drives them.

What the model sees (the prompt, the tools, the catalog, the results) and what it may do is what it is in the product; schedules and runs,
which are Temporal's, cannot be begun, only be asked for.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from activities.authoring import take
from agent.protocol import Call, Message, Model, Reply, Tool, Usage
from evals.case import Case, Turns
from evals.case import Reply as Scripted
from evals.outcome import Record
from evals.samples import NOW, a_copy, changes, rows_now
from script.session_wire import SessionMessage
from toolbox.access import ADMIN, Access
from toolbox.authoring.state import Session

_ME = Access("evals", "evals", (ADMIN,))
_TOLD = ("text_delta", "text_restarted")


class Product:
    """See `evals.pipeline.Pipeline`. A model that is scripted is told when a turn begins."""

    def __init__(self, case: Case, model: Model) -> None:
        self._stack = ExitStack()
        self._samples = list(case.samples)
        self._model = model
        self._resources = self._stack.enter_context(a_copy(self._samples, model))
        for script in case.published:
            self._resources.library.save(script)
        self._there = {row["name"]: row["latest"] for row in self._resources.library.scripts()}
        self._before = rows_now(self._resources.databases, self._samples)
        self._id = f"s{uuid.uuid4().hex[:12]}"
        self._seen = self._said = 0
        session = Session(self._id, _ME.key_id, NOW, NOW, database=case.database or case.samples[0])
        self._resources.conversations.create(session)

    # --- evals.pipeline.Pipeline ---

    def say(self, text: str) -> Sequence[Record]:
        if isinstance(self._model, ScriptedModel):
            self._model.begin(self._said)
        self._said += 1
        message = SessionMessage(uuid.uuid4().hex, text, _ME.to_json(), NOW)
        take(self._resources, self._id, message)
        records = list(self._resources.conversations.records(self._id, after=self._seen))
        self._seen = records[-1]["seq"] if records else self._seen
        return [record for record in records if record["type"] not in _TOLD]

    def scripts(self) -> Mapping[str, tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]:
        drafts = self._resources.services.drafts
        assert drafts is not None
        open_now = self._resources.conversations.get(self._id).draft
        found = sorted(drafts.all(), key=lambda draft: (draft.id == open_now, draft.updated_at))
        texts = {draft.name: drafts.get(draft.id)[1].script for draft in found}
        return {name: (text, [each.to_dict() for each in drafts.problems(text)]) for name, text in texts.items()}

    def changed(self) -> Mapping[str, Mapping[str, int]]:
        return changes(self._before, rows_now(self._resources.databases, self._samples))

    def published(self) -> Sequence[str]:
        now = {row["name"]: row["latest"] for row in self._resources.library.scripts()}
        return [name for name, version in now.items() if self._there.get(name) != version]

    def close(self) -> None:
        self._stack.close()


class ScriptedModel:
    """A model (`agent.protocol.Model`) that answers as a case says: for each turn its replies in order, and then that it is done."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._left: list[Scripted] = []

    def begin(self, turn: int) -> None:
        """The person has said something: the turn counts from 0."""
        self._left = list(self._turns[turn]) if turn < len(self._turns) else []

    def complete(self, messages: Sequence[Message], schema: Mapping[str, Any] | None, model: str | None) -> Reply:
        raise ValueError("a scripted model answers in conversations only")

    def converse(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        model: str | None = None,
        *,
        said: Callable[[str], None] = lambda text: None,
    ) -> Reply:
        """See `agent.protocol.Model`."""
        reply = self._left.pop(0) if self._left else Scripted("That is all.")
        calls = tuple(Call(uuid.uuid4().hex[:9], tool, dict(args)) for tool, args in reply.calls)
        said(reply.text)
        return Reply(reply.text, Usage(), "scripted", calls=calls)
