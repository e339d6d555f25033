"""The author: the model's part of a session. It knows nothing of databases, Temporal or HTTP: what it sees is given to it."""

from agent.author.turn import Situation, Thought, think

__all__ = ["Situation", "Thought", "think"]
