"""Authoring: sessions in which scripts are written, by words, by slash commands, or by recording what was done.

state.py           what a session is                     conversations.py   sessions and their logs, in the system database
desk.py            what the tools of a session get       meant.py           the database that a call is for
tools/             the tools of sessions                 commands/          slash commands
recorder.py        what was done, as steps               trace.py           what a dry run has shown
catalog.py         what the author sees of what there is
"""

from toolbox.authoring.conversations import Conversations, Record, Work
from toolbox.authoring.desk import Desk
from toolbox.authoring.state import Limits, Pending, Recording, Session, ToolCall

__all__ = ["Conversations", "Desk", "Limits", "Pending", "Record", "Recording", "Session", "ToolCall", "Work"]
