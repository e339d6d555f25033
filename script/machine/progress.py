"""How far a batch is: what its progress events tell, and how many failures it stands.

processed, failed, total    elements gone through, how many of them failed, how many there are
rate                        elements in a second, over the last chunks; null as long as no time has passed
eta_seconds                 how long the rest takes at that rate
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

_CHUNKS: Final = 8
"""The rate is that of so many chunks: a pause does not spoil it for long."""

Record = dict[str, Any]


def tolerated(setting: int | str | None, total: int) -> int | None:
    """How many of `total` elements may fail, by a number or a text such as `2%`; None: not one, and the first ends the batch."""
    if isinstance(setting, str):
        return int(Decimal(setting.removesuffix("%")) * total / 100)
    return setting


def begun(record: Record, clock: str, total: int) -> None:
    """Begin to count."""
    record |= {"processed": 0, "failed": 0, "total": total, "pace": [[clock, 0]]}


def counted(record: Record, clock: str, processed: int, failed: int) -> None:
    """Count a chunk in."""
    record["processed"] += processed
    record["failed"] += failed
    record["pace"] = [*record["pace"], [clock, record["processed"]]][-_CHUNKS - 1 :]


def progress(record: Record) -> dict[str, Any]:
    """What an event tells."""
    (since, before), (until, now) = record["pace"][0], record["pace"][-1]
    seconds = (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()
    rate = (now - before) / seconds if seconds > 0 else None
    left = record["total"] - record["processed"]
    told = {name: record[name] for name in ("processed", "failed", "total")}
    return told | {
        "rate": round(rate, 1) if rate is not None else None,
        "eta_seconds": round(left / rate, 1) if rate else None,
    }
