"""Rules about failures: what is lost, what is done twice, and what remains of a run that fails in its middle."""

from collections.abc import Callable, Iterator
from typing import Final

from script.errors import Problem
from script.review.effects import is_idempotent
from script.review.facts import Facts
from script.source import ast


def missing_compensations(facts: Facts) -> Iterator[Problem]:
    """In a saga: an effect that stays if the run fails later, and that nothing undoes."""
    stays = {
        "outside": "what it did outside stays",
        "script": "the called script has committed",
        "block": "its block has committed",
    }
    for placed in facts.steps:
        kind = facts.commits_apart(placed)
        if kind not in stays or not facts.is_saga or facts.is_apart(placed) or facts.is_undone(placed):
            continue
        if facts.may_fail_later(placed):
            message = f"if the run fails after {placed.name}, {stays[kind]}, and nothing undoes it"
            yield Problem(
                "missing_compensation", placed.pointer, message, "give it a compensate, or do it last", "warning"
            )


def writes_outside_of_a_transaction(facts: Facts) -> Iterator[Problem]:
    """A write that commits by itself, in the middle of others."""
    for placed in facts.steps:
        if facts.commits_apart(placed) != "write" or facts.is_apart(placed) or facts.is_undone(placed):
            continue
        if facts.may_fail_later(placed):
            message = f"{placed.name} commits as soon as it is done, whatever becomes of the run"
            hint = "put what belongs together into a block with this database, or give it a compensate"
            yield Problem("write_outside_transaction", placed.pointer, message, hint, "warning")


def retried_calls(facts: Facts) -> Iterator[Problem]:
    """An outside call that may be made twice, and is not made to be."""
    for placed in facts.steps:
        node = placed.node
        if not isinstance(node, ast.CommandStep) or facts.effect(placed) != "external" or is_idempotent(node):
            continue
        for around in facts.covering(placed):
            retry = around.node.retry
            if retry is not None and retry.max_attempts > 1 and not retry.only:
                message = f"{placed.name} may be done twice: it is tried again when nobody knows whether it was done"
                hint = (
                    "it comes with the same idempotency key again: see that the other side looks at it, "
                    "or name the errors after which it is tried again (only)"
                )
                yield Problem("retried_outside_call", f"{around.pointer}/retry", message, hint, "warning")
                break


def swallowed_errors(facts: Facts) -> Iterator[Problem]:
    """A failure that nobody hears of."""
    for placed in facts.steps:
        if placed.node.continue_on_error and not facts.is_read_later("error", placed):
            message = f"if {placed.name} fails, nobody hears of it: no later step reads error"
            hint = "look at error behind it, say it, or catch the errors that are expected"
            yield Problem("swallowed_error", f"{placed.pointer}/continue_on_error", message, hint, "warning")
        for position, handler in enumerate(placed.node.catch or []):
            if not handler.steps:
                message = f"a failure of {placed.name} is caught, and nothing is done about it"
                pointer = f"{placed.pointer}/catch/{position}"
                yield Problem("swallowed_error", pointer, message, "say it, or do something instead", "warning")


FAILING_RULES: Final[tuple[Callable[[Facts], Iterator[Problem]], ...]] = (
    missing_compensations,
    writes_outside_of_a_transaction,
    retried_calls,
    swallowed_errors,
)
