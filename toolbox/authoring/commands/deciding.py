"""/approve and /reject: the person's answer to what waits."""

from toolbox.authoring.commands.line import Line
from toolbox.authoring.commands.outcomes import Decision
from toolbox.errors import InvalidArguments


def approve(line: Line) -> Decision:
    """/approve [ID] [COMMENT]"""
    return _decide(line, True)


def reject(line: Line) -> Decision:
    """/reject [ID] [COMMENT]"""
    return _decide(line, False)


def _decide(line: Line, approved: bool) -> Decision:
    """The first word is an id, or the beginning of one, where it is; all else is the comment."""
    pending = line.setting.session.pending
    if not pending:
        raise InvalidArguments("nothing waits for a decision")
    text = line.text.strip()
    first, rest = (*text.split(None, 1), "", "")[:2]
    named = [each for each in pending if each.id == first] or [
        each for each in pending if first and len(first) >= 4 and each.id.startswith(first)
    ]
    if len(named) == 1:
        return Decision(named[0].id, approved, rest)
    if len(pending) == 1:
        return Decision(pending[0].id, approved, text)
    waiting = "; ".join(f"{each.id}: {each.what}" for each in pending)
    raise InvalidArguments(f"{len(pending)} things wait: which one?", hint=f"/{line.word} ID, of: {waiting}")
