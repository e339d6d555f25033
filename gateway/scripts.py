"""Scripts: save, check, show. A saved version never changes: its hash is its name, and its ETag."""

import asyncio
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from gateway.access import Scope, about, access_of, check_named, check_save
from gateway.problems import ApiError
from gateway.services import Here
from script.errors import Problem, ScriptInvalid
from toolbox.library import ScriptVersion

router = APIRouter(prefix="/v1", tags=["scripts"])

SCRIPT_BODY = {
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
    author = f"key:{request.state.key_id}"
    script, problems = await asyncio.to_thread(here.library.check, text)
    about(request, script=script.name)
    check_named(access_of(request), script)
    if not _errors(problems):
        await asyncio.to_thread(check_save, access_of(request), script, here.library, here.registry)
    saved = await asyncio.to_thread(here.library.save, text, author=author)
    response.headers["Location"] = f"/v1/scripts/{saved.name}?version={saved.hash}"
    response.headers["ETag"] = f'"{saved.hash}"'
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


@router.get("/scripts/{name}")
def show_script(here: Here, name: str, request: Request, response: Response, version: str | None = None) -> Any:
    """A script: its latest version, or the one of `version` (a number, a hash, or the first 8 or more digits of one)."""
    saved = here.library.get(name, version)
    tag = f'"{saved.hash}"'
    if tag in (part.strip() for part in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return {**_head(saved), "script": saved.script}


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
