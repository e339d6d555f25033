"""Secrets over HTTP: set, listed by their names, deleted. No answer ever has a value."""

import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from gateway.access import access_of
from gateway.problems import ApiError
from gateway.services import Here
from toolbox.access import Scope
from toolbox.vault.redaction import SHORTEST
from toolbox.vault.vault import LONGEST

router = APIRouter(prefix="/v1", tags=["secrets"])
_HOST: Final = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:]+")

SecretName = Annotated[str, InPath(description="its name: lower-case letters, digits and _, beginning with a letter")]


class SecretRequest(BaseModel):
    """A secret's value."""

    model_config = ConfigDict(extra="forbid")

    value: SecretStr = Field(
        description="8 characters at least, 16 KiB at most; it is never given back",
        json_schema_extra={"minLength": SHORTEST, "maxLength": LONGEST},
    )
    hosts: list[str] = Field(
        [],
        max_length=100,
        description="if there are any: the only hosts that get it; *.example.com is every name below",
    )


@router.get("/secrets")
def list_secrets(here: Here, request: Request) -> dict[str, Any]:
    """The secrets that the key may use or set: their names, hosts and times, and the ids of the keys that they are encrypted with."""
    access = access_of(request)
    return {"data": [one for one in here.vault.all() if access.has(Scope("secrets", "read", one["name"]))]}


@router.put("/secrets/{secret}", responses={201: {"description": "a new secret"}})
def put_secret(
    here: Here, secret: SecretName, body: SecretRequest, request: Request, response: Response
) -> dict[str, Any]:
    """Set a secret: 201 for a new one, 200 where it had another value. Steps that run from now on get this one."""
    for position, host in enumerate(body.hosts):
        if not _HOST.fullmatch(host):
            hint = "a name in lower case, without a port: api.example.com, *.example.com"
            raise ApiError("invalid_field", f"{host!r} is no host", pointer=f"/hosts/{position}", hint=hint)
    new = here.vault.put(secret, body.value.get_secret_value(), hosts=body.hosts, by=access_of(request).key_id)
    response.status_code = 201 if new else 200
    return here.vault.get(secret)


@router.delete("/secrets/{secret}", status_code=204)
def delete_secret(here: Here, secret: SecretName) -> None:
    """Forget a secret: steps that need it fail from now on."""
    here.vault.remove(secret)


@router.post("/secrets:rotate")
def rotate_secrets(here: Here) -> dict[str, int]:
    """Encrypt all secrets with the first key of `SOP_SECRETS_KEYS`: `{rotated}` had another one."""
    return {"rotated": here.vault.rotate()}
