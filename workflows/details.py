"""What the Temporal UI shows of a run while it runs: Markdown, kept in the workflow and read by a query, so that it costs no history.

**paused**

| where | |
|---|---|
| `each/mail#17` | send_email |
| `release` | waits for anna, ben: *Ship it?* |

4 results so far; the last ones first:

- `each/mail#16` {"status":"sent"}
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from script.wire import Outcome

MAX_ROWS: Final = 20
MAX_TEXT: Final = 120
_LAST: Final = 5


class Details:
    """Remembers the last results of a run."""

    def __init__(self) -> None:
        self._count = 0
        self._last: deque[str] = deque(maxlen=_LAST)

    def note(self, outcomes: Mapping[str, Outcome]) -> None:
        """Take in what effects have given; those that give nothing (timers, commits) are not told."""
        told = [(name, outcome) for name, outcome in outcomes.items() if outcome.value is not None or outcome.error]
        self._count += len(told)
        self._last.extend(_result(name, outcome) for name, outcome in told[-_LAST:])

    def text(self, told: Mapping[str, Any]) -> str:
        """The Markdown of a run that stands as `told`."""
        parts = ["**paused**"] if told["paused"] else []
        if told["ending"] is not None:
            parts.append(f"**ending**: {told['ending']}")
        rows = [*_rows(told)]
        if rows:
            shown = [*rows[:MAX_ROWS], *([f"| and {len(rows) - MAX_ROWS} more | |"] if len(rows) > MAX_ROWS else [])]
            parts.append("\n".join(["| where | |", "|---|---|", *shown]))
        if self._last:
            lines = "\n".join(f"- {line}" for line in reversed(self._last))
            parts.append(f"{self._count} results so far; the last ones first:\n\n{lines}")
        return "\n\n".join(parts)


def _rows(told: Mapping[str, Any]) -> Iterable[str]:
    waiting = {entry["step"] for name in ("timers", "approvals", "children") for entry in told[name]}
    for batch in told["batches"]:
        yield _row(batch["step"], f"{batch['processed']} of {batch['total']}, {batch['failed']} failed")
    waiting |= {batch["step"] for batch in told["batches"]}
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


def _result(name: str, outcome: Outcome) -> str:
    if outcome.error is not None:
        what = f"failed: {outcome.error.get('message', '')}"
    else:
        what = orjson.dumps(outcome.value).decode()
    return f"{_code(name)} {plain(what)}"


def _code(text: str) -> str:
    """A step's key as code."""
    return "`" + _short(text).replace("`", "'").replace("|", "/") + "`"


def plain(text: str) -> str:
    """Text that means nothing in Markdown, in one line, and short: what is cut ends in `...`."""
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>#|!~" else char for char in _short(text))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 3] + "..."


__all__ = ["MAX_ROWS", "Details", "plain"]
