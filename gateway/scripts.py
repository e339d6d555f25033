"""Scripts: save, check, show. A saved version never changes: its hash is its name, and its ETag."""

import asyncio
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response

from gateway.access import about, access_of
from gateway.preconditions import BY_KEY, FOREVER, NOT_MODIFIED, IfNoneMatch, not_modified, tag
from gateway.problems import ApiError
from gateway.services import Here, Services
from script.errors import Problem, ScriptInvalid
from toolbox.access import Scope, check_named, check_save
from toolbox.library import ScriptVersion

router = APIRouter(prefix="/v1", tags=["scripts"])

SCRIPT_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "The script: JSON; as text/plain, `//` comments are allowed.",
        "content": {"application/json": {"schema": {"type": "object"}}, "text/plain": {"schema": {"type": "string"}}},
    }
}


@router.post("/scripts", status_code=201, openapi_extra=SCRIPT_BODY)
async def save_script(here: Here, request: Request, response: Response) -> dict[str, Any]:
    """Check a script, pin what it calls, and save it as an immutable version. The same text is the same version."""
    text = await script_text(request)
    problems = await check_to_save(here, request, text)
    saved = await asyncio.to_thread(here.library.save, text, author=f"key:{request.state.key_id}")
    return saved_version(response, saved, problems)


async def check_to_save(here: Services, request: Request, text: bytes | dict[str, Any]) -> list[Problem]:
    """What the checker says about a script that is to be saved, by a key that may. Raises Forbidden, ScriptInvalid."""
    script, problems = await asyncio.to_thread(here.library.check, text)
    about(request, script=script.name)
    check_named(access_of(request), script)
    if not _errors(problems):
        await asyncio.to_thread(check_save, access_of(request), script, here.library, here.registry)
    return problems


def saved_version(response: Response, saved: ScriptVersion, problems: list[Problem]) -> dict[str, Any]:
    """The answer to saving."""
    response.headers["Location"] = f"/v1/scripts/{saved.name}?version={saved.hash}"
    response.headers["ETag"] = tag(saved.hash)
    return {**_head(saved), "notices": [found.to_dict() for found in problems if found.severity != "error"]}


@router.post("/scripts:check", openapi_extra=SCRIPT_BODY)
async def check_script(here: Here, request: Request) -> dict[str, Any]:
    """Check a script without saving it: all problems at once, each with a pointer, a code and a hint."""
    text = await script_text(request)
    try:
        script, problems = await asyncio.to_thread(here.library.check, text)
        check_named(access_of(request), script)
    except ScriptInvalid as invalid:
        problems = invalid.problems
    return {"ok": not _errors(problems), "problems": [found.to_dict() for found in problems]}


@router.get("/scripts")
def list_scripts(here: Here, request: Request) -> dict[str, Any]:
    """The scripts that the key may see, with their parameters and latest versions."""
    access = access_of(request)
    return {"data": [row for row in here.library.scripts() if access.has(Scope("scripts", "read", row["name"]))]}


@router.get("/scripts/{name}", responses=NOT_MODIFIED)
def show_script(
    here: Here,
    name: str,
    request: Request,
    response: Response,
    version: str | None = None,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """A script: its latest version, or the one of `version` (a number, a hash, or the first 8 or more digits of one)."""
    return _shown(request, response, here.library.get(name, version))


@router.get("/scripts/{name}/versions/{version}", responses=NOT_MODIFIED)
def show_version(
    here: Here, name: str, version: str, request: Request, response: Response, if_none_match: IfNoneMatch = None
) -> Any:
    """A version, which never changes: by its number or its whole hash."""
    saved = here.library.get(name, version)
    if version not in (saved.hash, str(saved.number)):
        hint = f"it is {saved.number} ({saved.hash})"
        raise ApiError("version_not_found", f"{version!r} is no number and no whole hash of a version", hint=hint)
    return _shown(request, response, saved, FOREVER)


def _shown(request: Request, response: Response, saved: ScriptVersion, cache: str | None = None) -> Any:
    response.headers["ETag"] = tag(saved.hash)
    if cache is not None:
        response.headers.update({"Cache-Control": cache, "Vary": BY_KEY})
    return not_modified(request, tag(saved.hash), cache) or {**_head(saved), "script": saved.script}


@router.get("/scripts/{name}/versions")
def list_versions(here: Here, name: str) -> dict[str, Any]:
    """All versions of a script, newest first."""
    return {"data": [_head(saved) for saved in here.library.versions(name)]}


async def script_text(request: Request) -> bytes:
    """The body as it came. Raises ApiError for a content type that is no script."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", "text/plain"):
        raise ApiError(
            "unsupported_media_type", f"a script is application/json or text/plain, not {kind or 'without a type'}"
        )
    body = await request.body()
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise ApiError("not_json", f"the body is not UTF-8 (at byte {error.start})") from None
    return body


def _errors(problems: list[Problem]) -> list[Problem]:
    return [found for found in problems if found.severity == "error"]


def _head(saved: ScriptVersion) -> dict[str, Any]:
    fields = saved.to_dict()
    fields["version"] = fields.pop("hash")
    fields["bytes"] = len(orjson.dumps(fields.pop("script")))
    return fields
