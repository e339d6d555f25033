"""What is worth saying about a script, a rule for each. A rule gives problems: severity `warning` for what looks wrong, `notice` for what
a person should know before it runs. The rules about failures are in `failing.py`."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from script.errors import ExpressionSyntaxError, Problem
from script.expressions.expressions import compile_expression
from script.expressions.sources import condition_source
from script.outline import summary
from script.review.effects import outside_kind, secrets
from script.review.facts import Facts
from script.review.failing import FAILING_RULES
from script.source import ast
from script.source.tree import Placed, walk

_BUDGET: Final = "1,000,000"
_CREDENTIAL: Final = re.compile(r"authorization|api[-_]?key|token|passw(or)?d|secret|cookie", re.IGNORECASE)
_USERINFO: Final = re.compile(r"^[a-z][a-z0-9+.-]*://[^/@\s]+:[^/@\s]+@", re.IGNORECASE)
_NOT_BOUND: Final = re.compile(r"\|\||\?|!(?!=)")


def notice(code: str, pointer: str, message: str, hint: str | None = None) -> Problem:
    return Problem(code, pointer, message, hint, "notice")


def outside_calls(facts: Facts) -> Iterator[Problem]:
    """Every call that reaches outside."""
    for placed in facts.steps:
        if isinstance(placed.node, ast.CommandStep) and facts.effect(placed) == "external":
            tool = placed.node.command
            message = f"{placed.name} reaches outside ({outside_kind(tool)}): {summary(placed.node, placed.database)}"
            yield notice("outside_call", placed.pointer, message, f'try it without: "mocks": ["{tool}"], or a dry run')


def questions(facts: Facts) -> Iterator[Problem]:
    """A run that asks a language model does not always do the same."""
    for placed in facts.steps:
        if isinstance(placed.node, ast.AskStep):
            message = f"{placed.name} asks a language model while the script runs"
            yield notice("ask_at_run_time", placed.pointer, message, "the same run may go another way next time")
            if placed.node.schema_ is None and placed.node.variable is not None:
                message = f"the answer of {placed.name} may be any text: nothing checks it"
                yield Problem("ask_without_schema", placed.pointer, message, "give it a schema", "warning")


def approvals(facts: Facts) -> Iterator[Problem]:
    """Waiting for a person without an end."""
    for placed in facts.steps:
        node = placed.node
        if isinstance(node, ast.WaitStep) and node.approval is not None:
            limits = [node.approval.timeout, *(each.node.timeout for each in facts.covering(placed))]
            if not any(limit is not None for limit in limits):
                message = f"{placed.name} waits for an approval for as long as it takes"
                yield notice("approval_without_timeout", placed.pointer, message, "give the approval a timeout")


def unbounded_loops(facts: Facts) -> Iterator[Problem]:
    """A loop with `while` that has neither a list, nor a counter in its condition, nor a timeout."""
    for placed in facts.steps:
        node = placed.node
        if not isinstance(node, ast.LoopStep) or node.while_ is None:
            continue
        pointer = f"{placed.pointer}/while"
        if _never_changes(node) and not _is_left(placed):
            message = f"nothing in {placed.name} changes what its condition reads, and nothing leaves it"
            hint = f"it goes on until it fails, after {_BUDGET} iterations"
            yield Problem("endless_loop", pointer, message, hint, "warning")
        elif not _is_bounded(node) and all(each.node.timeout is None for each in facts.covering(placed)):
            message = f"{placed.name} goes on for as long as its condition holds"
            hint = f"count in its condition (`i < 100`, with i as its index) or give it a timeout; it fails after {_BUDGET} iterations"
            yield Problem("unbounded_loop", pointer, message, hint, "warning")


def _is_left(placed: Placed) -> bool:
    """Whether a step inside of a loop may end it."""
    return any(each.node.type in ("break", "return", "fail") for each in walk(placed.parts))


def _names(node: ast.LoopStep) -> frozenset[str]:
    try:
        return compile_expression(condition_source(node.while_ or "")).names
    except ExpressionSyntaxError:
        return frozenset()


def _never_changes(node: ast.LoopStep) -> bool:
    changed = ast.assigned(node.steps) | {name for name in (node.iterator, node.index) if name is not None}
    return "now()" not in (node.while_ or "") and _names(node).isdisjoint(changed) and node.list is None


def _is_bounded(node: ast.LoopStep) -> bool:
    """Whether a list ends the loop, or its condition says that the iteration's number is less than something, and nothing else will do."""
    condition = condition_source(node.while_ or "")
    counters = [name for name in (node.iterator, node.index) if name is not None]
    return node.list is not None or (
        not _NOT_BOUND.search(condition)
        and any(re.search(rf"(?<![\w.]){name}\s*<=?\s*[\w(]", condition) for name in counters)
    )


def secrets_used(facts: Facts) -> Iterator[Problem]:
    """Secrets that are used by their names, and some that are written down."""
    for placed in facts.steps:
        for name in secrets(placed):
            message = f"{placed.name} signs with the secret {name}"
            yield notice("secret_used", placed.pointer, message, "it is one of the installation: SOP_WEBHOOK_SECRETS")
        if isinstance(placed.node, ast.CommandStep) and facts.effect(placed) == "external":
            given = {name: value for name, value in placed.node.args.items() if name != "secret"}  # that is a name
            for pointer in _credentials(given, f"{placed.pointer}/args"):
                message = f"{placed.name} has a credential in its text, which whoever may read the script can read"
                yield Problem(
                    "literal_secret", pointer, message, "pass it as an argument, or use a named secret", "warning"
                )


def _credentials(value: Any, pointer: str, name: str = "") -> Iterator[str]:
    """Where a literal text stands that looks like a credential: by its name, or in an address."""
    if isinstance(value, Mapping):
        for key, element in value.items():
            yield from _credentials(element, f"{pointer}/{_escaped(str(key))}", str(key))
    elif isinstance(value, list):
        for position, element in enumerate(value):
            yield from _credentials(element, f"{pointer}/{position}", name)
    elif isinstance(value, str) and _is_credential(name, value):
        yield pointer


def _is_credential(name: str, text: str) -> bool:
    return bool(text) and "{{" not in text and bool(_CREDENTIAL.search(name) or _USERINFO.match(text))


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def whole_stores(facts: Facts) -> Iterator[Problem]:
    """An action on all rows that nothing holds."""
    for placed in facts.steps:
        node = placed.node
        if (
            not isinstance(node, ast.CommandStep)
            or node.command not in ("select", "join")
            or node.args.get("action") is None
        ):
            continue
        chosen = [node.args.get(name) for name in ("filter", "key", "limit", "max_affected", "expect")]
        sided = node.command == "join" and node.args.get("type", "inner") != "left"
        if not any(chosen) and not sided and node.args.get("dry_run") is not True:
            message = f"{placed.name} changes every row of its store"
            hint = "give it a filter, or max_affected, or expect with the token of a preview"
            yield Problem("whole_store_changed", f"{placed.pointer}/args/action", message, hint, "warning")


def open_versions(facts: Facts) -> Iterator[Problem]:
    """A called script that may be another one by the time of the run."""
    for placed in facts.steps:
        if isinstance(placed.node, ast.ScriptStep) and placed.node.version == "latest":
            message = f"{placed.name} runs whatever version of {placed.node.script_name} is the latest then"
            yield notice("not_pinned", f"{placed.pointer}/version", message, "leave version out: saving pins it")


def callers_database(facts: Facts) -> Iterator[Problem]:
    """Steps with rows in a script that has no database: they work in that of a caller, and fail without one."""
    if facts.script.database is not None:
        return
    for placed in facts.steps:
        rows = isinstance(placed.node, ast.FetchStep) or (
            facts.effect(placed) in ("read", "write") and _names_store(placed)
        )
        if rows and placed.database is None:
            message = f"{placed.name} works on the database of whoever calls the script, and fails where there is none"
            yield notice("callers_database", placed.pointer, message, "give the script, or the step, a database")


def _names_store(placed: Placed) -> bool:
    return isinstance(placed.node, ast.CommandStep) and bool({"store", "left", "join"} & set(placed.node.args))


Rule = Callable[[Facts], Iterator[Problem]]

RULES: Final[tuple[Rule, ...]] = (
    outside_calls,
    questions,
    approvals,
    unbounded_loops,
    secrets_used,
    whole_stores,
    open_versions,
    callers_database,
    *FAILING_RULES,
)
