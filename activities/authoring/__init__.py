"""What a session does: plain functions of (resources, call), which activities and tests call alike.

hearing.py    hear_message: a message is written down, and begins a turn
thinking.py   think: one request to the model
acting.py     act: one tool call, performed, refused or put before the person
turns.py      end_turn; what is under way, and its budgets
calls.py      one tool call: what it takes, who decides about it, performing it
approvals.py  what is put before the person, bound by a hash; previews.py: what it would do
catalog.py    what the model is told there is
commands.py   slash commands
rehearsal.py  dry runs, here and now
driving.py    a whole turn, here and now
"""

from activities.authoring.acting import act
from activities.authoring.driving import take
from activities.authoring.hearing import hear_message
from activities.authoring.rehearsal import LocalRehearsal
from activities.authoring.thinking import think
from activities.authoring.turns import TurnEnded, end_turn

__all__ = ["LocalRehearsal", "TurnEnded", "act", "end_turn", "hear_message", "take", "think"]
