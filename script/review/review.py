"""The report on a script: what the checker says, what the rules say, and what the script does to the world."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from script.environment import CheckEnvironment
from script.errors import Problem
from script.review.effects import Called, Effect, effects, outside_kind, secrets
from script.review.facts import Facts
from script.review.rules import RULES
from script.source import ast

_SEVERITIES: Final = ("error", "warning", "notice")


@dataclass(frozen=True)
class Finding:
    """A problem, and the step that it is about: its path, or None for the script."""

    problem: Problem
    step: str | None

    def to_dict(self) -> dict[str, Any]:
        return {**self.problem.to_dict(), "step": self.step}


@dataclass(frozen=True)
class Review:
    """A report. `findings` are sorted: errors, warnings, notices, each in the order of the script."""

    script: ast.Script
    effects: tuple[Effect, ...]
    secrets: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: {script, databases, outside, scripts, asks, approvals, secrets, findings}."""
        outside = [{"tool": each.name, "kind": outside_kind(each.name), **_place(each)} for each in self._of("outside")]
        called = [
            {"script": each.name, "version": getattr(each.placed.node, "version", None), **_place(each)}
            for each in self._of("script")
        ]
        return {
            "script": self.script.name,
            "databases": _databases(self.effects),
            "outside": outside,
            "scripts": called,
            "asks": [_place(each) for each in self._of("ask")],
            "approvals": [{"by": each.name, **_place(each)} for each in self._of("approval")],
            "secrets": [{"name": name, "step": step} for name, step in self.secrets],
            "findings": [each.to_dict() for each in self.findings],
        }

    def _of(self, kind: str) -> Iterable[Effect]:
        return (each for each in self.effects if each.kind == kind)


def review_script(script: ast.Script, environment: CheckEnvironment, called: Called | None = None) -> Review:
    """Review a script. `called` gives the texts of called scripts, as far as they are known: what they do is counted, too."""
    known = called or (lambda name, version: None)
    facts = Facts(script, environment, known)
    problems = [*facts.problems, *(problem for rule in RULES for problem in rule(facts))]
    findings = [
        Finding(problem, step.path if (step := facts.step_at(problem.pointer)) else None) for problem in problems
    ]
    findings.sort(key=lambda each: (_SEVERITIES.index(each.problem.severity), facts.position(each.problem.pointer)))
    used = tuple((name, placed.path) for placed in facts.steps for name in secrets(placed))
    return Review(script, tuple(effects(script, environment, known)), used, tuple(findings))


def _place(effect: Effect) -> dict[str, Any]:
    """Where something is done: in the script itself, or `via` others."""
    return {"step": effect.placed.path, "pointer": effect.placed.pointer, "via": list(effect.via)}


def _databases(found: Iterable[Effect]) -> list[dict[str, Any]]:
    """The stores that are read and written, by database; None is that of the caller."""
    databases: dict[str | None, dict[str, set[str]]] = {}
    for each in found:
        if each.kind in ("read", "write"):
            databases.setdefault(each.database, {"read": set(), "write": set()})[each.kind].add(each.name)
    return [
        {"database": name, "reads": sorted(stores["read"]), "writes": sorted(stores["write"])}
        for name, stores in sorted(databases.items(), key=lambda item: item[0] or "")
    ]
