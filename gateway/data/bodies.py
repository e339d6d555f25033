"""Bodies of any size, read as they arrive by synchronous code in a worker thread: pieces, unpacked, cut into lines.

Each time the reader wants more, the event loop reads one piece of the body. Nothing is buffered in between: a slow reader slows the
client down, and memory stays constant.
"""

import codecs
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Final

from anyio import from_thread
from starlette.requests import ClientDisconnect

from gateway.problems import ApiError

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
_PIECE: Final = 1024 * 1024


def pulled(stream: AsyncIterator[bytes]) -> Iterator[bytes]:
    """The pieces of an asynchronous stream, from a worker thread. Raises ApiError for a body that was cut."""

    async def following() -> bytes | None:
        return await anext(stream, None)

    try:
        while (piece := from_thread.run(following)) is not None:
            yield piece
    except ClientDisconnect:
        raise ApiError("incomplete_body", "the body ended too early", hint="send it again") from None


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
