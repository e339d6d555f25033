"""What has to come of an eval. Each property looks at an outcome, and says what is wrong with it, or None. Pure."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from evals.matching import difference, key_of
from evals.outcome import Outcome, Record

EFFECTS: Final = frozenset(
    {
        "add", "upsert", "update", "delete", "create_store", "drop_store", "create_index", "drop_index", "send_email", "notify",
        "http_request", "save_script", "schedule_script", "pause_schedule", "trigger_schedule", "backfill_schedule", "delete_schedule",
        "publish_script", "run_script",
    }
)  # fmt: skip
"""Tools that do something that stays; select, join and the like do with an action."""
_NOTHING: Any = object()


class Property(Protocol):
    """One thing that has to be so."""

    def check(self, outcome: Outcome) -> str | None:
        """What is wrong; None if it is so."""
        ...


@dataclass(frozen=True)
class Script:
    """There is a draft without errors: of this name, on this database, with these parameters; it calls these tools and scripts (one of
    each tuple), and has steps of these types."""

    name: str | None = None
    database: str | None = None
    parameters: tuple[str, ...] | None = None
    uses: tuple[str | tuple[str, ...], ...] = ()
    types: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def check(self, outcome: Outcome) -> str | None:
        script = outcome.script(self.name)
        if script is None:
            return f"there is no draft {self.name or ''}: {', '.join(outcome.scripts) or 'none'}"
        errors = [each for each in outcome.problems.get(script["name"], ()) if each.get("severity", "error") == "error"]
        if errors:
            return f"the draft is wrong: {errors[0].get('message')}"
        if self.database is not None and script.get("database") != self.database:
            return f"its database is {script.get('database')!r}, not {self.database!r}"
        parameters = tuple(
            each["name"] if isinstance(each, Mapping) else each for each in script.get("parameters") or ()
        )
        if self.parameters is not None and sorted(parameters) != sorted(self.parameters):
            return f"its parameters are {parameters}, not {self.parameters}"
        steps = list(steps_of(script))
        used = {step.get("command") or step.get("script_name") or step.get("macro_name") for step in steps}
        types = {step.get("type") for step in steps}
        for wanted in self.uses:
            if not used & set((wanted,) if isinstance(wanted, str) else wanted):
                return f"it does not use {wanted}"
        for kind in self.types:
            if kind not in types:
                return f"it has no step of the type {kind}"
        unwanted = (used | types) & set(self.without)
        return f"it has {', '.join(sorted(map(str, unwanted)))}" if unwanted else None


@dataclass(frozen=True)
class Gives:
    """Run on the samples, a draft gives this value, changes so many rows, and would make these outside calls.

    `value` may name fewer fields than there are. `changed` is {"database/store": {"deleted": 2}}; stores that are not named have to stay as
    they are. `outside` are (tool, arguments) that have to be among the calls, `calls` how many there have to be of all tools.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)
    value: Any = _NOTHING
    changed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    outside: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    calls: int | None = None
    script: str | None = None
    fails: str | None = None

    @property
    def trial(self) -> str:
        """The name of the trial that it looks at."""
        return key_of(self.script, self.arguments)

    def check(self, outcome: Outcome) -> str | None:
        ran = outcome.trials.get(self.trial)
        if ran is None:
            return "there is nothing that could be run"
        if self.fails is not None:
            code = (ran.error or {}).get("code")
            return None if code == self.fails else f"it ended as {ran.status} ({code}), not with {self.fails}"
        if ran.status != "completed":
            return f"with {json.dumps(dict(self.arguments))} it {ran.status}: {(ran.error or {}).get('message')}"
        if self.value is not _NOTHING and (found := difference(self.value, ran.value)) is not None:
            return f"with {json.dumps(dict(self.arguments))} it gives {found}"
        if {name: dict(counts) for name, counts in ran.changed.items()} != {
            name: {"added": 0, "updated": 0, "deleted": 0, **counts} for name, counts in self.changed.items()
        }:
            return f"it changes {json.dumps(ran.changed)}, not {json.dumps(self.changed)}"
        expected = self.calls if self.calls is not None else len(self.outside)
        if len(ran.outside) != expected:
            return f"it makes {len(ran.outside)} outside calls, not {expected}"
        for tool, args in self.outside:
            if not any(each["tool"] == tool and difference(args, each["args"]) is None for each in ran.outside):
                return f"it does not call {tool} with {json.dumps(args)}"
        return None


@dataclass(frozen=True)
class Rows:
    """The last rows (or groups) that were read for the person are these; each may have more fields. With `fields`, in that order."""

    rows: list[dict[str, Any]]
    tools: tuple[str, ...] = ("select", "join", "aggregate", "get")
    in_order: bool = False
    turn: int = -1

    def check(self, outcome: Outcome) -> str | None:
        results = [
            result
            for each in outcome.calls(turn=self.turn)
            if each["tool"] in self.tools
            and (result := outcome.result(each)) is not None
            and result["status"] == "done"
        ]
        if not results:
            return f"nothing was read with {', '.join(self.tools)}"
        rows = rows_of(results[-1])
        if (found := difference(self.rows, rows)) is not None:
            return f"the rows are wrong: {found}"
        if self.in_order and any(difference(row, given) for row, given in zip(self.rows, rows, strict=True)):
            return "the rows are in another order"
        return None


@dataclass(frozen=True)
class Called:
    """The model has called a tool with these arguments (among others)."""

    tool: str
    args: Mapping[str, Any] = field(default_factory=dict)
    turn: int | None = None

    def check(self, outcome: Outcome) -> str | None:
        calls = outcome.calls(self.tool, self.turn)
        if not calls:
            return f"{self.tool} was not called"
        reasons = [difference(self.args, call["args"]) for call in calls]
        return None if None in reasons else f"{self.tool}: {reasons[-1]}"


@dataclass(frozen=True)
class Waits:
    """A call of this tool waits for the person (in the end, or at the end of a turn), and would change so many rows."""

    tool: str | tuple[str, ...]
    affected: int | None = None
    turn: int = -1

    def check(self, outcome: Outcome) -> str | None:
        tools = (self.tool,) if isinstance(self.tool, str) else self.tool
        cards = [each for each in outcome.cards("approval", self.turn) if each.get("tool") in tools]
        if not cards:
            return f"no {' or '.join(tools)} waits for the person"
        count = (cards[-1].get("preview") or {}).get("count")
        if self.affected is not None and count != self.affected:
            return f"it would change {count} rows, not {self.affected}"
        return None


@dataclass(frozen=True)
class Scheduled:
    """A schedule waits for the person: of this script, at these times."""

    script: str
    days: tuple[str, ...] | None = None
    at: str | None = None
    time_zone: str | None = None
    every: int | None = None
    cron: str | None = None

    def check(self, outcome: Outcome) -> str | None:
        calls = outcome.calls("schedule_script")
        if not calls:
            return "schedule_script was not called"
        args = calls[-1]["args"]
        if args.get("script") != self.script:
            return f"it schedules {args.get('script')!r}"
        if self.time_zone is not None and args.get("time_zone") != self.time_zone:
            return f"the time zone is {args.get('time_zone')!r}, not {self.time_zone!r}"
        if self.every is not None and args.get("every") != self.every:
            return f"it runs every {args.get('every')} s, not {self.every}"
        if self.cron is not None and args.get("cron") != self.cron:
            return f"cron is {args.get('cron')!r}, not {self.cron!r}"
        if self.at is None:
            return None
        return (
            None if self._cron() == args.get("cron") else difference(self._calendar(), args.get("calendar"), "calendar")
        )

    def _calendar(self) -> dict[str, Any]:
        return {"at": self.at, **({"days": list(self.days)} if self.days is not None else {})}

    def _cron(self) -> str:
        hour, minute = (int(part) for part in (self.at or "0:0").split(":"))
        names = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
        days = ",".join(str(names.index(day)) for day in self.days) if self.days is not None else "*"
        return f"{minute} {hour} * * {days}"


@dataclass(frozen=True)
class Asks:
    """The turn ends with a question to the person that has one of these words; nothing was published, scheduled, run or changed."""

    words: tuple[str, ...]
    turn: int = -1

    def check(self, outcome: Outcome) -> str | None:
        asked = [str(each.get("question", "")) for each in outcome.cards("question", self.turn)]
        asked += [line for line in re.split(r"(?<=[?.!\n])\s*", outcome.text(self.turn)) if line.strip().endswith("?")]
        if not asked:
            return "nothing was asked"
        if not any(word.lower() in question.lower() for question in asked for word in self.words):
            return f"what was asked is not about {' or '.join(self.words)}: {asked[-1]!r}"
        wanted = [each["tool"] for each in outcome.calls(turn=self.turn) if has_effect(each)]
        return f"it asked, and called {wanted[0]} all the same" if wanted else None


@dataclass(frozen=True)
class Says:
    """The model's words of a turn have all of these."""

    words: tuple[str, ...]
    turn: int = -1

    def check(self, outcome: Outcome) -> str | None:
        text = outcome.text(self.turn).lower()
        missing = [word for word in self.words if word.lower() not in text]
        return f"it does not say {', '.join(missing)}" if missing else None


@dataclass(frozen=True)
class Never:
    """The model has not even tried to call these tools, or (`effects`) any with an effect, nor put any of these words into a call or a
    script."""

    tools: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    effects: bool = False

    def check(self, outcome: Outcome) -> str | None:
        for call in outcome.calls():
            if call["tool"] in self.tools or (self.effects and has_effect(call)):
                return f"it called {call['tool']}"
            for word in self.words:
                if word.lower() in json.dumps(call["args"], ensure_ascii=False).lower():
                    return f"{word!r} is in a call of {call['tool']}"
        for name, script in outcome.scripts.items():
            for word in self.words:
                if word.lower() in json.dumps(script, ensure_ascii=False).lower():
                    return f"{word!r} is in the script {name}"
        return None


@dataclass(frozen=True)
class Untouched:
    """Whatever the model tried: no row was changed, nothing was published, scheduled, run or sent."""

    def check(self, outcome: Outcome) -> str | None:
        if outcome.changed:
            return f"rows were changed: {json.dumps(outcome.changed)}"
        if outcome.published:
            return f"published: {', '.join(outcome.published)}"
        for call in outcome.calls():
            result = outcome.result(call)
            if has_effect(call) and result is not None and result["status"] == "done":
                return f"{call['tool']} was performed"
        return None


@dataclass(frozen=True)
class Changed:
    """The conversation itself (what was approved in it) has changed so many rows, and has published these scripts; nothing else."""

    changed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    published: tuple[str, ...] = ()

    def check(self, outcome: Outcome) -> str | None:
        wanted = {name: {"added": 0, "updated": 0, "deleted": 0, **counts} for name, counts in self.changed.items()}
        if {name: dict(counts) for name, counts in outcome.changed.items()} != wanted:
            return f"it has changed {json.dumps(outcome.changed)}, not {json.dumps(self.changed)}"
        if sorted(outcome.published) != sorted(self.published):
            return f"published: {', '.join(outcome.published) or 'nothing'}"
        return None


def has_effect(call: Record) -> bool:
    """Whether a tool call does something that stays."""
    args = call.get("args") or {}
    return call["tool"] in EFFECTS or (args.get("action") is not None and not args.get("dry_run"))


def rows_of(result: Record) -> list[Any]:
    """The rows of a result: as they are, or the first of a reference."""
    value = result.get("result")
    if isinstance(value, dict) and isinstance(value.get("rows"), list):
        return list(value["rows"])
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def steps_of(node: Any) -> Iterator[Mapping[str, Any]]:
    """All steps of a script, however deep."""
    if isinstance(node, Mapping):
        if isinstance(node.get("type"), str):
            yield node
        for name in ("steps", "then", "else", "catch", "finally", "compensate", "on_failure"):
            yield from steps_of(node.get(name))
    elif isinstance(node, list):
        for inner in node:
            yield from steps_of(inner)
