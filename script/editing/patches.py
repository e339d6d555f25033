"""Edits of a JSON document: JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7396).

Pointers are those of the checker's problems, so what it complains about can be mended where it stands:

    [{"op": "test", "path": "/steps/2/name", "value": "charge"},     only if it is the step that is meant
     {"op": "replace", "path": "/steps/2/args/amount", "value": 5},
     {"op": "add", "path": "/steps/3", "value": {...}},              a step before the fourth; `-` is the end
     {"op": "move", "from": "/steps/5", "path": "/steps/0"}]

All operations of a patch succeed, or nothing is changed; the given document never is. A patch has at most MAX_OPERATIONS, and what it
copies is at most as long as a script may be: a few copies of the whole in itself would fill the memory.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from script.equality import equal
from script.errors import PatchFailed
from script.source.loading import MAX_BYTES

MAX_OPERATIONS: Final = 1000
_FIELDS: Final = {
    "add": {"value"},
    "replace": {"value"},
    "test": {"value"},
    "move": {"from"},
    "copy": {"from"},
    "remove": set[str](),
}


def apply_patch(document: Any, operations: Sequence[Any]) -> Any:
    """The document with all operations done. Raises PatchFailed, whose pointer is the operation's place in the patch."""
    if not isinstance(operations, list):
        raise PatchFailed("a JSON Patch is a list of operations", pointer="")
    if len(operations) > MAX_OPERATIONS:
        raise PatchFailed(f"a patch has at most {MAX_OPERATIONS} operations, this has {len(operations)}", pointer="")
    patched = _Patched(_copied(document))
    for position, operation in enumerate(operations):
        try:
            patched.do(operation)
        except PatchFailed as failed:
            failed.pointer = f"/{position}{failed.pointer or ''}"
            raise
    return patched.root


def apply_merge_patch(document: Any, patch: Any) -> Any:
    """The document with a merge patch: fields that are null are removed, objects merged, everything else replaced. It cannot say
    null, and takes a list as a whole."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(document) if isinstance(document, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = apply_merge_patch(merged.get(name), value)
    return merged


class _Patched:
    """A document while it is patched, in place."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self._copied = 0

    def do(self, operation: Any) -> None:
        """Raises PatchFailed, whose pointer is the part of the operation."""
        if not isinstance(operation, Mapping):
            raise PatchFailed("an operation is an object", pointer="")
        name = operation.get("op")
        if not isinstance(name, str) or name not in _FIELDS:
            raise PatchFailed(f"there is no operation {name!r}", pointer="/op", hint=f"there are {', '.join(_FIELDS)}")
        for field in ("path", *sorted(_FIELDS[name])):
            if field not in operation:
                raise PatchFailed(f"{name} takes {field}", pointer="")
        for field in operation.keys() - {"op", "path"} - _FIELDS[name]:
            raise PatchFailed(f"{name} takes no {field}", pointer=f"/{field}")
        path = _parts(operation["path"], "/path")
        if name in ("move", "copy"):
            source = _parts(operation["from"], "/from")
            if name == "move" and path[: len(source)] == source and path != source:
                raise PatchFailed("nothing moves into itself", pointer="/path")
            value = self._get(source, "/from")
            if name == "copy":
                value = self._copy(value)
            elif path == source:
                return
            else:
                self._remove(source, "/from")
            self._add(path, value)
        elif name == "test":
            if not equal(self._get(path, "/path"), operation["value"]):
                raise PatchFailed(f"the value at {operation['path'] or 'the top'} is another one", pointer="/value")
        elif name == "remove":
            self._remove(path, "/path")
        elif name == "replace":
            self._get(path, "/path")
            self._set(path, _copied(operation["value"]))
        else:
            self._add(path, _copied(operation["value"]))

    def _copy(self, value: Any) -> Any:
        try:
            text = orjson.dumps(value)
        except TypeError:
            raise PatchFailed("what is copied is nested too deep", pointer="/from") from None
        self._copied += len(text)
        if self._copied > MAX_BYTES:
            raise PatchFailed(f"a patch copies at most {MAX_BYTES} bytes", pointer="/from")
        return orjson.loads(text)

    def _get(self, path: list[str], pointer: str) -> Any:
        value = self.root
        for part in path:
            value = value[_at(value, part, pointer)]
        return value

    def _set(self, path: list[str], value: Any) -> None:
        if not path:
            self.root = value
            return
        parent = self._get(path[:-1], "/path")
        parent[_at(parent, path[-1], "/path")] = value

    def _add(self, path: list[str], value: Any) -> None:
        if not path:
            self.root = value
            return
        parent = self._get(path[:-1], "/path")
        if isinstance(parent, list):
            position = len(parent) if path[-1] == "-" else _index(path[-1], len(parent) + 1, "/path")
            parent.insert(position, value)
        elif isinstance(parent, dict):
            parent[path[-1]] = value
        else:
            raise PatchFailed("there is no object and no list to add to", pointer="/path")

    def _remove(self, path: list[str], pointer: str) -> None:
        if not path:
            raise PatchFailed("the whole cannot be removed", pointer=pointer)
        parent = self._get(path[:-1], pointer)
        del parent[_at(parent, path[-1], pointer)]


def _parts(text: Any, pointer: str) -> list[str]:
    """The parts of a JSON Pointer (RFC 6901)."""
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise PatchFailed(f"{text!r} is no JSON Pointer", pointer=pointer, hint="as /steps/0/name")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _at(parent: Any, part: str, pointer: str) -> Any:
    """The key or the position of something that is there."""
    if isinstance(parent, list):
        return _index(part, len(parent), pointer)
    if isinstance(parent, dict) and part in parent:
        return part
    raise PatchFailed(f"there is no {part!r}", pointer=pointer)


def _index(part: str, end: int, pointer: str) -> int:
    if not part.isascii() or not part.isdigit() or len(part) > 9 or (part[0] == "0" and part != "0"):
        raise PatchFailed(f"{part!r} is no position in a list", pointer=pointer)
    if int(part) >= end:
        raise PatchFailed(f"there is no position {part} in a list of this length", pointer=pointer)
    return int(part)


def _copied(value: Any) -> Any:
    """A copy that shares no object or list with the value."""
    if isinstance(value, Mapping):
        return {name: _copied(element) for name, element in value.items()}
    return [_copied(element) for element in value] if isinstance(value, list) else value
