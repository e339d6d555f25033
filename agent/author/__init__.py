"""The author: the model's part of a session. It knows nothing of databases, Temporal or HTTP: what it sees is given to it.

situation.py  what the author sees                               turn.py       one request: a situation in, text and tool calls out
prompt.py     the system text, made from the situation                language.py   the language in short, made from its models
history.py    the log of a session as messages, within a budget       fencing.py    data in a prompt, told apart from what is asked
"""

from agent.author.situation import BUDGET, Situation
from agent.author.turn import Thought, think

__all__ = ["BUDGET", "Situation", "Thought", "think"]
