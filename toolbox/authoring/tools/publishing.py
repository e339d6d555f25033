"""From a draft to a version, and to a run: tried dry first, approved by a person, bound to the very text that they saw."""

from typing import Any, Final

import orjson

from script.editing import difference
from script.source.loading import load_script
from toolbox.access import Scope, check_save, check_start
from toolbox.authoring.desk import Desk
from toolbox.authoring.tools.desks import desk_of
from toolbox.authoring.trace import CARD_CHARACTERS, CARD_STEPS, TOLD_CHARACTERS, TOLD_STEPS, short, shortened, trace
from toolbox.context import ToolContext
from toolbox.drafts import Draft, Revision
from toolbox.errors import DraftInvalid, ScriptNotFound, ToolNotConfigured
from toolbox.library import ScriptVersion
from toolbox.tool import Bound, binding, tool


@tool(effect="session")
def dry_run(ctx: ToolContext, arguments: dict[str, Any] | None = None, script: str | None = None) -> dict[str, Any]:
    """Try the draft that is open (or a saved script, by its name): real reads, writes that are dropped, nothing outside.

    Gives the result, and the trace: each step with its value, each condition with the values that it saw."""
    desk = desk_of(ctx)
    if ctx.services.rehearse is None:
        raise ToolNotConfigured("dry runs cannot be made from here")
    text, about = _text_of(ctx, desk, script)
    given = arguments or {}
    done = ctx.services.rehearse(text, given, mocks=mocks_of(ctx, desk), access=desk.access)
    steps, missing = trace(done.get("events", [])), int(done.get("events_left_out") or 0)
    ended = {name: done[name] for name in ("status", "result", "error", "duration_ms") if done.get(name) is not None}
    desk.say(
        "card",
        card="trace",
        **about,
        arguments=given,
        **_cut(ended),
        **shortened(steps, CARD_STEPS, CARD_CHARACTERS, missing),
    )
    told = {name: short(value, CARD_CHARACTERS) for name, value in ended.items() if name != "duration_ms"}
    return {**about, **told, **shortened(steps, TOLD_STEPS, TOLD_CHARACTERS, missing)}


def _publish_bound(ctx: ToolContext, args: dict[str, Any]) -> Bound:
    desk = desk_of(ctx)
    draft, text = _right_draft(ctx, desk)
    old = ctx.services.library.text(draft.base) if draft.base is not None else {}
    version = ctx.services.library.would_be(desk.work.transaction, text.script)
    newest = _newest(ctx, draft.name)
    other = newest if newest is not None and newest.hash not in (draft.base, version) else None
    replaced = f" It takes the place of version {other.number}, which the draft was not made of." if other else ""
    shown = {
        "draft": draft.id,
        "name": draft.name,
        "revision": draft.revision,
        "version": version,
        "script": text.script,
    }
    return Bound(
        binding("publish_script", draft.name, text.script, version, newest.hash if newest is not None else None),
        f"Publish {draft.name} as it stands in revision {draft.revision} of the draft: a version of it never changes.{replaced}",
        {**shown, "diff": difference(old, text.script)},
    )


def _newest(ctx: ToolContext, name: str) -> ScriptVersion | None:
    try:
        return ctx.services.library.get(name)
    except ScriptNotFound:
        return None


@tool(effect="session", approval=_publish_bound)
def publish_script(ctx: ToolContext) -> dict[str, Any]:
    """Save the draft that is open as a version, which never changes. The draft stays, with that version as its base."""
    desk = desk_of(ctx)
    draft, text = _right_draft(ctx, desk)
    saved, made = desk.checking.publish_in(
        desk.work.transaction, draft.id, frozenset({text.revision}), author=desk.author
    )
    told = {"name": saved.name, "version": saved.hash, "number": saved.number}
    desk.say(
        "notice", text=f"{saved.name} is published as version {saved.number} ({saved.hash[:12]})", code="published"
    )
    return {**told, "draft": made.id, "revision": made.revision}


def _run_bound(ctx: ToolContext, args: dict[str, Any]) -> Bound:
    desk = desk_of(ctx)
    version, arguments = _checked_run(ctx, desk, args["name"], args["version"], args["arguments"])
    mocks = _mocked(ctx, desk, args["mocks"])
    told = short(arguments, 200)
    given = f" with {told if isinstance(told, str) else orjson.dumps(told).decode()}" if arguments else ""
    quiet = f", {', '.join(mocks)} mocked" if mocks else ""
    return Bound(
        binding("run_script", args["name"], version, arguments, mocks),
        f"Run {args['name']} (version {version[:12]}){given}{quiet}.",
        {"script": args["name"], "version": version, "arguments": arguments, "mocks": mocks},
    )


@tool(effect="session", approval=_run_bound)
def run_script(
    ctx: ToolContext,
    name: str,
    arguments: dict[str, Any] | None = None,
    mocks: list[str] | None = None,
    version: str | int | None = None,
) -> dict[str, Any]:
    """Run a saved script for real, by default its newest version. Tools that are mocked here, and those in mocks, are mocked in the run."""
    desk = desk_of(ctx)
    if ctx.services.runs is None:
        raise ToolNotConfigured("runs cannot be started from here")
    pinned, given = _checked_run(ctx, desk, name, version, arguments)
    started = ctx.services.runs.start(name, pinned, given, _mocked(ctx, desk, mocks), ctx.idempotency_key, desk.access)
    desk.say("card", card="run", **started)
    return started


def mocks_of(ctx: ToolContext, desk: Desk) -> dict[str, Any]:
    """The tools that are mocked in the session, with what they give: all that reach the outside, where it is a stub."""
    everything = (
        {found["name"]: None for found in ctx.services.registry.describe() if found["effect"] == "external"}
        if desk.session.stub
        else {}
    )
    return {**everything, **desk.session.mocks}


def _mocked(ctx: ToolContext, desk: Desk, mocks: list[str] | None) -> list[str]:
    """Raises UnknownTool."""
    for name in mocks or []:
        ctx.services.registry.get(name)
    return sorted({*mocks_of(ctx, desk), *(mocks or [])})


def _checked_run(
    ctx: ToolContext, desk: Desk, name: str, version: str | int | None, arguments: dict[str, Any] | None
) -> tuple[str, dict[str, Any]]:
    """The version that is meant, whole. Raises ScriptNotFound, VersionNotFound, Forbidden."""
    programs = ctx.services.library.closure(name, version)
    check_start(desk.access, programs, arguments or {})
    return programs[0].hash, arguments or {}


def _text_of(ctx: ToolContext, desk: Desk, script: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is to be tried, and how it is called. Raises NoDraft, DraftInvalid, ScriptNotFound, Forbidden."""
    if script is not None and not desk.is_open(script):
        desk.access.require(Scope("scripts", "run", script))
        saved = ctx.services.library.get(script)
        return saved.script, {"script": saved.name, "version": saved.hash}
    draft, text = desk.draft()
    _refuse_wrong(desk, text)
    return text.script, {"draft": draft.id, "script": draft.name, "revision": draft.revision}


def _right_draft(ctx: ToolContext, desk: Desk) -> tuple[Draft, Revision]:
    """The draft, which may be saved as a version. Raises NoDraft, DraftInvalid, Forbidden."""
    draft, text = desk.draft()
    desk.may_keep(text.script)
    _refuse_wrong(desk, text)
    script = load_script(text.script).script
    check_save(desk.access, script, ctx.services.library, ctx.services.registry)
    return draft, text


def _refuse_wrong(desk: Desk, text: Revision) -> None:
    desk.may_keep(text.script)
    wrong = [problem.to_dict() for problem in desk.checking.problems(text.script) if problem.severity == "error"]
    if wrong:
        message = f"the draft has {len(wrong)} error{'s' if len(wrong) > 1 else ''}: {wrong[0]['message']}"
        raise DraftInvalid(message, pointer=wrong[0]["pointer"], hint=wrong[0].get("hint"), problems=wrong)


def _cut(values: dict[str, Any]) -> dict[str, Any]:
    return {name: short(value, 4 * CARD_CHARACTERS) for name, value in values.items()}


TOOLS: Final = (dry_run, publish_script, run_script)
