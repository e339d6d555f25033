"""Drafts: scripts that are being written. A change says which revision it is for; Conflict tells that somebody else was faster."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.client.models import Draft, ScriptVersion
from gateway.client.scripts import content
from gateway.client.transport import Transport, given, part


class Drafts:
    """The drafts of scripts that the key may write. `revision` is the one that is meant to be changed: that of a Draft."""

    def __init__(self, gateway: Transport) -> None:
        self._gateway = gateway

    def create(self, script: Mapping[str, Any] | str | bytes) -> Draft:
        """From a text, which may be wrong but has a name. Raises InvalidRequest."""
        return Draft.of(self._gateway.post("/v1/drafts", **content(script)))

    def create_from(self, script: str, version: str | int | None = None, *, name: str | None = None) -> Draft:
        """From a version of a script, the latest if none is told; `name` is that of another script to be."""
        return Draft.of(self._gateway.post("/v1/drafts", params=given({"from": script}, version=version, name=name)))

    def list(self, script: str | None = None, *, limit: int | None = None) -> Iterator[Mapping[str, Any]]:
        """The drafts, or those of one script, as {id, name, revision, base, updated_at, updated_by, ...}, at most `limit`."""
        return self._gateway.pages("/v1/drafts", limit, **given({}, script=script))

    def get(self, draft_id: str) -> Draft:
        """A draft: its text, and all that is wrong with it."""
        return Draft.of(self._gateway.get(_path(draft_id)))

    def replace(self, draft_id: str, script: Mapping[str, Any] | str | bytes, *, revision: int) -> Draft:
        """Another text. Raises Conflict, whose `problem` has what differs, if the draft is at another revision."""
        options = content(script)
        return Draft.of(self._gateway.request("PUT", _path(draft_id), **_for(revision, options)))

    def patch(self, draft_id: str, operations: Sequence[Mapping[str, Any]], *, revision: int) -> Draft:
        """Change parts, by JSON Patch: `{"op": "add", "path": "/steps/1", "value": {...}}`. All operations, or none. Raises Conflict."""
        options = {"content": json.dumps(operations), "headers": {"Content-Type": "application/json-patch+json"}}
        return Draft.of(self._gateway.request("PATCH", _path(draft_id), **_for(revision, options)))

    def diff(self, draft_id: str, since: int | None = None) -> Mapping[str, Any]:
        """What differs from the version that it was made of, or from a revision: {changes, text}."""
        found: Mapping[str, Any] = self._gateway.get(
            _path(draft_id, "/diff"), params=given({"from": since} if since else {})
        )
        return found

    def revisions(self, draft_id: str) -> Sequence[Mapping[str, Any]]:
        """What is kept of its past, newest first: {revision, at, by}."""
        found: Sequence[Mapping[str, Any]] = self._gateway.get(_path(draft_id, "/revisions"))["data"]
        return found

    def revision(self, draft_id: str, revision: int) -> Mapping[str, Any]:
        """The script that a draft was."""
        found: Mapping[str, Any] = self._gateway.get(_path(draft_id, f"/revisions/{revision}"))["script"]
        return found

    def publish(self, draft_id: str, *, revision: int) -> ScriptVersion:
        """Save it as an immutable version. Raises InvalidRequest `script_invalid`, Conflict."""
        return ScriptVersion.of(self._gateway.post(_path(draft_id, ":publish"), **_for(revision, {})))

    def delete(self, draft_id: str, *, revision: int) -> None:
        """Remove it. Raises Conflict."""
        self._gateway.request("DELETE", _path(draft_id), **_for(revision, {}))


def _path(draft_id: str, more: str = "") -> str:
    return f"/v1/drafts/{part(draft_id)}{more}"


def _for(revision: int, options: Mapping[str, Any]) -> dict[str, Any]:
    return {**options, "headers": {**options.get("headers", {}), "If-Match": f'"{revision}"'}}
