"""Scripts: save, check, get, list; explained as an outline, a picture, a review."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from gateway.client.models import ScriptProblem, ScriptReview, ScriptVersion
from gateway.client.transport import Transport, part

Explained = str | bytes | Mapping[str, Any]
"""The name of a saved script; or one that need not be saved: a mapping, or its text as bytes."""


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

    def outline(self, script: Explained, version: str | int | None = None) -> str:
        """What a script does, step by step, in English: of a saved one the latest version, or that of a number, a hash or its beginning."""
        return self._gateway.answer(*_asked("outline", script, version), **_given(script)).text

    def diagram(
        self, script: Explained, version: str | int | None = None, *, form: Literal["svg", "mermaid"] = "svg"
    ) -> str:
        """A picture of a script: SVG, or the text of a Mermaid flowchart."""
        asked = _asked("diagram", script, version)
        return self._gateway.answer(*asked, params={"format": form}, **_given(script)).text

    def review(self, script: Explained, version: str | int | None = None) -> ScriptReview:
        """What a script does to the world, and what looks wrong with it."""
        return ScriptReview.of(self._gateway.request(*_asked("review", script, version), **_given(script)))


def _asked(what: str, script: Explained, version: str | int | None) -> tuple[str, str]:
    """Method and path."""
    if not isinstance(script, str):
        if version is not None:
            raise TypeError("only a saved script, which is told by its name, has versions")
        return "POST", f"/v1/scripts:{what}"
    number = "latest" if version is None else str(version)
    return "GET", f"/v1/scripts/{part(script)}/versions/{part(number)}/{what}"


def _given(script: Explained) -> dict[str, Any]:
    return {} if isinstance(script, str) else content(script)


def content(script: Mapping[str, Any] | str | bytes) -> dict[str, Any]:
    """A script as a request's body."""
    text = json.dumps(script, ensure_ascii=False) if isinstance(script, Mapping) else script
    return {"content": text, "headers": {"Content-Type": "text/plain; charset=utf-8"}}
