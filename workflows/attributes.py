"""Search attributes of runs: how runs are found in Temporal's visibility store, by us and in the Temporal UI.

SopScript, SopVersion, SopDatabase, SopTrigger     set when a run begins
SopOutcome     how a script ended, if not completed: Temporal's own status says that, and a change costs an event and a write to the store
SopWaiting     for what a run waits, while it does
"""

from typing import Any, Final

from temporalio.common import SearchAttributeKey, SearchAttributePair, SearchAttributeUpdate, TypedSearchAttributes

from script import wire

OUTCOME: Final = SearchAttributeKey.for_keyword("SopOutcome")
WAITING: Final = SearchAttributeKey.for_keyword("SopWaiting")
SCHEDULED: Final = SearchAttributeKey.for_datetime(wire.SCHEDULED_FOR)


def of_child(call: dict[str, Any]) -> TypedSearchAttributes:
    """Those that a child run begins with."""
    values = (call["script"], call["version"][:12], call["database"] or "", "parent")
    return TypedSearchAttributes(
        [
            SearchAttributePair(SearchAttributeKey.for_keyword(name), value)
            for name, value in zip(wire.SEARCH_ATTRIBUTES, values, strict=False)
            if value
        ]
    )


def at_end(status: str, waiting: bool) -> list[SearchAttributeUpdate[Any]]:
    """What changes at the end of a run."""
    changes: list[SearchAttributeUpdate[Any]] = [] if status == "completed" else [OUTCOME.value_set(status)]
    return [*changes, WAITING.value_unset()] if waiting else changes
