"""Slash commands: a text becomes one tool call with typed arguments, an answer, or a decision. Pure; no model is needed.

words.py      the words of a text                     values.py     what a word means for an argument
line.py       a line of words                         outcomes.py   what a command comes to
table.py      the commands                            parsing.py    text -> outcome
steps.py      steps of a draft                        running.py    scripts, now and by the calendar
deciding.py   approvals                               calendar.py   "every Monday at 9 AM in America/New_York"
helping.py    /help, and words for completion
"""

from toolbox.authoring.commands.calendar import read_calendar
from toolbox.authoring.commands.helping import words
from toolbox.authoring.commands.outcomes import Answer, Calls, Decision, Outcome
from toolbox.authoring.commands.parsing import is_command, parse
from toolbox.authoring.commands.table import COMMANDS

__all__ = ["COMMANDS", "Answer", "Calls", "Decision", "Outcome", "is_command", "parse", "read_calendar", "words"]
