"""The score of an eval: each of its properties, with what is wrong with it. Pure."""

from dataclasses import dataclass

from evals.case import Case
from evals.outcome import Outcome


@dataclass(frozen=True)
class Verdict:
    """One property: None for `reason` is a pass."""

    property: str
    reason: str | None


@dataclass(frozen=True)
class Score:
    """How a case went."""

    case: str
    group: str
    verdicts: tuple[Verdict, ...]
    seconds: float = 0.0
    usage: tuple[tuple[str, float], ...] = ()

    @property
    def passed(self) -> bool:
        return all(verdict.reason is None for verdict in self.verdicts)

    def to_json(self) -> dict[str, object]:
        """One line of the report."""
        verdicts = [
            {"property": each.property, "passed": each.reason is None, "reason": each.reason} for each in self.verdicts
        ]
        usage = dict(self.usage)
        return {
            "case": self.case,
            "group": self.group,
            "passed": self.passed,
            "properties": verdicts,
            "seconds": self.seconds,
            "usage": usage,
        }


def score(case: Case, outcome: Outcome, seconds: float = 0.0) -> Score:
    """The score of a case."""
    verdicts = tuple(Verdict(type(each).__name__, each.check(outcome)) for each in case.expect)
    return Score(
        case.name, case.group, (*_failed_turns(outcome), *verdicts), round(seconds, 3), tuple(outcome.usage.items())
    )


def _failed_turns(outcome: Outcome) -> tuple[Verdict, ...]:
    """The turns that came to nothing: the endpoint did not answer, or a budget was used up. No case wants one."""
    ended = [record for record in outcome.records("turn") if record.get("status") in ("failed", "limited")]
    return tuple(Verdict("Turn", f"{each['status']}: {(each.get('error') or {}).get('message')}") for each in ended)
