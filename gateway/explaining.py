"""Scripts explained: an outline in English, a picture, a review. Of a saved version, or of a text that nobody has saved.

Outline and picture are made from the text alone. A review looks at what there is (tools, stores, called scripts): so it takes the scopes
that checking does, and looks only into called scripts that the key may read.
"""

import asyncio
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse

from gateway.access import about, access_of
from gateway.results.negotiation import chosen
from gateway.scripts import SCRIPT_BODY, script_text
from gateway.services import Here, Services
from script.diagram import mermaid, svg
from script.outline import outline
from script.review import review_script
from script.source.ast import Script
from script.source.loading import load_script
from toolbox.access import Scope, check_named
from toolbox.errors import ToolError

router = APIRouter(prefix="/v1", tags=["scripts"])

Picture = Literal["svg", "mermaid"]
_MEDIA_TYPES: Final[dict[Picture, str]] = {"svg": "image/svg+xml", "mermaid": "text/vnd.mermaid"}
_KNOWN: Final[dict[str, Picture]] = {media_type: form for form, media_type in _MEDIA_TYPES.items()}
_DRAWN: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {media_type: {"schema": {"type": "string"}} for media_type in _KNOWN}}
}
_POLICY: Final = "default-src 'none'; sandbox"
Format = Annotated[
    str | None, Query(description="default: by Accept, else svg", json_schema_extra={"enum": [*_MEDIA_TYPES, None]})
]


@router.get("/scripts/{name}/versions/{version}/outline", response_class=PlainTextResponse)
def outline_version(here: Here, name: str, version: str) -> PlainTextResponse:
    """What a version does, step by step, in English. `version` is a number, a hash or its beginning, or `latest`."""
    return PlainTextResponse(outline(_saved(here, name, version)))


@router.post("/scripts:outline", response_class=PlainTextResponse, openapi_extra=SCRIPT_BODY)
async def outline_text(here: Here, request: Request) -> PlainTextResponse:
    """The same for a script that is not saved."""
    return PlainTextResponse(await asyncio.to_thread(outline, await _posted(request)))


@router.get("/scripts/{name}/versions/{version}/diagram", response_class=Response, responses=_DRAWN)
def draw_version(here: Here, request: Request, name: str, version: str, format: Format = None) -> Response:
    """A picture of a version: SVG, or the text of a Mermaid flowchart."""
    form = chosen(request, format, _MEDIA_TYPES, _KNOWN, "a picture")
    return _picture(_saved(here, name, version), form)


@router.post("/scripts:diagram", response_class=Response, responses=_DRAWN, openapi_extra=SCRIPT_BODY)
async def draw_text(here: Here, request: Request, format: Format = None) -> Response:
    """The same for a script that is not saved."""
    form = chosen(request, format, _MEDIA_TYPES, _KNOWN, "a picture")
    return await asyncio.to_thread(_picture, await _posted(request), form)


@router.get("/scripts/{name}/versions/{version}/review")
def review_version(here: Here, request: Request, name: str, version: str) -> dict[str, Any]:
    """What a version does to the world, and what looks wrong with it: found without running it, and without a model."""
    return _review(here, request, _saved(here, name, version))


@router.post("/scripts:review", openapi_extra=SCRIPT_BODY)
async def review_text(here: Here, request: Request) -> dict[str, Any]:
    """The same for a script that is not saved."""
    return await asyncio.to_thread(_review, here, request, await _posted(request))


def _saved(here: Services, name: str, version: str) -> Script:
    """A saved version. Raises ToolError."""
    return load_script(here.library.get(name, version).script).script


async def _posted(request: Request) -> Script:
    """The script in the body. Raises ApiError, ScriptInvalid."""
    script = load_script(await script_text(request)).script
    about(request, script=script.name)
    return script


def _review(here: Services, request: Request, script: Script) -> dict[str, Any]:
    access = access_of(request)
    check_named(access, script)

    def called(name: str, version: str | None) -> Script | None:
        if not access.has(Scope("scripts", "read", name)):
            return None
        try:
            return _saved(here, name, version or "latest")
        except ToolError:
            return None

    return review_script(script, here.library.environment(), called).to_dict()


def _picture(script: Script, form: Picture) -> Response:
    drawn = svg(script) if form == "svg" else mermaid(script)
    headers = {"Content-Security-Policy": _POLICY, "Vary": "Accept"}
    return Response(drawn, media_type=f"{_MEDIA_TYPES[form]}; charset=utf-8", headers=headers)
