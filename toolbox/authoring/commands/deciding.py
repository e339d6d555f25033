"""/approve and /reject: the person's answer to what waits."""

import re
from typing import Final

from toolbox.authoring.commands.line import Line
from toolbox.authoring.commands.outcomes import Decision
from toolbox.errors import InvalidArguments

_ID: Final = re.compile(r"a\d+-\d+(\.\d+)?")
"""What the ids of approvals look like: a word like that is never a comment."""


def approve(line: Line) -> Decision:
    """/approve [ID] [COMMENT]"""
    return _decide(line, True)


def reject(line: Line) -> Decision:
    """/reject [ID] [COMMENT]"""
    return _decide(line, False)


def _decide(line: Line, approved: bool) -> Decision:
    """The first word is an id where it is one, whole; all else is the comment.

    An id under which nothing waits decides nothing: not about what is the only one that waits, and not about what stands in the place of an
    approval that is stale, because that is not what the person has looked at.
    """
    pending = line.setting.session.pending
    if not pending:
        raise InvalidArguments("nothing waits for a decision", hint="/last_tool tells what became of the last call")
    text = line.text.strip()
    first, rest = (*text.split(None, 1), "", "")[:2]
    waiting = "; ".join(f"{each.id}: {each.what}" for each in pending)
    if any(each.id == first for each in pending):
        return Decision(first, approved, rest)
    if _ID.fullmatch(first):
        raise InvalidArguments(f"nothing waits under the name {first}", hint=f"/{line.word} ID, of: {waiting}")
    if len(pending) == 1:
        return Decision(pending[0].id, approved, text)
    raise InvalidArguments(f"{len(pending)} things wait: which one?", hint=f"/{line.word} ID, of: {waiting}")
