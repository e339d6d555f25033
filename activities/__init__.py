"""Effects: thin adapters from Temporal to toolbox and query."""

from activities.execution import Resources
from activities.run import Activities

__all__ = ["Activities", "Resources"]
