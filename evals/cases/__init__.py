"""The evals, in groups: each module has its CASES."""

from dataclasses import replace

from evals.case import Case
from evals.cases import ambiguous, corrections, dialogue, effects, injections, questions, schedules, scripts

_MODULES = (scripts, effects, questions, corrections, ambiguous, schedules, injections, dialogue)


def all_cases() -> list[Case]:
    """All cases, each with its group."""
    return [replace(case, group=module.__name__.rpartition(".")[2]) for module in _MODULES for case in module.CASES]
