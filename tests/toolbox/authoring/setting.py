"""What commands are read with in tests."""

from functools import cache
from typing import Any

from toolbox.authoring.state import Pending, Session
from toolbox.registry import Registry, builtin_registry

NOW = "2026-01-05T09:00:00.000+00:00"
_PARAMETERS: dict[str | None, list[Any]] = {
    "check_churn_risk": [
        {"name": "customer_id", "type": "string"},
        {"name": "as_of", "type": {"type": "string", "format": "date"}},
        {"name": "limit", "type": "integer"},
        {"name": "ratio", "type": "number"},
    ],
    None: ["customer_id"],
}


def parameters(name: str | None) -> list[Any] | None:
    """The parameters of a script."""
    return _PARAMETERS.get(name)


@cache
def registry() -> Registry:
    """The built-in tools."""
    return builtin_registry()


def session(*pending: Pending) -> Session:
    """A session; what waits in it."""
    return Session("s1", "k1", NOW, NOW, database="customers", pending=list(pending))
