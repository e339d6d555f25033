"""Recording: what the person says and does, while a session records (`toolbox.authoring.recorder`)."""

import importlib
from typing import Any

from activities.execution import Resources
from toolbox.authoring.state import Session, ToolCall


def record_call(resources: Resources, session: Session, call: ToolCall) -> None:
    """Record a call that went well, where the session records calls and it is no noise."""
    if session.recording is not None and (recorder := _recorder()) is not None:
        recorder.record_call(session, call, resources.registry.get(call.tool))


def record_words(session: Session, text: str) -> None:
    """Record what the person says, where the session records words."""
    if session.recording is not None and (recorder := _recorder()) is not None:
        recorder.record_words(session, text)


def _recorder() -> Any:
    try:
        return importlib.import_module("toolbox.authoring.recorder")
    except ModuleNotFoundError:
        return None
