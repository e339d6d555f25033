"""What the author sees when it is asked for the next thing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.protocol import Tool

BUDGET = 60_000
"""About how many tokens a request has."""


@dataclass(frozen=True)
class Situation:
    """What the author sees.

    `records` is the log of the session (`toolbox.authoring.conversations`), oldest first, without deltas. `tools` are those that it may
    call. `catalog` is what there is: {databases: [{name, stores: [{name, primary_key, indexes, schema, rows, relations}]}], scripts:
    [{name, description, parameters, database}], tools: {name: not configured because ...}, database (the one that is meant), draft
    {id, name, revision, script, problems} or None, mocks, stub, recording, now, time_zone}. The time zone
    is the person's, or None where it is not known.

    `redact` takes out of a text what no model may see. `budget` is about how many tokens the request may have: older turns are told
    shorter, or left out, and so is a large catalog.
    """

    records: Sequence[dict[str, Any]]
    tools: Sequence[Tool]
    catalog: dict[str, Any] = field(default_factory=dict)
    redact: Callable[[str], str] = lambda text: text
    budget: int = BUDGET
