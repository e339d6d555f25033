"""A run's events as lines for a person: one a step, with what it saw.

check_risk              if       94 > 60 && 1200 > 500 -> true
each_customer/mail#17   command  {"status":"mocked"}  12 ms
pause                   wait     completed  (a dry run does not wait: its clock goes on by 7200 s)
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from gateway.cli.output import cell

MAX_VALUE: Final = 160
_PATH, _TYPE = 32, 9


def line(event: Mapping[str, Any]) -> str:
    """One event as one line."""
    if event["type"] in ("run", "warning", "error") or "path" not in event:
        return run_line(event)
    iteration = ".".join(map(str, event.get("iteration") or []))
    place = f"{event['path']}#{iteration}" if iteration else event["path"]
    took = f"  {event['duration_ms']:.0f} ms" if event.get("duration_ms", 0) >= 1 else ""
    return f"{place:<{_PATH}}  {event['type']:<{_TYPE}}  {told(event)}{took}".rstrip()


def told(event: Mapping[str, Any]) -> str:
    """What an event of a step says, without its place and its time."""
    return _result(event) + _notice(event)


def _result(event: Mapping[str, Any]) -> str:
    if event.get("error"):
        return f"{event['status']}: {failure_text(event['error'])}"
    if event.get("rows"):
        return f"{event['rows']['count']} rows"
    result = event.get("result")
    if isinstance(result, Mapping) and "substituted" in result:
        skipped = "  (skipped)" if event["status"] == "skipped" else ""
        return f"{cell(result['substituted'])} -> {short(result['condition'])}{skipped}"
    if event["type"] == "progress" and isinstance(result, Mapping):
        total = f" of {result['total']}" if result.get("total") is not None else ""
        return f"{result['processed']}{total}" + (f", {result['failed']} failed" if result.get("failed") else "")
    if event["type"] == "say":
        return cell(result)
    return short(result) if result is not None else str(event["status"])


def _notice(event: Mapping[str, Any]) -> str:
    return f"  ({cell(event['notice'])})" if event.get("notice") else ""


def run_line(event: Mapping[str, Any]) -> str:
    """An event of the run itself, a warning, or a compensation, in one line."""
    if event["type"] == "run" and event["status"] == "started":
        kind = "dry run of " if event.get("dry_run") else ""
        rerun = f", again {event['rerun_of']} from {event['from']}" if "rerun_of" in event else ""
        rerun += ", failed elements only" if event.get("elements") == "failed" else ""
        return f"run {event['run_id']}: {kind}{event['script']} {short(event['arguments'])}{rerun}"
    head = f"run {event['status']}" if event["type"] == "run" else f"{event['type']}: {event.get('status', 'stream')}"
    if event["type"] == "compensation":
        head = f"compensation of {event['step']}: {event['status']}"
    error = event.get("error")
    if error:
        return f"{head}: {failure_text(error)}"
    if event.get("rows"):
        return f"{head}: {event['rows']['count']} rows"
    return head + _notice(event)


def failure_text(error: Mapping[str, Any]) -> str:
    """An error in one line: where, what, and what to do."""
    where = f"{error['step']}: " if error.get("step") else ""
    hint = f" ({error['hint']})" if error.get("hint") else ""
    return cell(f"{where}{error.get('message') or error.get('detail')}{hint} [{error['code']}]")


def short(value: Any) -> str:
    """A value as JSON in one line; a long one is cut, and says so. (`-o ndjson` has it whole.)"""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return cell(text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}... ({len(text)} characters)")
