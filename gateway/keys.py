"""API keys over HTTP.

A key makes and revokes only keys that may do no more than it may itself: no scope that it has not, no later end than its own, and its own
name, since a name is whom a decision counts for. With `admin` any name and any scope.
"""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from gateway.access import about, access_of
from gateway.problems import ApiError, place
from gateway.services import Here
from toolbox.access import ADMIN, Access, InvalidScope, Scope, forbidden, parse_scope, parse_scopes

router = APIRouter(prefix="/v1/keys", tags=["keys"])


class KeyRequest(BaseModel):
    """A new key."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(
        min_length=1, max_length=100, description="whose key it is: approvals ask for people by this name"
    )
    scopes: list[str] = Field(description="what it may do: scripts:run:weekly_*, data:crm:read, ...")
    expires_at: AwareDatetime | None = Field(None, description="from when on it is refused; default never")


@router.get("")
def list_keys(here: Here) -> dict[str, Any]:
    """The keys, with their scopes and last uses, without what would tell their secrets."""
    uses = here.notes.last_uses()
    return {"data": [{**key, "last_used_at": uses.get(key["id"])} for key in here.keys.all()]}


@router.post("", status_code=201)
def create_key(here: Here, body: KeyRequest, request: Request, response: Response) -> dict[str, Any]:
    """Make a key. The answer has it, this once."""
    access = access_of(request)
    scopes = read_scopes(body.scopes)
    if body.expires_at is not None and body.expires_at <= datetime.now(UTC):
        raise ApiError("invalid_field", "expires_at is in the past", pointer="/expires_at")
    expires_at = body.expires_at.astimezone(UTC).isoformat(timespec="seconds") if body.expires_at else None
    check_no_more(access, body.name, scopes, expires_at)
    key = here.keys.create(body.name, scopes, expires_at=body.expires_at, created_by=access.key_id)
    key_id = key.split("_")[1]
    about(request, key=key_id)
    response.headers["Location"] = f"/v1/keys/{key_id}"
    return {**_known(here, key_id), "key": key}


@router.get("/{key_id}")
def show_key(here: Here, key_id: str) -> dict[str, Any]:
    """A key, without what would tell its secret."""
    found = _known(here, key_id)
    return {**found, "last_used_at": here.notes.last_uses().get(key_id)}


@router.delete("/{key_id}", status_code=204)
def revoke_key(here: Here, key_id: str, request: Request) -> None:
    """Refuse a key from its next request on. Keys that it has made stay."""
    found = _known(here, key_id)
    check_no_more(access_of(request), found["name"], parse_scopes(found["scopes"]), found["expires_at"])
    here.keys.revoke(key_id)


def check_no_more(access: Access, name: str, scopes: tuple[Scope, ...], expires_at: str | None) -> None:
    """Whether a key may have to do with one of this name, scopes and end. Raises Forbidden."""
    missing = [scope for scope in scopes if not access.has(scope)]
    if missing:
        raise forbidden(missing, "a key with these scopes")
    if access.has(ADMIN):
        return
    if name != access.name:
        raise forbidden([ADMIN], f"a key of {name!r}, who is not {access.name!r},")
    if access.expires_at is not None and (expires_at is None or expires_at > access.expires_at):
        raise forbidden([ADMIN], f"a key that lives longer than {access.expires_at}")


def _known(here: Here, key_id: str) -> dict[str, Any]:
    found = here.keys.get(key_id)
    if found is None:
        raise ApiError("key_not_found", f"there is no key {key_id!r}", hint="GET /v1/keys lists them")
    return found


def read_scopes(texts: list[str], pointer: str = "/scopes") -> tuple[Scope, ...]:
    """The scopes of a body's texts. Raises ApiError `invalid_scope`."""
    wrong = []
    for position, text in enumerate(texts):
        try:
            parse_scope(text)
        except InvalidScope as error:
            wrong.append(place("invalid_scope", str(error), f"{pointer}/{position}"))
    if wrong:
        raise ApiError("invalid_scope", wrong[0]["detail"], errors=wrong, hint="docs/api.md lists the scopes")
    try:
        return parse_scopes(texts)
    except InvalidScope as error:
        raise ApiError("invalid_scope", str(error), pointer=pointer) from None
