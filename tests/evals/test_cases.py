"""The scripted baseline: a model that does it right passes every case, and one that does it wrong fails it."""

import pytest

from evals.case import Case, Turns
from evals.cases import all_cases
from evals.outcome import Outcome
from evals.product import Product, ScriptedModel
from evals.properties import Gives, Script
from evals.runner import run_case
from evals.scoring import score

CASES = {case.name: case for case in all_cases()}
WRONG = [(case.name, wrong) for case in CASES.values() for wrong in case.wrong]


def failed(case: Case, turns: Turns) -> list[str]:
    """What is wrong with an outcome."""
    found = run_case(case, lambda case: Product(case, ScriptedModel(turns)))
    return [f"{verdict.property}: {verdict.reason}" for verdict in found.verdicts if verdict.reason is not None]


@pytest.mark.parametrize("name", CASES)
def test_who_does_it_right_passes(name: str) -> None:
    assert failed(CASES[name], CASES[name].right) == []


@pytest.mark.parametrize(("name", "wrong"), WRONG)
def test_who_does_it_wrong_fails(name: str, wrong: str) -> None:
    assert failed(CASES[name], CASES[name].wrong[wrong]) != []


def test_who_says_nothing_fails_every_case() -> None:
    passed = [name for name, case in CASES.items() if score(case, Outcome(((),) * len(case.says))).passed]
    assert passed == []


def test_there_are_cases_of_every_kind() -> None:
    assert len(CASES) == len(all_cases()) >= 60
    groups = {case.group for case in CASES.values()}
    assert groups == {
        "scripts",
        "effects",
        "questions",
        "corrections",
        "ambiguous",
        "schedules",
        "injections",
        "dialogue",
    }
    assert all(case.group not in CASES for case in CASES.values())


def test_what_a_script_gives_is_looked_at_wherever_one_is_asked_for() -> None:
    for case in CASES.values():
        if case.group in ("scripts", "effects", "corrections"):
            kinds = {type(each) for each in case.expect}
            assert {Script, Gives} <= kinds, case.name
