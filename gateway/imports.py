"""Importing rows: a body of any size, read as it arrives, gzip or plain, NDJSON or CSV.

The importer is synchronous and pulls lines, so it runs in a thread; each time it wants more, the event loop reads one piece
of the body. Nothing is buffered in between: a slow disk slows the client down, and memory stays constant.

Each ten thousand rows are a transaction. If the client vanishes, what was committed stays, and importing the file again
replaces the same records.
"""

import codecs
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from typing import Annotated, Any, Final

from anyio import from_thread, to_thread
from fastapi import APIRouter, Query, Request

import query
from gateway.databases import writable_database
from gateway.problems import ApiError
from gateway.services import Here

router = APIRouter(prefix="/v1/databases/{database}/stores/{store}", tags=["rows"])

MAX_IMPORT_BYTES: Final = 1 << 50
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
_PIECE: Final = 1024 * 1024
_BODY = {
    "requestBody": {
        "required": True,
        "content": {kind: {"schema": {"type": "string"}} for kind in ("application/x-ndjson", "text/csv")},
    }
}


@router.post("/rows:import", openapi_extra=_BODY, max_body_size=MAX_IMPORT_BYTES)
async def import_rows(
    here: Here,
    database: str,
    store: str,
    request: Request,
    types: Annotated[
        str | None, Query(description="CSV: field=type,... with string, integer, number, boolean, date")
    ] = None,
) -> dict[str, Any]:
    """Import records; those with the same key are replaced. The report has every line that was rejected, with its reason."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/x-ndjson", "application/jsonl", "text/csv"):
        raise ApiError("unsupported_media_type", "an import is application/x-ndjson or text/csv")
    columns = column_types(types)
    if columns and kind != "text/csv":
        raise ApiError("invalid_field", "types are for CSV: JSON has its own", pointer="?types")
    opened = writable_database(here, database, store)
    pieces = unpacked(_pull(request.stream()), request.headers.get("content-encoding", "identity").strip().lower())
    began = time.monotonic()

    def work() -> query.ImportReport:
        if kind == "text/csv":
            return query.import_csv(opened, store, text_lines(pieces), types=columns)
        return query.import_ndjson(opened, store, lines(pieces))

    report = await to_thread.run_sync(work)
    return {**asdict(report), "seconds": round(time.monotonic() - began, 3)}


def column_types(text: str | None) -> dict[str, str]:
    """`a=integer,b=date` as a mapping. Raises ApiError."""
    found: dict[str, str] = {}
    for part in (text or "").split(","):
        name, equals, kind = part.strip().partition("=")
        if part.strip() and not (equals and name and kind):
            raise ApiError("invalid_field", f"{part!r} is not field=type", pointer="?types")
        if name:
            found[name] = kind
    return found


def _pull(stream: AsyncIterator[bytes]) -> Iterator[bytes]:
    """The pieces of an asynchronous stream, from a worker thread."""

    async def following() -> bytes | None:
        return await anext(stream, None)

    while (piece := from_thread.run(following)) is not None:
        yield piece


def unpacked(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The pieces without their content encoding: none or gzip. Raises ApiError for others, and for damaged gzip."""
    if encoding in ("identity", ""):
        return pieces
    if encoding != "gzip":
        raise ApiError("unsupported_media_type", f"the content encoding {encoding!r} is not known; gzip is")
    return _gunzip(pieces)


def _gunzip(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Unpack a sequence of gzip members, never more than a piece at a time (a small file may unpack to a huge one)."""
    unpacker, inside = zlib.decompressobj(wbits=31), False
    try:
        for piece in pieces:
            rest = piece
            while rest:
                yield unpacker.decompress(rest, _PIECE)
                rest, inside = unpacker.unconsumed_tail, True
                if unpacker.eof:
                    rest, unpacker, inside = unpacker.unused_data, zlib.decompressobj(wbits=31), False
        while inside and (held := unpacker.decompress(b"", _PIECE)):
            yield held
            inside = not unpacker.eof
    except zlib.error as error:
        raise ApiError("damaged_gzip", f"the gzip is damaged: {error}") from None
    if inside:
        raise ApiError("damaged_gzip", "the gzip ends too early", hint="was the file cut?")


def lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Lines without their ends. Raises ApiError for one that is too long."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
        if len(rest) > MAX_LINE_BYTES:
            raise ApiError("line_too_long", f"a line is at most {MAX_LINE_BYTES} bytes")
    if rest:
        yield rest


def text_lines(pieces: Iterator[bytes]) -> Iterator[str]:
    """Lines of text with their ends, as a CSV reader wants them. Raises ApiError for what is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    rest = ""
    try:
        for piece in pieces:
            *whole, rest = (rest + decoder.decode(piece)).split("\n")
            yield from (line + "\n" for line in whole)
            if len(rest) > MAX_LINE_BYTES:
                raise ApiError("line_too_long", f"a line is at most {MAX_LINE_BYTES} bytes")
        rest += decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise ApiError("not_utf8", f"the body is not UTF-8: {error.reason}", hint="convert the file first") from None
    if rest:
        yield rest
