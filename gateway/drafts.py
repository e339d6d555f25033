"""Drafts: scripts that are being written, as resources that several people may edit without writing over each other.

    GET    /v1/drafts                          those of scripts that the key may write
    POST   /v1/drafts                          from a text, or with ?from= from a version of a script
    GET    /v1/drafts/{id}                     its text, and all that is wrong with it
    PUT    /v1/drafts/{id}                     another text
    PATCH  /v1/drafts/{id}                     JSON Patch, or JSON Merge Patch
    DELETE /v1/drafts/{id}
    POST   /v1/drafts/{id}:check               all that is wrong with it, now
    GET    /v1/drafts/{id}/diff                what differs from the version it was made of, or from another revision
    GET    /v1/drafts/{id}/revisions           what it was
    GET    /v1/drafts/{id}/revisions/{n}
    POST   /v1/drafts/{id}:publish             save it as a version

The ETag is the revision, and whatever changes a draft takes If-Match (`preconditions`): 428 without it, 412 with another revision, which
has the revision that there is by now and what differs from the one that was meant.

A draft may be wrong: it is kept and tells its problems. They are those of the moment (a store may be made meanwhile), the ETag is not about
them. Whoever may write the script may see and change its drafts; what a problem tells about databases takes `data:{db}:read`, as it does
everywhere.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Path, Query, Request, Response

from gateway.access import about, access_of
from gateway.preconditions import (
    BY_KEY,
    FOREVER,
    NOT_MODIFIED,
    IfMatch,
    IfNoneMatch,
    expected_revisions,
    not_modified,
    tag,
)
from gateway.problems import ApiError
from gateway.scripts import SCRIPT_BODY, check_to_save, saved_version, script_text
from gateway.services import Here, Services
from script.editing import apply_merge_patch, apply_patch, difference
from script.errors import ScriptInvalid
from script.source.loading import load_script, parse_text
from toolbox import Draft, Revision
from toolbox.access import Scope, check_named
from toolbox.drafts import Expected
from toolbox.errors import DraftChanged, RevisionNotFound

router = APIRouter(prefix="/v1", tags=["drafts"])

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
_PATCH_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            JSON_PATCH: {"schema": {"type": "array", "items": {"type": "object", "required": ["op", "path"]}}},
            MERGE_PATCH: {"schema": {"type": "object"}},
        },
    }
}
_OPTIONAL_BODY = {"requestBody": {**SCRIPT_BODY["requestBody"], "required": False}}
DraftId = Annotated[str, Path(description="a draft's id")]
Edit = Callable[[dict[str, Any]], Any]


@router.get("/drafts")
def list_drafts(
    here: Here,
    request: Request,
    script: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: str | None = None,
) -> dict[str, Any]:
    """The drafts of scripts that the key may write, or those of one script."""
    access, listing = access_of(request), orjson.dumps(["drafts", script]).decode()
    after = here.cursors.open(listing, cursor) if cursor is not None else None
    found, following = here.drafts.page(
        lambda name: access.has(Scope("scripts", "write", name)), limit=limit, after=after, name=script
    )
    sealed = here.cursors.seal(listing, following) if following is not None else None
    return {"data": list(map(asdict, found)), "has_more": sealed is not None, "next_cursor": sealed}


@router.post("/drafts", status_code=201, openapi_extra=_OPTIONAL_BODY)
async def create_draft(
    here: Here,
    request: Request,
    response: Response,
    source: Annotated[str | None, Query(alias="from", description="a script; there is no body then")] = None,
    version: Annotated[str | None, Query(description="its version: a number or a hash; default the latest")] = None,
    name: Annotated[str | None, Query(description="the name of the new script; default the old one")] = None,
) -> dict[str, Any]:
    """A new draft: the text is the body, or that of a version of a script. It may be wrong, but has a name."""
    access, author = access_of(request), _author(request)
    text: bytes | dict[str, Any]
    if source is None:
        for given, value in (("version", version), ("name", name)):
            if value is not None:
                raise ApiError("invalid_field", f"{given} goes with from", pointer=f"?{given}")
        text, base = await script_text(request), None
    else:
        if await request.body():
            raise ApiError("invalid_field", "with from there is no body", pointer="?from")
        access.require(Scope("scripts", "read", source))
        saved = await asyncio.to_thread(here.library.get, source, version)
        text, base = {**saved.script, **({"name": name} if name is not None else {})}, saved.hash
    document = await asyncio.to_thread(here.drafts.document, text)
    about(request, script=document["name"])
    access.require(Scope("scripts", "write", document["name"]))
    _check_named(request, document)
    draft = await asyncio.to_thread(here.drafts.create, document, author=author, base=base)
    about(request, draft=draft.id)
    response.headers["Location"] = f"/v1/drafts/{draft.id}"
    return await _told(here, request, response, draft.id)


@router.get("/drafts/{draft_id}", responses=NOT_MODIFIED)
async def show_draft(
    here: Here, request: Request, response: Response, draft_id: DraftId, if_none_match: IfNoneMatch = None
) -> Any:
    """A draft: its text, and all that is wrong with it now, with pointers into it."""
    draft, _ = await _mine(here, request, draft_id)
    return not_modified(request, tag(draft.revision)) or await _told(here, request, response, draft_id)


@router.put("/drafts/{draft_id}", openapi_extra=SCRIPT_BODY)
async def replace_draft(
    here: Here, request: Request, response: Response, draft_id: DraftId, if_match: IfMatch = None
) -> dict[str, Any]:
    """Replace the text."""
    text = await script_text(request)
    return await _changed(here, request, response, draft_id, expected_revisions(if_match), lambda _: text)


@router.patch("/drafts/{draft_id}", openapi_extra=_PATCH_BODY)
async def patch_draft(
    here: Here, request: Request, response: Response, draft_id: DraftId, if_match: IfMatch = None
) -> dict[str, Any]:
    """Change parts of the text: JSON Patch (steps are added, replaced, moved and removed by the pointers that problems have), or JSON
    Merge Patch (fields)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (JSON_PATCH, MERGE_PATCH):
        raise ApiError("unsupported_media_type", f"a patch is {JSON_PATCH} or {MERGE_PATCH}, not {kind or 'untyped'}")
    patch = await _patch(request)
    apply = apply_patch if kind == JSON_PATCH else apply_merge_patch
    edit: Edit = lambda script: apply(script, patch)  # noqa: E731
    return await _changed(here, request, response, draft_id, expected_revisions(if_match), edit)


@router.delete("/drafts/{draft_id}", status_code=204)
async def delete_draft(here: Here, request: Request, draft_id: DraftId, if_match: IfMatch = None) -> None:
    """Remove a draft with all its revisions. What was published of it stays."""
    expected = expected_revisions(if_match)
    _, text = await _mine(here, request, draft_id)
    try:
        seen = expected if expected is not None else frozenset({text.revision})  # the name that the key may write
        await asyncio.to_thread(here.drafts.delete, draft_id, seen)
    except DraftChanged:
        raise await _somebody_was_faster(here, text, expected) from None


@router.post("/drafts/{draft_id}:check")
async def check_draft(here: Here, request: Request, draft_id: DraftId) -> dict[str, Any]:
    """All that is wrong with it now."""
    draft, text = await _mine(here, request, draft_id)
    return {"id": draft.id, "revision": draft.revision, **await _problems(here, request, text)}


@router.get("/drafts/{draft_id}/diff")
async def diff_draft(
    here: Here,
    request: Request,
    draft_id: DraftId,
    since: Annotated[
        int | None, Query(alias="from", ge=1, le=1 << 53, description="a revision; default: the base's text")
    ] = None,
) -> dict[str, Any]:
    """What differs from the version that the draft was made of or published as last, or from an earlier revision: as JSON and in
    English. A draft without such a version is all new."""
    draft, text = await _mine(here, request, draft_id)
    old: dict[str, Any] = {}
    if since is not None:
        old = (await asyncio.to_thread(here.drafts.revision, draft_id, since)).script
    elif draft.base is not None:
        old = await asyncio.to_thread(here.library.text, draft.base)
    told = {"id": draft.id, "revision": draft.revision, "from": since if since is not None else draft.base}
    return {**told, **await asyncio.to_thread(difference, old, text.script)}


@router.get("/drafts/{draft_id}/revisions")
async def list_revisions(here: Here, request: Request, draft_id: DraftId) -> dict[str, Any]:
    """The revisions that are kept, newest first: the last hundred."""
    await _mine(here, request, draft_id)
    found = await asyncio.to_thread(here.drafts.revisions, draft_id)
    return {"data": list(map(asdict, found))}


@router.get("/drafts/{draft_id}/revisions/{revision}", responses=NOT_MODIFIED)
async def show_revision(
    here: Here,
    request: Request,
    response: Response,
    draft_id: DraftId,
    revision: Annotated[int, Path(ge=1, le=1 << 53)],
    if_none_match: IfNoneMatch = None,
) -> Any:
    """What a draft was; it can be made that again with PUT. A revision never changes."""
    await _mine(here, request, draft_id)
    text = await asyncio.to_thread(here.drafts.revision, draft_id, revision)
    response.headers.update({"ETag": tag(revision), "Cache-Control": FOREVER, "Vary": BY_KEY})
    return not_modified(request, tag(revision), FOREVER) or text.to_dict()


@router.post("/drafts/{draft_id}:publish", status_code=201)
async def publish_draft(
    here: Here, request: Request, response: Response, draft_id: DraftId, if_match: IfMatch = None
) -> dict[str, Any]:
    """Save it as an immutable version, as `POST /v1/scripts` does. The draft stays, with that version as its base."""
    expected = expected_revisions(if_match)
    draft, text = await _mine(here, request, draft_id)
    if expected is not None and draft.revision not in expected:
        raise await _somebody_was_faster(here, text, expected)
    problems = await check_to_save(here, request, text.script)
    try:
        saved, draft = await asyncio.to_thread(
            here.drafts.publish, draft_id, frozenset({text.revision}), author=_author(request)
        )
    except DraftChanged:
        raise await _somebody_was_faster(here, text, frozenset({text.revision})) from None
    told = saved_version(response, saved, problems)
    return {**told, "draft": {"id": draft.id, "revision": draft.revision}}


async def _mine(here: Services, request: Request, draft_id: str) -> tuple[Draft, Revision]:
    """A draft that the key may see and change. Raises ToolError, Forbidden among them."""
    draft, text = await asyncio.to_thread(here.drafts.get, draft_id)
    about(request, script=draft.name)
    access_of(request).require(Scope("scripts", "write", draft.name))
    return draft, text


async def _changed(
    here: Services, request: Request, response: Response, draft_id: str, expected: Expected, edit: Edit
) -> dict[str, Any]:
    """The draft with its new text. Raises ApiError, ToolError, ScriptError."""
    _, text = await _mine(here, request, draft_id)

    def checked(script: dict[str, Any]) -> dict[str, Any]:
        access_of(request).require(Scope("scripts", "write", script["name"]))  # its name may be another one by now
        document = here.drafts.document(edit(script))
        access_of(request).require(Scope("scripts", "write", document["name"]))
        _check_named(request, document)
        return document

    try:
        await asyncio.to_thread(here.drafts.change, draft_id, expected, checked, author=_author(request))
    except DraftChanged:
        raise await _somebody_was_faster(here, text, expected) from None
    return await _told(here, request, response, draft_id)


async def _told(here: Services, request: Request, response: Response, draft_id: str) -> dict[str, Any]:
    draft, text = await asyncio.to_thread(here.drafts.get, draft_id)
    response.headers["ETag"] = tag(draft.revision)
    return {**asdict(draft), "script": text.script, **await _problems(here, request, text)}


async def _problems(here: Services, request: Request, text: Revision) -> dict[str, Any]:
    _check_named(request, text.script)
    found = await asyncio.to_thread(here.drafts.problems, text.script)
    wrong = any(problem.severity == "error" for problem in found)
    return {"ok": not wrong, "problems": [problem.to_dict() for problem in found]}


def _check_named(request: Request, document: dict[str, Any]) -> None:
    """Raises Forbidden for a text that names databases that the key may not read. One that is no script names none."""
    try:
        script = load_script(document).script
    except ScriptInvalid:
        return
    check_named(access_of(request), script)


async def _somebody_was_faster(here: Services, seen: Revision, expected: Expected) -> ApiError:
    """The refusal of a change that is for another revision: what there is by now, and what differs from what was meant."""
    draft, text = await asyncio.to_thread(here.drafts.get, seen.id)
    meant = max((revision for revision in expected or () if revision < draft.revision), default=None)
    diff = None
    if meant is not None:
        with suppress(RevisionNotFound):
            diff = difference((await asyncio.to_thread(here.drafts.revision, seen.id, meant)).script, text.script)
    current = {"revision": text.revision, "etag": tag(text.revision), "updated_at": text.at, "updated_by": text.by}
    return ApiError(
        "precondition_failed",
        f"the draft is at revision {text.revision}, changed by {text.by} at {text.at}",
        pointer="If-Match",
        hint="look at what differs, and send the change again for the revision that there is",
        more={"current": current, "diff": diff},
    )


async def _patch(request: Request) -> Any:
    """The body's JSON, read as strictly as a script's. Raises ApiError."""
    try:
        return parse_text((await request.body()).decode())
    except UnicodeDecodeError as error:
        raise ApiError("not_json", f"the body is not UTF-8 (at byte {error.start})") from None
    except ScriptInvalid as invalid:
        first = invalid.problems[0]
        raise ApiError(first.code, first.message.replace("a script", "a patch"), pointer=first.pointer) from None


def _author(request: Request) -> str:
    return f"key:{request.state.key_id}"
