"""Recording: what is done from now on becomes a draft."""

from typing import Any, Final

from toolbox.authoring.desk import Desk
from toolbox.authoring.state import Recording
from toolbox.authoring.tools.desks import desk_of
from toolbox.authoring.tools.drafting import begin, draft_called, refuse_taken
from toolbox.context import ToolContext
from toolbox.errors import NotRecording, RecordingExists
from toolbox.tool import tool


@tool(effect="session")
def start_recording(ctx: ToolContext, name: str, ask: bool = False, force: bool = False) -> dict[str, Any]:
    """Record what is done from now on as a script: successful calls of tools, with their exact arguments, as command steps.

    With ask, what the person says becomes ask steps instead. force replaces the draft of that name."""
    desk = desk_of(ctx)
    if desk.session.recording is not None:
        raise RecordingExists(f"{desk.session.recording.name} is being recorded", hint="stop_recording ends it")
    desk.may_write(name)
    desk.checking.document({"name": name})
    if not force:
        refuse_taken(ctx, desk, name)
    desk.session.recording = Recording(name, "ask" if ask else "compiled")
    return _told(desk, desk.session.recording, "started")


@tool(effect="session")
def pause_recording(ctx: ToolContext) -> dict[str, Any]:
    """Record nothing until resume_recording."""
    return _pause(desk_of(ctx), True)


@tool(effect="session")
def resume_recording(ctx: ToolContext) -> dict[str, Any]:
    """Go on recording."""
    return _pause(desk_of(ctx), False)


@tool(effect="session")
def stop_recording(ctx: ToolContext) -> dict[str, Any]:
    """End the recording, and open a draft of the recorded steps; where none were recorded there is no draft."""
    desk = desk_of(ctx)
    recording = _running(desk)
    desk.session.recording = None
    told = _told(desk, recording, "stopped")
    if not recording.steps:
        return told
    document: dict[str, Any] = {"name": recording.name}
    document |= {"database": recording.database} if recording.database is not None else {}
    document["steps"] = recording.steps
    known = draft_called(desk, recording.name)
    if known is None:
        return {**told, **begin(desk, document)}
    desk.session.draft = known.id
    return {**told, **desk.edit(lambda _: document)}


def _pause(desk: Desk, paused: bool) -> dict[str, Any]:
    recording = _running(desk)
    recording.paused = paused
    return _told(desk, recording, "paused" if paused else "resumed")


def _running(desk: Desk) -> Recording:
    if desk.session.recording is None:
        raise NotRecording("nothing is being recorded", hint="start_recording begins")
    return desk.session.recording


def _told(desk: Desk, recording: Recording, status: str) -> dict[str, Any]:
    told = {"name": recording.name, "mode": recording.mode, "status": status, "recorded": len(recording.steps)}
    told |= {"left_out": recording.left_out} if recording.left_out else {}
    desk.say("card", card="recording", **told)
    return told


TOOLS: Final = (start_recording, pause_recording, resume_recording, stop_recording)
