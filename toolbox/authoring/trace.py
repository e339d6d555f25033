"""The trace of a dry run: each step with its value, each condition with what it saw. Short enough to be read; what is left out is said."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

CARD_STEPS: Final = 300
CARD_CHARACTERS: Final = 2_000
"""Of the card: steps, and characters of a value's JSON."""
TOLD_STEPS: Final = 40
TOLD_CHARACTERS: Final = 240
"""Of what a model is told."""
_RUN: Final = "run"


def trace(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The steps of a run's events: {step, type, status, iteration?, value | rows | error, condition?, notice?}.

    condition is {expression, values, substituted, result}: `days > 60`, {days: 94}, `94 > 60`, true.
    """
    return [_step(event) for event in events if event.get("type") != _RUN]


def shortened(steps: Sequence[dict[str, Any]], most: int, characters: int, left_out: int = 0) -> dict[str, Any]:
    """{steps, left_out?}: the first and the last of too many, and the beginnings of long values."""
    shown = list(steps)
    if len(steps) > most:
        shown = [*steps[: most - most // 3], *steps[len(steps) - most // 3 :]]
    missing = len(steps) - len(shown) + left_out
    told = [{name: _shortened(name, value, characters) for name, value in step.items()} for step in shown]
    return {"steps": told, **({"left_out": f"{missing} more steps"} if missing else {})}


def short(value: Any, characters: int) -> Any:
    """A value, or the beginning of its JSON with what it is when that is long."""
    text = orjson.dumps(value).decode()
    if len(text) <= characters:
        return value
    kind = f"list of {len(value)}" if isinstance(value, list) else "text" if isinstance(value, str) else "value"
    return f"{text[:characters]}… ({kind}, {len(text)} characters)"


def _shortened(name: str, value: Any, characters: int) -> Any:
    """A field of a step; of a long condition or error what says most is kept."""
    kept = {"condition": ("substituted", "result"), "error": ("code", "message", "hint")}.get(name)
    if kept is None or short(value, characters) is value:
        return short(value, characters)
    return {part: short(value[part], characters) for part in kept if part in value}


def _step(event: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "step": event.get("path", event.get("name", "")),
        "type": event.get("type"),
        "status": event.get("status"),
    }
    if event.get("iteration"):
        found["iteration"] = event["iteration"]
    seen = event.get("result")
    if isinstance(seen, Mapping) and {"expression", "values", "substituted"} <= seen.keys():
        found["condition"] = {name: seen[name] for name in ("expression", "values", "substituted")} | {
            "result": seen.get("condition")
        }
    elif "rows" in event:
        found["rows"] = {"count": event["rows"].get("count")}
    elif "result" in event:
        found["value"] = seen
    for name in ("error", "notice", "code", "message"):
        if event.get(name) is not None:
            found[name] = event[name]
    return found
