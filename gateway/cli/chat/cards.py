"""Cards of a session as lines of text. A card that is not known here is shown as JSON: nothing is kept from the person."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from rich.text import Text

from gateway.cli.live.steps import Steps
from gateway.cli.live.view import frame
from gateway.cli.output import cell
from gateway.cli.trace import failure_text, short

Card = Mapping[str, Any]
_SEVERE: Final = {"error": "red", "warning": "yellow"}
_PLUMBING: Final = ("session", "seq", "turn", "at", "type", "card")
_FIRST: Final = 5
"""Rows of a preview that are shown."""


def card_lines(card: Card, *, verbose: bool = False) -> list[Text]:
    """The lines of a card; `verbose` adds its JSON."""
    make = _CARDS.get(card["card"])
    told = {name: value for name, value in card.items() if name not in _PLUMBING}
    lines = make(card) if make is not None else [_bold(cell(card["card"]))]
    if verbose or make is None:
        lines += [Text(cell(line), "dim") for line in json.dumps(told, indent=2, ensure_ascii=False).split("\n")]
    return lines


def text_lines(text: str) -> list[Text]:
    """A text of several lines, made safe."""
    return [Text(cell(line)) for line in text.expandtabs(4).split("\n")]


def _question(card: Card) -> list[Text]:
    options = [Text(f"  {number}. {cell(option)}") for number, option in enumerate(card.get("options") or (), 1)]
    return [_bold("? " + cell(card.get("question", "")), "bold cyan"), *options, *_problems(card)]


def _draft(card: Card) -> list[Text]:
    """What was changed. Errors are told by a card of their own, which comes behind it."""
    wrong = sum(problem.get("severity") == "error" for problem in card.get("problems") or ())
    state = f"{wrong} errors" if wrong > 1 else "an error" if wrong else "no errors"
    head = f"draft {cell(card.get('name', ''))}, revision {card.get('revision', '?')}: {state}"
    notes = [problem for problem in card.get("problems") or () if problem.get("severity") != "error"]
    changed = (card.get("diff") or {}).get("text") or ["nothing changed"]
    return [_bold(head), *(_change(text) for text in changed), *_problems({"problems": notes})]


def _change(text: str) -> Text:
    style = "green" if " is new" in text else "red" if text.endswith(" is gone") else ""
    return Text(f"  {cell(text)}", style)


def _problems(card: Card) -> list[Text]:
    found = []
    for problem in card.get("problems") or ():
        severity = problem.get("severity", "error")
        text = f"  {severity}: {problem.get('pointer') or '/'}: {problem.get('message', '')}"
        found.append(Text(cell(text), _SEVERE.get(severity, "")))
        if problem.get("hint"):
            found.append(Text(f"    {cell(problem['hint'])}", "dim"))
    return found


def _only_problems(card: Card) -> list[Text]:
    return [_bold(f"problems of {cell(card.get('name') or card.get('draft') or 'the draft')}"), *_problems(card)]


def _trace(card: Card) -> list[Text]:
    name = cell(card.get("name") or card.get("script") or card.get("draft") or "")
    given = f" {short(card['arguments'])}" if card.get("arguments") else ""
    steps = Steps()
    for number, step in enumerate(card.get("steps") or (), 1):
        steps.add(_event(step, number))
    lines = [Text("  ").append_text(line) for line in frame(steps, 0.0, ended=True)]
    if card.get("left_out"):
        lines.append(Text(f"  ... {cell(card['left_out'])}", "dim"))
    status = cell(card.get("status", ""))
    if card.get("error"):
        lines.append(Text(f"  {status}: {failure_text(card['error'])}", "bold red"))
    else:
        result = f": {short(card['result'])}" if "result" in card else ""
        lines.append(Text(f"  {status}{result}", "bold green"))
    return [_bold(f"dry run of {name}{given}"), *lines]


def _event(step: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A step of a trace as the event of a run that it was."""
    path, kind = step.get("step") or "run", step.get("type") or ""
    event = {"seq": number, "type": kind, "status": step.get("status") or "", "path": path}
    event["iteration"] = step.get("iteration") or []
    condition = step.get("condition")
    if isinstance(condition, Mapping):
        event["result"] = {"substituted": condition.get("substituted"), "condition": condition.get("result")}
    elif "value" in step:
        event["result"] = step["value"]
    kept = {name: step[name] for name in ("rows", "notice") if step.get(name)}
    return event | kept | ({"error": step["error"]} if isinstance(step.get("error"), Mapping) else {})


def _approval(card: Card) -> list[Text]:
    lines = [_bold(f"! {cell(card.get('what', ''))}", "bold yellow")]
    lines.append(Text(f"  {cell(card.get('tool', ''))} {short(card.get('args'))}", "dim"))
    preview = card.get("preview") or {}
    diff = preview.get("diff") if isinstance(preview, Mapping) else None
    if isinstance(diff, Mapping):
        lines += [_change(text) for text in diff.get("text") or ["nothing changed"]]
    rest = {name: value for name, value in preview.items() if name not in ("diff", "script", "token")}
    for name, value in rest.items():
        if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
            lines.append(Text(f"  {cell(name)}:"))
            lines += [Text(f"    {short(row)}") for row in value[:_FIRST]]
            lines += [Text(f"    ... {len(value) - _FIRST} more", "dim")] if len(value) > _FIRST else []
        elif value not in (None, [], {}):
            lines.append(Text(f"  {cell(name)}: {short(value)}"))
    return [*lines, Text(f"  waits for a decision: {cell(card.get('approval', ''))}", "yellow")]


def _decision(card: Card) -> list[Text]:
    word = "approved" if card.get("approved") else "rejected"
    why = f": {cell(card['comment'])}" if card.get("comment") else ""
    return [Text(f"{cell(card.get('approval', ''))} {word}{why}", "green" if card.get("approved") else "red")]


def _schedule(card: Card) -> list[Text]:
    mocks = f", with {', '.join(map(cell, card['mocks']))} mocked" if card.get("mocks") else ""
    paused = " (paused)" if card.get("paused") else ""
    zone = cell(card.get("time_zone") or "UTC")
    head = f"schedule {cell(card.get('id', ''))}{paused}: {cell(card.get('script', ''))}{mocks}, times of {zone}"
    return [_bold(head), *(Text(f"  {_time(moment)}") for moment in card.get("next_runs") or ())]


def _time(moment: Any) -> str:
    return cell(moment.get("local") or moment.get("utc") if isinstance(moment, Mapping) else moment)


def _run(card: Card) -> list[Text]:
    run_id = cell(card.get("run_id", ""))
    head = f"run {run_id} of {cell(card.get('script', ''))} {cell(str(card.get('version', ''))[:12])}".rstrip()
    return [_bold(head), Text(f"  sop run watch {run_id}", "dim")]


def _recording(card: Card) -> list[Text]:
    state = cell(card.get("status") or "")
    left_out = card.get("left_out")
    more = f", {short(left_out)} left out" if left_out else ""
    return [_bold(f"recording {cell(card.get('name', ''))}: {state}, {card.get('recorded', 0)} steps{more}")]


def _bold(text: str, style: str = "bold") -> Text:
    return Text(text, style)


_CARDS: Final[dict[str, Callable[[Card], list[Text]]]] = {
    "question": _question,
    "draft": _draft,
    "problems": _only_problems,
    "trace": _trace,
    "approval": _approval,
    "decision": _decision,
    "schedule": _schedule,
    "run": _run,
    "recording": _recording,
}
