"""A reader of server-sent events that follows the standard to the letter (WHATWG HTML, section 9.2.6, "Interpreting an event stream")."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """What a browser dispatches."""

    type: str
    data: str
    last_event_id: str


class EventStream:
    """Takes bytes as they arrive; gives the events that are complete. What stands behind the last blank line is none."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._first = True
        self._data: list[str] = []
        self._type = self._id = ""
        self.last_event_id = ""
        self.retry: int | None = None
        self.comments: list[str] = []

    def feed(self, piece: bytes) -> Iterator[Event]:
        self._text += self._decoder.decode(piece)
        if self._first and self._text:
            self._text, self._first = self._text.removeprefix("\ufeff"), False
        while (line := self._line()) is not None:
            if not line:
                yield from self._dispatch()
            elif line.startswith(":"):
                self.comments.append(line[1:])
            else:
                name, _, value = line.partition(":")
                self._field(name, value.removeprefix(" "))

    def _line(self) -> str | None:
        """The next line; it ends with CRLF, LF or CR. A CR that is the last to have arrived may be half an end."""
        ends = [place for mark in "\r\n" if (place := self._text.find(mark)) >= 0]
        if not ends or (self._text[min(ends)] == "\r" and min(ends) + 1 == len(self._text)):
            return None
        end = min(ends)
        line, rest = self._text[:end], self._text[end:]
        self._text = rest[2:] if rest.startswith("\r\n") else rest[1:]
        return line

    def _field(self, name: str, value: str) -> None:
        if name == "event":
            self._type = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value)

    def _dispatch(self) -> Iterator[Event]:
        self.last_event_id = self._id
        data, kind = self._data, self._type
        self._data, self._type = [], ""
        if data:
            yield Event(kind or "message", "\n".join(data), self.last_event_id)


def events(body: bytes) -> list[Event]:
    """All events of a body."""
    return list(EventStream().feed(body))
