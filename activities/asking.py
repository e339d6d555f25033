"""Performing an `ask` step: the model is asked, or in a dry run and where it is mocked, a value stands for its answer."""

import orjson

from activities.execution import Resources
from agent import ModelNotConfigured, ask, stand_in
from script.wire import ASK_ACTIVITY, Outcome, StepCall


def perform_ask(resources: Resources, call: StepCall) -> Outcome:
    """The answer, and what the step's event tells: the model and what it cost, or a notice that it was not asked.

    Raises AgentError.
    """
    args = call.args
    if call.dry_run or ASK_ACTIVITY in call.mocks:
        value, notice = stand_in(args.get("schema"))
        return Outcome(value, told={"notice": notice})
    if resources.model is None:
        raise ModelNotConfigured(
            "no language model is configured",
            hint="set SOP_OPENAI_MODEL, and SOP_OPENAI_API_KEY or SOP_OPENAI_BASE_URL, for the worker",
        )
    answer = ask(
        resources.model,
        prompt=_text(args["prompt"]),
        schema=args.get("schema"),
        system=_text(args["system"]) if "system" in args else None,
        name=_text(args["model"]) if "model" in args else None,
    )
    return Outcome(answer.value, told=answer.told())


def _text(value: object) -> str:
    """A template that is exactly one expression may have given a value that is no text."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
