"""One eval: the conversation, then the scripts that it left, then the score."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from evals.case import Case
from evals.outcome import Outcome, Ran
from evals.pipeline import Pipeline
from evals.properties import Gives
from evals.scoring import Score, score
from evals.trials import Bench


def run_case(case: Case, connect: Callable[[Case], Pipeline]) -> Score:
    """Have the conversation of a case, and score what came of it."""
    began = time.monotonic()
    pipeline = connect(case)
    try:
        outcome = converse(case, pipeline)
    finally:
        pipeline.close()
    return score(case, outcome, time.monotonic() - began)


def converse(case: Case, pipeline: Pipeline) -> Outcome:
    """What came of a conversation, with the trials that the case's properties look at."""
    turns = tuple(tuple(pipeline.say(text)) for text in case.says)
    drafts = pipeline.scripts()
    scripts = {name: script for name, (script, _) in drafts.items()}
    last = next(reversed(scripts), None)
    return Outcome(
        turns,
        scripts,
        {name: tuple(problems) for name, (_, problems) in drafts.items()},
        last,
        _trials(case, scripts, last),
        pipeline.changed(),
        tuple(pipeline.published()),
        _usage(turns),
    )


def _trials(case: Case, scripts: Mapping[str, Mapping[str, Any]], last: str | None) -> dict[str, Ran]:
    there = {**{str(script["name"]): script for script in case.published}, **scripts}
    bench = Bench(there.values(), case.samples)
    try:
        return {
            wanted.trial: bench.run(wanted.script or last or "", wanted.arguments)
            for wanted in case.expect
            if isinstance(wanted, Gives) and (wanted.script or last) in there
        }
    finally:
        bench.close()


def _usage(turns: tuple[tuple[dict[str, object], ...], ...]) -> dict[str, float]:
    """The tokens of all turns."""
    found: dict[str, float] = {}
    for turn in turns:
        for record in turn:
            usage = record.get("usage") if record.get("type") == "turn" else None
            for name, number in usage.items() if isinstance(usage, dict) else ():
                found[name] = found.get(name, 0) + number
    return found
