"""What the Temporal UI shows of a run while it runs: Markdown, kept in the workflow and read by a query, so that it costs no history.

**paused**

| where | |
|---|---|
| `each/mail#17` | send_email |
| `release` | waits for anna, ben: *Ship it?* |

Last results: ...
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from script.events import Recent

MAX_ROWS: Final = 20
MAX_TEXT: Final = 120


def text(told: Mapping[str, Any], recent: Recent) -> str:
    """The Markdown of a run that stands as `told`, with its last results."""
    parts = ["**paused**"] if told["paused"] else []
    if told["ending"] is not None:
        parts.append(f"**ending**: {told['ending']}")
    rows = [*_rows(told)]
    if rows:
        shown = [*rows[:MAX_ROWS], *([f"| and {len(rows) - MAX_ROWS} more | |"] if len(rows) > MAX_ROWS else [])]
        parts.append("\n".join(["| where | |", "|---|---|", *shown]))
    if recent.count:
        lines = "\n".join(f"- {_result(event)}" for event in reversed(recent.last()))
        parts.append(f"{recent.count} results so far; the last ones first:\n\n{lines}")
    return "\n\n".join(parts)


def _rows(told: Mapping[str, Any]) -> Iterable[str]:
    waiting = {entry["step"] for name in ("timers", "approvals", "children") for entry in told[name]}
    for step in told["steps"]:
        if step["step"] not in waiting:
            yield _row(step["step"], step.get("tool", step["type"]))
    for approval in told["approvals"]:
        yield _row(approval["step"], f"waits for {', '.join(map(str, approval['by']))}: {approval['prompt']}")
    for child in told["children"]:
        yield _row(child["step"], f"run {child['run_id']}")
    for timer in told["timers"]:
        yield _row(timer["step"], f"until {timer['until']}")


def _row(step: str, what: str) -> str:
    return f"| {_code(step)} | {plain(what)} |"


def _result(event: Mapping[str, Any]) -> str:
    key = event["path"] + ("#" + ".".join(map(str, event["iteration"])) if event["iteration"] else "")
    if "error" in event:
        what = f"{event['status']}: {event['error'].get('message', '')}"
    elif "rows" in event:
        what = f"{event['rows']['count']} rows"
    else:
        what = orjson.dumps(event.get("result")).decode()
    return f"{_code(key)} {plain(what)}"


def _code(text: str) -> str:
    """A step's key as code."""
    return "`" + _short(text).replace("`", "'").replace("|", "/") + "`"


def plain(text: str) -> str:
    """Text that means nothing in Markdown, in one line, and short: what is cut ends in `...`."""
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>#|!~" else char for char in _short(text))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 3] + "..."


__all__ = ["MAX_ROWS", "plain", "text"]
