"""What is put before the person: a call, in one sentence, with what it would do, bound by a hash to exactly that.

The hash is over the tool, its arguments (those of a schedule have the version that it would run) and its database; over what the tool
itself says that it binds (`Tool.bound`: the text of a draft, the version of a script); and over the rows that it is about (the token of
the preview of a bulk change, the record that a write would change). When one of them is another by the time that the person agrees, the
approval is stale: what there is then has to be shown again.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from activities.authoring.calls import Doing, context_of
from activities.authoring.previews import preview_of
from script.outline.tools import call as told_call
from toolbox.authoring.conversations import Work
from toolbox.authoring.desk import Desk
from toolbox.authoring.state import Pending

APPROVAL_STALE: Final = "approval_stale"


@dataclass(frozen=True)
class Proposal:
    """What a person is asked to approve. `token` stands for the rows of a bulk change."""

    hash: str
    what: str
    preview: dict[str, Any] = field(default_factory=dict)
    token: str | None = None


def proposal(doing: Doing, work: Work | None = None) -> Proposal:
    """What a call would do. `work` is there for tools of the session.

    Raises what the call would raise.
    """
    if doing.is_of_session:
        assert work is not None
        return _of_session(doing, work)
    preview = preview_of(doing)
    about: list[Any] = [doing.tool.name, doing.args, doing.database, preview.about]
    if doing.tool.effect == "external" and doing.tool.needs_approval:
        what = doing.tool.bound(context_of(doing, None), doing.args).what
    elif doing.tool.effect == "external":
        what = f"{told_call(doing.tool.name, doing.args, doing.database)}."
    else:
        what = f"{told_call(doing.tool.name, doing.args, doing.database)} in the database {doing.database}."
    return Proposal(_hash(about), what, preview.shown, preview.about if doing.is_bulk else None)


def _of_session(doing: Doing, work: Work) -> Proposal:
    found = doing.tool.bound(context_of(doing, Desk(work, doing.access)), doing.args)
    return Proposal(_hash([doing.tool.name, doing.args, found.hash]), found.what, dict(found.shown))


def put_before_person(work: Work, doing: Doing, found: Proposal, stale: bool = False) -> None:
    """Let a call wait for the person; in the place of an approval of it that is stale, if there is one."""
    session = work.session
    before = next((pending for pending in session.pending if pending.call == doing.asked.id), None)
    name, turn = f"a{doing.asked.id[1:]}", session.turn
    if before is not None:
        session.pending.remove(before)
        number = int(before.id.partition(".")[2] or 1) + 1
        name, turn = f"{name}.{number}", before.turn
    session.pending.append(Pending(name, doing.asked.id, found.hash, found.what, turn))
    asked = session.call(doing.asked.id)
    assert asked is not None
    asked.status = "waiting"
    told = {"stale": before.id} if stale and before is not None else {}
    if told:
        message = "what was approved has changed meanwhile: look at it again"
        work.say("notice", text=message, code=APPROVAL_STALE)
    work.say(
        "card",
        card="approval",
        approval=name,
        call=asked.id,
        tool=asked.tool,
        args=asked.args,
        what=found.what,
        hash=found.hash,
        preview=found.preview,
        **told,
    )
    error = {"code": APPROVAL_STALE} if told else {}
    work.say("tool_result", call=asked.id, tool=asked.tool, status="waiting", result={"approval": name, **error})


def _hash(about: list[Any]) -> str:
    return hashlib.sha256(orjson.dumps(about, option=orjson.OPT_SORT_KEYS)).hexdigest()
