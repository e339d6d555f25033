"""Effects: thin adapters from Temporal to toolbox, agent and query."""

from activities.execution import LEASE_SECONDS, Resources
from activities.notices import Notices
from activities.run import Activities

__all__ = ["LEASE_SECONDS", "Activities", "Notices", "Resources"]
