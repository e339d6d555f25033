"""The rows of a run's result, or of a step's, in pages of CSV: the form in which the gateway gives the rows of any result.

A page is read from the beginning of the rows to its end, and no further; so later pages take longer. Its cursor is the number of rows
before it: rows of a result do not change.
"""

from collections.abc import AsyncIterator
from typing import Any

from gateway.mcp.api import Lines
from gateway.mcp.paging import PAGE_BYTES
from gateway.problems import ApiError


async def some_rows(lines: Lines, limit: int, cursor: int) -> dict[str, Any]:
    """A page of a CSV answer: {csv, count, total, has_more, next_cursor}. Raises ApiError for a row that alone is too large."""
    total = int(lines.headers["row-count"])
    kept: list[str] = []
    number, size = -1, 0
    async for record in _records(lines):
        number += 1
        if 0 < number <= cursor:
            continue
        size += len(record)
        if number and (len(kept) > limit or (size > PAGE_BYTES and len(kept) > 1)):
            break
        if size > PAGE_BYTES:
            raise ApiError("too_large", f"row {number} has {len(record)} bytes, at most {PAGE_BYTES} are given at once")
        kept.append(record.decode())
    done = cursor + max(0, len(kept) - 1)
    found = {"csv": "".join(kept), "count": done - cursor, "total": total, "has_more": done < total}
    return found | ({"next_cursor": done} if done < total else {})


async def _records(lines: Lines) -> AsyncIterator[bytes]:
    """Records of CSV: a line, or several where a cell has line feeds."""
    found = b""
    async for line in lines:
        found += line
        if found.count(b'"') % 2 == 0:
            yield found
            found = b""
