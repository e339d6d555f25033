"""The elements of a JSON array, as bytes, one at a time, while the text still arrives.

Nothing is parsed here: strings are skipped, brackets are counted, and a comma at depth 1 ends an element. An element that is no JSON is
handed out all the same (its reader refuses it), and the next one is found: only the frame has to be right. One match of a
regular expression takes a whole element that is not nested too deeply; for others a match leads from bracket to bracket.

Where no match is found the rest has not arrived, and as much again is read before the next attempt: a long string is not searched
over and over, and time stays proportional to the length.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from query.errors import InvalidRecord

BOM: Final = b"\xef\xbb\xbf"
_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_AMONG: Final = re.compile(rb'[^"\[\]{},]*+(?:%b[^"\[\]{},]*+)*+[\[\]{},]' % _STRING, re.DOTALL)
"""To the next bracket or comma: between elements."""
_INSIDE: Final = re.compile(rb'[^"\[\]{}]*+(?:%b[^"\[\]{}]*+)*+[\[\]{}]' % _STRING, re.DOTALL)
"""To the next bracket: inside of an element."""


def _nested(depth: int) -> bytes:
    """A list or an object with at most so many others inside each other."""
    inner = _STRING + (b"|" + _nested(depth - 1) if depth else b"")
    return rb'[\[{][^"\[\]{}]*+(?:(?:%b)[^"\[\]{}]*+)*+[\]}]' % inner


_WHOLE: Final = re.compile(rb"[ \t\r\n]*+(%b)[ \t\r\n]*+([,\]])" % _nested(4), re.DOTALL)
"""An element and what ends it."""
_SPACE: Final = b" \t\r\n"


def elements(pieces: Iterable[bytes], *, largest: int) -> Iterator[bytes]:
    """The elements' texts.

    Raises InvalidRecord if it is no array, ends too early, goes on behind its end, or has an element of more than `largest` bytes.
    """
    text = _Text(pieces, largest)
    text.open()
    found, mark = 0, b","
    while mark == b",":
        for element, mark in text.whole():  # noqa: B007
            found += 1
            yield element
        if mark == b",":
            element, mark = text.element()
            if element or found or mark == b",":
                found += 1
                yield element
    text.end(mark)


class _Text:
    """What has arrived and is not taken yet: `start` of the element, `at` behind the last mark."""

    def __init__(self, pieces: Iterable[bytes], largest: int) -> None:
        self._source = iter(pieces)
        self._largest = largest
        self._held = b""
        self._start = self._at = 0

    def open(self) -> None:
        """Go behind the array's bracket."""
        text = b""
        while not text and (piece := next(self._source, None)) is not None:
            self._held += piece
            text = self._held.removeprefix(BOM).lstrip(_SPACE) if len(self._held) >= len(BOM) else b""
        text = text or self._held.lstrip(_SPACE)
        if text[:1] != b"[":
            raise InvalidRecord("the text is no JSON array", hint="send [{...}, ...], or an object a line as NDJSON")
        self._held, self._start, self._at = text, 1, 1

    def whole(self) -> Iterator[tuple[bytes, bytes]]:
        """The next elements, each with what ends it, as long as a match takes them whole."""
        match = _WHOLE.match
        while (found := match(self._held, self._start)) is not None:
            self._start = self._at = found.end()
            yield found[1], found[2]
            if found[2] == b"]":
                return

    def element(self) -> tuple[bytes, bytes]:
        """The next element and what ends it, from bracket to bracket."""
        depth = 1
        while True:
            mark = self._mark(_AMONG if depth == 1 else _INSIDE)
            if mark in b"[{":
                depth += 1
            elif mark in b"]}":
                depth -= 1
            if depth == 0 or (depth == 1 and mark == b","):
                element = self._held[self._start : self._at - 1].strip(_SPACE)
                self._start = self._at
                return element, mark

    def _mark(self, pattern: re.Pattern[bytes]) -> bytes:
        """The next bracket or comma; the place is behind it then."""
        while (match := pattern.match(self._held, self._at)) is None:
            self._read()
        self._at = match.end()
        return self._held[self._at - 1 : self._at]

    def end(self, mark: bytes) -> None:
        """Nothing may stand behind the array."""
        rest: bytes | None = self._held[self._at :]
        while rest is not None and not rest.strip(_SPACE):
            rest = next(self._source, None)
        if rest is not None or mark != b"]":
            raise InvalidRecord("the array does not end where the text ends", hint="a file is one array")

    def _read(self) -> None:
        """At least as much again as there is to search."""
        self._held, self._at, self._start = self._held[self._start :], self._at - self._start, 0
        if len(self._held) > self._largest:
            raise InvalidRecord(f"an element has more than {self._largest} bytes", hint="divide the record")
        pieces, missing = [self._held], len(self._held) - self._at
        while missing >= 0 and (piece := next(self._source, None)) is not None:
            pieces.append(piece)
            missing -= len(piece) or 1
        if len(pieces) == 1:
            raise InvalidRecord("the array is not closed", hint="was the file cut?")
        self._held = b"".join(pieces)
