"""Rows in pages that a model can read: some rows, and a cursor for more.

A cursor says where the next page begins, in which version of the database, and of which query: with another one it is refused. It holds
nothing that the API would not take from the same key in a select's own `offset` and `version`, so it is not signed.

A page ends at its limit of rows, or when its rows have PAGE_BYTES; the answer is read from the gateway only that far. So that no page is
taken for the whole, the answer says `has_more`.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any, Final

import orjson

from gateway.client.errors import CutShort, refused
from gateway.mcp.api import Api, Lines
from gateway.problems import ApiError

PAGE_BYTES: Final = 32 * 1024
DEFAULT_ROWS: Final = 20
MOST_ROWS: Final = 500
_END_LINE: Final = 64
"""The last line, which tells the end, is not longer."""


async def page(api: Api, path: str, query: Mapping[str, Any], *, limit: int, cursor: str | None) -> dict[str, Any]:
    """A page of the rows of a query ({filter, ..., offset, version} as the API takes it): {rows, has_more, next_cursor, version}.

    Raises ApiError for a cursor that is none, and for a row that alone is too large; GatewayError.
    """
    about = _digest([path, query])
    done, version = _opened(cursor, about) if cursor is not None else (0, query.get("version"))
    asked = {**query, "limit": limit + 1, "offset": (query.get("offset") or 0) + done, "version": version}
    headers = {"Accept": "application/x-ndjson"}
    async with api.lines("POST", path, json=asked, params={"end": "true"}, headers=headers) as lines:
        version = int(lines.headers["database-version"])
        rows, more = await _some(lines, limit, done)
    found = {"rows": rows, "count": len(rows), "has_more": more, "version": version}
    return found | ({"next_cursor": _sealed(done + len(rows), version, about)} if more else {})


async def _some(lines: Lines, limit: int, done: int) -> tuple[list[Any], bool]:
    """The rows of a page, and whether there are more: the answer has one row more than the page may have, and a last line with its end."""
    found: list[Any] = []
    size = 0
    async for line in lines:
        size += len(line)
        if size > PAGE_BYTES and len(line) > _END_LINE:
            if not found:
                raise _too_large(done, len(line))
            return found[:limit], True
        found.append(orjson.loads(line))
    end = found.pop() if found else None
    if end != {"end": {"rows": len(found)}}:
        error = end.get("error") if isinstance(end, dict) else None
        if isinstance(error, dict):
            raise refused(error.get("status", 500), error)
        raise CutShort("cut_short", "the rows ended too early", hint="ask again", retryable=True)
    return found[:limit], len(found) > limit


def _too_large(position: int, size: int) -> ApiError:
    message = f"row {position + 1} has {size} bytes, at most {PAGE_BYTES} are given at once"
    return ApiError("too_large", message, pointer="/fields", hint="name the fields that are needed")


def _digest(value: Any) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def _sealed(done: int, version: int, about: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([done, version, about])).decode().rstrip("=")


def _opened(cursor: str, about: str) -> tuple[int, int]:
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        done, version, made_for = orjson.loads(data)
    except (binascii.Error, ValueError, TypeError):
        done, version, made_for = -1, -1, None
    if made_for != about or not all(type(part) is int and 0 <= part < 1 << 53 for part in (done, version)):
        raise ApiError(
            "invalid_cursor",
            "this cursor is not one of this query",
            pointer="/cursor",
            hint="take next_cursor of the page before, with the same arguments",
        )
    return done, version
