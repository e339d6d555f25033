"""Rows as the result of a step: a list where they are few, a row reference where they are many.

A reference to rows of a store in the order of a key or an index is the query itself; other rows (joined, sorted, groups, those of a
transaction that has uncommitted writes) are written down once. See `query.references`, and docs/decisions/0009.
"""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Final

import msgspec

from query import Aggregated, RowsQuery
from script.wire import ROWS
from toolbox.context import ToolContext

MAX_INLINE: Final = 32 * 1024
"""Bytes of JSON up to which rows are given as a list; more are given as a row reference."""
_decode: Final = msgspec.json.Decoder().decode

ByKey = Callable[[], Mapping[str, Any]]


def rows_or_reference(ctx: ToolContext, rows: RowsQuery | Aggregated, by_key: ByKey | None = None) -> Any:
    """The rows as a list, or a reference to them if they are many: that of `by_key`, {store, query, count}, if it is given.

    Raises QueryError, DiskFull, StorageError.
    """
    chunks = rows.json_chunks()
    head: list[bytes] = []
    size = 2
    for chunk in filter(None, chunks):
        head.append(chunk)
        size += len(chunk) + 1
        if size > MAX_INLINE:
            break
    else:
        return _decode(b"[%b]" % b",\n".join(head))
    if by_key is not None:
        return _reference(ctx, by_key())
    name, count = ctx.databases.results.keep(chain(head, chunks))
    return _reference(ctx, {"count": count, "result": name})


def _reference(ctx: ToolContext, found: Mapping[str, Any]) -> dict[str, Any]:
    assert ctx.view is not None
    return {ROWS: ctx.databases.seals.sealed({"database": ctx.database, "version": ctx.view.seq, **found})}
