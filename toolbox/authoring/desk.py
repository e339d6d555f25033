"""What a tool of a session works with (`ToolContext.session`): the session within a transaction, its draft, and whoever may do what."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from script.editing import difference
from script.errors import PatchFailed, ScriptInvalid
from script.source.loading import load_script
from toolbox.access import Access, Scope, check_named
from toolbox.authoring.conversations import Record, Work
from toolbox.authoring.state import Session
from toolbox.drafts import Draft, Drafts, Edit, Revision, get_draft
from toolbox.errors import DraftNotFound, Forbidden, InvalidArguments, NoDraft, ToolNotConfigured

LINES: Final = 40
"""Lines of a difference, and problems, that the result of an edit has; the card has all."""


class Rehearsal(Protocol):
    """Runs a script dry, here and now: real reads, writes that are dropped, nothing outside."""

    def __call__(
        self, script: dict[str, Any], arguments: dict[str, Any], *, mocks: dict[str, Any], access: Access
    ) -> dict[str, Any]:
        """{status, result | error, events (at most MOST_EVENTS, in order), events_left_out, duration_ms}. The events are those of a run.

        Raises ScriptInvalid, ToolError.
        """
        ...


class RunDesk(Protocol):
    """Starts runs. May be called from any thread, and raises ToolError."""

    def start(
        self, script: str, version: str | None, arguments: dict[str, Any], mocks: list[str], key: str, access: Access
    ) -> dict[str, Any]:
        """{run_id, script, version}; the same key is the same run."""
        ...


@dataclass
class Desk:
    """`work` is the session's transaction: what a tool changes in `session`, what it says, and what it writes into the system database with
    `work.transaction` is kept together, once, or not at all. `drafts` checks texts and publishes them (tools give their services' where
    it has none). `by_model`: the call is the model's, and no person has said that it may change anything beyond this session."""

    work: Work
    access: Access
    drafts: Drafts | None = None
    by_model: bool = False

    @property
    def session(self) -> Session:
        return self.work.session

    @property
    def author(self) -> str:
        """Who is said to have changed a draft."""
        return f"key:{self.access.key_id}"

    def say(self, type: str, **fields: Any) -> Record:
        """Append a record to the log."""
        return self.work.say(type, **fields)

    def draft(self) -> tuple[Draft, Revision]:
        """The draft that is edited, and its text. Raises NoDraft, Forbidden."""
        hint = "create_script begins one, open_draft takes one up"
        if self.session.draft is None:
            raise NoDraft("no draft is open", hint=hint)
        try:
            found, text = get_draft(self.work.transaction, self.session.draft)
        except DraftNotFound:
            raise NoDraft("the draft that was open has been deleted", hint=hint) from None
        self.may_write(found.name)
        return found, text

    def is_open(self, name: str) -> bool:
        """Whether the draft that is edited is that of a script; one that is gone, or may not be edited here, is none."""
        try:
            return self.draft()[0].name == name
        except (NoDraft, Forbidden):
            return False

    def edit(self, edit: Edit, *, restored: int | None = None) -> dict[str, Any]:
        """Change the draft, and tell what that made of it: a card, and {draft, name, revision, problems, diff} (diff in English).

        Raises NoDraft, Forbidden, InvalidArguments, ScriptInvalid for what no draft can be.
        """
        before, text = self.draft()

        def checked(script: dict[str, Any]) -> dict[str, Any]:
            document = self.checking.document(_edited(edit, script))
            self.may_keep(document)
            return document

        self.checking.change_in(self.work.transaction, before.id, None, checked, author=self.author, restored=restored)
        return self.tell_draft(text.script)

    def tell_draft(self, old: Mapping[str, Any]) -> dict[str, Any]:
        """Say the card of the draft that is open, with what differs from an older text, and what is wrong with it."""
        draft, text = self.draft()
        problems = [problem.to_dict() for problem in self.checking.problems(text.script)]
        wrong = [problem for problem in problems if problem["severity"] == "error"]
        diff = difference(old, text.script)
        told = {"draft": draft.id, "name": draft.name, "revision": draft.revision}
        self.say("card", card="draft", **told, diff=diff, problems=problems)
        if wrong:
            self.say("card", card="problems", **told, problems=wrong)
        self.session.failed_edits = self.session.failed_edits + 1 if wrong else 0
        return {**told, "problems": shortened(problems), "diff": shortened(diff["text"] or ["nothing changed"])}

    @property
    def checking(self) -> Drafts:
        """What knows drafts. Raises ToolNotConfigured where nothing does."""
        if self.drafts is None:
            raise ToolNotConfigured("drafts cannot be reached from here")
        return self.drafts

    def may_write(self, name: str) -> None:
        """Raises Forbidden for a script that may not be written."""
        self.access.require(Scope("scripts", "write", name))

    def may_keep(self, document: Mapping[str, Any]) -> None:
        """Raises Forbidden for a text that may not be written, or names databases that may not be read: its problems would tell of them.
        One that is no script names none."""
        self.may_write(document["name"])
        try:
            script = load_script(document).script
        except ScriptInvalid:
            return
        check_named(self.access, script)


def _edited(edit: Edit, script: dict[str, Any]) -> Any:
    try:
        return edit(script)
    except PatchFailed as failed:
        raise InvalidArguments(failed.message, hint=failed.hint) from None


def shortened(lines: list[Any]) -> list[Any]:
    """The first of many lines, and how many more there are."""
    more = len(lines) - LINES
    return lines if more <= 0 else [*lines[:LINES], f"and {more} more: show_draft has all"]
