"""Drafts in a session: one of them is open, and is what the tools for steps change."""

from dataclasses import asdict
from typing import Any, Final

from script.editing import difference, parameterize
from script.editing.steps import set_fields as with_fields
from script.errors import ScriptInvalid
from script.outline import outline
from script.source.loading import load_script
from toolbox import drafts
from toolbox.access import Scope
from toolbox.authoring.desk import Desk, shortened
from toolbox.authoring.tools.desks import desk_of
from toolbox.authoring.trace import short
from toolbox.context import ToolContext
from toolbox.drafts import Draft
from toolbox.errors import DraftNotFound, InvalidArguments, ScriptNotFound
from toolbox.tool import Bound, binding, tool

_SHOWN: Final = 120
"""Characters of a value that became a parameter."""


@tool(effect="session")
def create_script(
    ctx: ToolContext,
    name: str,
    description: str = "",
    parameters: list[str | dict[str, Any]] | None = None,
    database: str | None = None,
    steps: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Begin the draft of a new script, and open it. Nothing is saved as a version before it is published.

    parameters are names, or {name, type, description, default}; steps may be given now, or one by one with save_step.
    """
    desk = desk_of(ctx)
    desk.may_write(name)
    refuse_taken(ctx, desk, name)
    document: dict[str, Any] = {"name": name}
    given = {"description": description, "parameters": parameters, "database": database}
    document |= {field: value for field, value in given.items() if value}
    return begin(desk, {**document, "steps": steps or []})


@tool(effect="session")
def open_draft(ctx: ToolContext, script: str, version: str | int | None = None) -> dict[str, Any]:
    """Open a draft, by its id or its script's name; of a saved script without a draft, or with a version, a draft is made."""
    desk = desk_of(ctx)
    found = None if version is not None else draft_called(desk, script)
    if found is not None:
        desk.may_write(found.name)
        desk.session.draft = found.id
        return _shown(desk)
    desk.access.require(Scope("scripts", "read", script))
    desk.may_write(script)
    saved = ctx.services.library.get(script, version)
    return begin(desk, saved.script, base=saved.hash)


@tool(effect="session")
def show_draft(ctx: ToolContext) -> dict[str, Any]:
    """The draft that is open: its text, the same in English, and all that the checker says."""
    return _shown(desk_of(ctx))


@tool(effect="session")
def list_drafts(
    ctx: ToolContext, script: str | None = None, limit: int = 100, after: str | None = None
) -> dict[str, Any]:
    """The drafts of scripts that may be written here, or those of one script, in the order of their ids; `next` is where the next page goes
    on (after). `open` is the one that is edited."""
    desk = desk_of(ctx)
    page, following = desk.checking.page(
        lambda name: desk.access.has(Scope("scripts", "write", name)), limit=max(1, limit), after=after, name=script
    )
    told: dict[str, Any] = {"drafts": [asdict(draft) for draft in page], "open": desk.session.draft}
    return {**told, "next": following} if following is not None else told


@tool(effect="session")
def set_fields(ctx: ToolContext, fields: dict[str, Any], remove: list[str] | None = None) -> dict[str, Any]:
    """Set fields of the script itself, each as a whole: description, parameters, database, isolation, output_schema, on_failure, name,
    steps (all of them). remove takes fields away."""
    return desk_of(ctx).edit(lambda script: with_fields(script, fields, remove or []))


@tool(effect="session")
def parameterize_script(ctx: ToolContext, values: dict[str, Any]) -> dict[str, Any]:
    """Make parameters of values, {parameter: value}: each literal of the script that is one of them, or has it as a word in a text, becomes
    {{ parameter }}. Says what was replaced, and where."""
    desk = desk_of(ctx)
    replaced: list[dict[str, Any]] = []

    def edit(script: dict[str, Any]) -> dict[str, Any]:
        made, found = parameterize(script, values)
        replaced[:] = [asdict(each) for each in found]
        return made

    told = desk.edit(edit)
    nowhere = [name for name in values if name not in {each["parameter"] for each in replaced}]
    if nowhere:
        desk.work.say("notice", text=f"no place of the draft has the value of {', '.join(nowhere)}", code="not_found")
    shown = [{name: short(value, _SHOWN) for name, value in each.items()} for each in replaced]
    return {**told, "replaced": shortened(shown), **({"not_found": nowhere} if nowhere else {})}


@tool(effect="session")
def diff_script(ctx: ToolContext, since: int | None = None) -> dict[str, Any]:
    """What differs, as JSON and in English, from the version that the draft was made of or published as, or from one of its revisions."""
    desk = desk_of(ctx)
    draft, text = desk.draft()
    old: dict[str, Any] = {}
    if since is not None:
        old = drafts.get_revision(desk.work.transaction, draft.id, since).script
    elif draft.base is not None:
        old = ctx.services.library.text(draft.base)
    told = {"draft": draft.id, "name": draft.name, "revision": draft.revision}
    return {**told, "since": since if since is not None else draft.base, **difference(old, text.script)}


@tool(effect="session")
def undo(ctx: ToolContext) -> dict[str, Any]:
    """Take the last change of the draft back, as a new revision; again, it takes back the change before that."""
    desk = desk_of(ctx)
    draft, text = desk.draft()
    back, script = drafts.before_change(desk.work.transaction, draft.id)
    return {**desk.edit(lambda _: script, restored=back), "as_revision": back, "was": text.revision}


def _delete_bound(ctx: ToolContext, args: dict[str, Any]) -> Bound:
    desk = desk_of(ctx)
    draft, text = _meant(desk, args["draft"])
    what = f"Delete the draft of {draft.name} with its {draft.revision} revisions; versions that were published stay."
    return Bound(binding("delete_draft", draft.id, text.script), what, {"draft": draft.id, "script": text.script})


@tool(effect="session", approval=_delete_bound)
def delete_draft(ctx: ToolContext, draft: str | None = None) -> dict[str, Any]:
    """Delete a draft with all of its revisions, by its id or its script's name; by default the one that is open."""
    desk = desk_of(ctx)
    found, _ = _meant(desk, draft)
    drafts.delete_draft(desk.work.transaction, found.id, None)
    if desk.session.draft == found.id:
        desk.session.draft = None
    return {"deleted": found.id, "name": found.name}


def begin(desk: Desk, script: dict[str, Any], base: str | None = None) -> dict[str, Any]:
    """Make a draft of a text, and open it. Raises Forbidden, ScriptInvalid."""
    document = desk.checking.document(script)
    desk.may_keep(document)
    made = desk.checking.create_in(desk.work.transaction, document, author=desk.author, base=base)
    desk.session.draft = made.id
    return desk.tell_draft(document if base is not None else {})


def refuse_taken(ctx: ToolContext, desk: Desk, name: str) -> None:
    """Raises InvalidArguments for a name that a script or a draft has."""
    if draft_called(desk, name) is not None:
        raise InvalidArguments(f"there is a draft of {name} already", pointer="/name", hint="open_draft opens it")
    try:
        ctx.services.library.get(name)
    except ScriptNotFound:
        return
    raise InvalidArguments(f"there is a script {name} already", pointer="/name", hint="open_draft makes a draft of it")


def draft_called(desk: Desk, name: str) -> Draft | None:
    """The draft with an id, or the one of a script that was changed last."""
    found = drafts.drafts_called(desk.work.transaction, name)
    return max(found, key=lambda each: each.updated_at, default=None)


def _meant(desk: Desk, name: str | None) -> tuple[Draft, drafts.Revision]:
    if name is None:
        return desk.draft()
    found = draft_called(desk, name)
    if found is None:
        raise DraftNotFound(f"there is no draft {name!r}", hint="list_drafts lists them")
    desk.may_write(found.name)
    return drafts.get_draft(desk.work.transaction, found.id)


def _shown(desk: Desk) -> dict[str, Any]:
    draft, text = desk.draft()
    desk.may_keep(text.script)
    problems = [problem.to_dict() for problem in desk.checking.problems(text.script)]
    told = {"draft": draft.id, "name": draft.name, "revision": draft.revision, "base": draft.base}
    return {**told, "script": text.script, "outline": _outline(text.script), "problems": problems}


def _outline(script: dict[str, Any]) -> str | None:
    try:
        return outline(load_script(script).script)
    except ScriptInvalid:
        return None


TOOLS: Final = (
    create_script,
    open_draft,
    show_draft,
    list_drafts,
    set_fields,
    parameterize_script,
    diff_script,
    undo,
    delete_draft,
)
