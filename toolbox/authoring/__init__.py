"""Authoring: sessions in which scripts are written, by words, by slash commands, or by recording what was done.

state.py           what a session is                     conversations.py   sessions and their logs, in the system database
desk.py            what the tools of a session get       commands/          slash commands
"""

from toolbox.authoring.conversations import Conversations, Record, Work
from toolbox.authoring.desk import Desk
from toolbox.authoring.state import Limits, Pending, Recording, Session, ToolCall

__all__ = ["Conversations", "Desk", "Limits", "Pending", "Record", "Recording", "Session", "ToolCall", "Work"]
