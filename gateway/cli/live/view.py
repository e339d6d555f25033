"""A run's tree as lines of text, and which of them are shown where there is room for fewer.

    check_risk               if       94 > 60 && 1200 > 500 -> true
    each_customer            loop     1500 of 23570, 2 failed, 950 a second, about 23 s left
      mail                   command  3 at once  0.4 s

A loop that has ended is one line, always. Where the screen ends, what has ended is one line too, and then what ended first is left out,
which a line says. What is under way, and what has failed, stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rich.text import Text

from gateway.cli.live.steps import Step, Steps
from gateway.cli.output import cell
from gateway.cli.trace import failure_text, run_line, told

SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_MARKS: Final = {"completed": ("✓", "green"), "failed": ("✗", "red"), "skipped": ("–", "dim")}
_WAITING: Final = ("◷", "yellow")
_STOPPED: Final = ("■", "yellow")
_BAR: Final = 20
_WIDTH: Final = 30


@dataclass(frozen=True)
class Line:
    """A line; `vital` if it is left out last of all."""

    text: Text
    vital: bool


def frame(steps: Steps, now: float, *, height: int | None = None, ended: bool = False) -> list[Text]:
    """The tree at a moment, in at most `height` lines. `ended`: nobody watches any more, so nothing is said to be under way."""
    head = [_styled(run_line(steps.begun), "bold")] if steps.begun is not None else []
    foot = [_styled(run_line(notice), "yellow") for notice in steps.root.notices] + _foot(steps)
    room = None if height is None else max(1, height - len(head) - len(foot))
    lines = _lines(steps, now, fold=False, ended=ended)
    if room is not None and len(lines) > room:
        lines = _shortened(_lines(steps, now, fold=True, ended=ended), room)
    return [*head, *(line.text for line in lines), *foot]


def _foot(steps: Steps) -> list[Text]:
    if steps.end is not None:
        good = steps.end["status"] == "completed"
        return [_styled(run_line(steps.end), "bold green" if good else "bold red")]
    said = [f"the run ends: {steps.ending}"] if steps.ending else []
    said += ["paused: sop run resume"] if steps.paused else []
    said += [f"{steps.unlisted} more under way"] if steps.unlisted else []
    said += ["the gateway does not answer; the run goes on"] if steps.silent else []
    return [_styled("; ".join(said), "yellow")] if said else []


def _lines(steps: Steps, now: float, *, fold: bool, ended: bool) -> list[Line]:
    found: list[Line] = []

    def show(step: Step, depth: int) -> None:
        folded = bool(step.children) and step.ended and (step.kind == "loop" or fold)
        found.append(_line(step, depth, now, folded=folded, ended=ended))
        found.extend(_notices(step, depth))
        if folded:
            return
        for child in step.children.values():
            show(child, depth + 1)

    for step in steps.root.children.values():
        show(step, 0)
    return found


def _shortened(lines: list[Line], room: int) -> list[Line]:
    """So many lines, the first ones left out, those that are not vital before the others."""
    if len(lines) <= room:
        return lines
    leave = len(lines) - room + 1
    order = sorted(range(len(lines)), key=lambda place: (lines[place].vital, place))
    kept = [lines[place] for place in sorted(order[leave:])]
    return [Line(_styled(f"... {leave} lines more", "dim"), True), *kept]


def _line(step: Step, depth: int, now: float, *, folded: bool, ended: bool) -> Line:
    mark, style = _mark(step, now, ended=ended)
    text = Text("  " * depth, no_wrap=True, overflow="ellipsis")
    text.append(mark, style).append(" ")
    text.append(f"{cell(step.name):<{max(0, _WIDTH - 2 * depth)}}  ").append(f"{step.kind or '':<8}", "dim")
    for part, how in _said(step, now, ended=ended):
        text.append("  ").append(part, how)
    if folded and step.failures:
        text.append(f"  {step.failures} failed in it", "red")
    text.rstrip()
    return Line(text, step.busy or step.open or bool(step.failed))


def _mark(step: Step, now: float, *, ended: bool) -> tuple[str, str]:
    if step.waits:
        return _WAITING
    if (step.busy or step.last is None or step.open) and not ended:
        return SPINNER[int(now * 10) % len(SPINNER)], "cyan"
    if step.busy or step.last is None or step.open:
        return _STOPPED
    return _MARKS.get(step.last["status"], ("✗", "red"))


def _said(step: Step, now: float, *, ended: bool) -> list[tuple[str, str]]:
    """What stands behind a step's name, and in which style."""
    found: list[tuple[str, str]] = []
    if step.progress is not None:
        found.append((_batch(step.progress), ""))
    elif step.is_loop and step.position is not None:
        found.append((f"iteration {step.position + 1}", ""))
    elif step.times:
        found.append((f"{step.times} times", ""))
    elif step.executions > 1:
        found.append((f"×{step.executions}", ""))
    if step.failed and step.executions > 1:
        found.append((f"{step.failed} failed", "red"))
    if step.waits:
        found.append((f"waits {cell('; '.join(step.waits))}", "yellow"))
    elif step.running and step.kind != "run":
        found += [(f"{len(step.running)} at once", "")] if len(step.running) > 1 else []
        since = min(step.running.values())
        found += [(_seconds(now - since), "dim")] if not ended and now - since >= 1 else []
    elif step.last is not None and not step.open:
        found.append((told(step.last), "red" if step.last.get("error") else ""))
        found += [(_seconds(step.milliseconds / 1000), "dim")] if step.milliseconds >= 1 else []
    return [part for part in found if part[0]]


def _batch(progress: Mapping[str, Any]) -> str:
    """How far a batch is."""
    done, total = progress["processed"], progress.get("total")
    bar = f"{'█' * (filled := min(_BAR, _BAR * done // total))}{'░' * (_BAR - filled)} " if total else ""
    said = [f"{bar}{done}" + (f" of {total}" if total is not None else "")]
    said += [f"{progress['failed']} failed"] if progress.get("failed") else []
    said += [f"{progress['rate']:.0f} a second"] if progress.get("rate") else []
    said += [f"about {_seconds(progress['eta_seconds'])} left"] if progress.get("eta_seconds") else []
    return ", ".join(said)


def _notices(step: Step, depth: int) -> list[Line]:
    """The last warnings about a step."""
    found = [f"{event['status']}: {failure_text(event['error'])}" for event in step.notices if event.get("error")]
    more = step.noticed - len(step.notices)
    found += [f"{more} warnings before"] if more else []
    return [Line(_styled(f"{'  ' * (depth + 1)}! {text}", "yellow"), False) for text in found]


def _seconds(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _styled(text: str, style: str) -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")
