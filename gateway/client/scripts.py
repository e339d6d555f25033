"""Scripts: save, check, get, list."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.client.models import ScriptProblem, ScriptVersion
from gateway.client.transport import Transport, part


class Scripts:
    """The scripts of an installation. A script is a mapping, or its text, which may have `//` comments."""

    def __init__(self, gateway: Transport) -> None:
        self._gateway = gateway

    def save(self, script: Mapping[str, Any] | str | bytes) -> ScriptVersion:
        """Check it and save it as an immutable version; the same text is the same version.

        Raises InvalidRequest `script_invalid`, with all places.
        """
        return ScriptVersion.of(self._gateway.post("/v1/scripts", **content(script)))

    def check(self, script: Mapping[str, Any] | str | bytes) -> Sequence[ScriptProblem]:
        """What is wrong with it, or worth saying; nothing is saved."""
        return list(map(ScriptProblem.of, self._gateway.post("/v1/scripts:check", **content(script))["problems"]))

    def get(self, name: str, version: str | int | None = None) -> ScriptVersion:
        """A script: the latest version, or that of a number, a hash or its beginning."""
        params = {"version": version} if version is not None else None
        return ScriptVersion.of(self._gateway.get(f"/v1/scripts/{part(name)}", params=params))

    def versions(self, name: str) -> Sequence[ScriptVersion]:
        """All versions, newest first."""
        return list(map(ScriptVersion.of, self._gateway.get(f"/v1/scripts/{part(name)}/versions")["data"]))

    def list(self) -> Sequence[Mapping[str, Any]]:
        """The scripts, as {name, number, latest, description, parameters, ...}."""
        found: Sequence[Mapping[str, Any]] = self._gateway.get("/v1/scripts")["data"]
        return found


def content(script: Mapping[str, Any] | str | bytes) -> dict[str, Any]:
    """A script as a request's body."""
    text = json.dumps(script, ensure_ascii=False) if isinstance(script, Mapping) else script
    return {"content": text, "headers": {"Content-Type": "text/plain; charset=utf-8"}}
