"""Records of a session as a person sees them, while they come.

    said        what the author says, and what a slash command gives: the data of the command
    aside       everything else: tool calls, cards, notices, how a turn ended

On a terminal both are one console, and text is shown as it comes. In a pipe only whole texts are written: what a model began to say and
then said otherwise cannot be taken back there.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli.chat.cards import card_lines, text_lines
from gateway.cli.output import cell
from gateway.cli.trace import failure_text, short

FIRST: Final = 10
"""Rows that are shown."""
Record = Mapping[str, Any]
Rows = Callable[[int], Iterable[Record]]
"""Gives the rows of the record with a number."""


class Shown:
    """Takes the records of a session, one after the other."""

    def __init__(
        self, said: Console, aside: Console, *, session: str, live: bool, rows: Rows, verbose: bool = False
    ) -> None:
        self.verbose = verbose
        self._said = said
        self._aside = aside
        self._session = session
        self._live = live
        self._rows = rows
        self._piece = ""
        self._calls: dict[str, Record] = {}
        self._carded = False
        self._failure = ""

    def __call__(self, record: Record) -> None:
        """Show a record."""
        show = getattr(self, f"_{record['type']}", None)
        if show is not None:
            show(record)
        elif record["type"] not in ("user", "text_delta", "text_restarted"):
            self._line(Text(short(record)))

    def _text_delta(self, record: Record) -> None:
        if self._live:
            self._piece += record["text"]
            self._said.print(Text(_clean(record["text"])), end="", soft_wrap=True)

    def _text_restarted(self, record: Record) -> None:
        if self._piece:
            self._end_piece()
            self._line(Text("(once more)", "dim"))

    def _text(self, record: Record) -> None:
        text = record.get("text") or ""
        if self._piece:
            said, rest = self._piece, text.removeprefix(self._piece)
            if not text.startswith(said):
                self._end_piece()
            self._piece = ""
            self._said.print(Text(_clean(rest)), soft_wrap=True)
        elif text:
            self._said.print(Text(_clean(text)), soft_wrap=True)

    def _tool_call(self, record: Record) -> None:
        self._calls[record["call"]] = record
        self._carded = False

    def _tool_result(self, record: Record) -> None:
        call = self._calls.pop(record["call"], {})
        status = record.get("status", "")
        mark, style = {"done": ("+", "green"), "waiting": ("!", "yellow")}.get(status, ("-", "red"))
        args = f" {short(call['args'])}" if call.get("args") else ""
        line = (
            Text()
            .append(mark, style)
            .append(f" {cell(record.get('tool') or call.get('tool') or '')}", "bold")
            .append(args)
        )
        if record.get("error"):
            self._failure = failure_text(record["error"])
            line.append(f"  {cell(status)}: {self._failure}", "red")
        elif "rows" in record:
            line.append(f"  {record['rows']['count']} rows", "dim")
        elif status == "done" and call.get("by") != "person":
            line.append(f"  {short(record.get('result'))}", "dim")
        elif status != "done":
            line.append(f"  {cell(status)}", style)
        self._line(line)
        if status == "done":
            self._result(record, asked=call.get("by") == "person", raw=self.verbose or bool(call.get("raw")))

    def _result(self, record: Record, *, asked: bool, raw: bool) -> None:
        """Rows are shown in any case; other values where the person has asked for them and no card has shown them: whole, scripts in
        English, unless they are wanted `raw`."""
        value = record.get("result")
        if "rows" in record:
            rows = self._rows(record["seq"])
            try:
                first = list(islice(rows, FIRST))
            finally:
                close = getattr(rows, "close", None)
                if close is not None:
                    close()
            self._table(record, first, record["rows"]["count"], asked=asked)
        elif isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
            self._table(record, value[:FIRST], len(value), asked=asked)
        elif asked and value is not None:
            outline = value.get("outline") if isinstance(value, Mapping) and not raw else None
            if outline or isinstance(value, str):
                self._said.print(Text(_clean(str(outline or value))), soft_wrap=True)
            elif not self._carded or raw:
                self._said.print(Text(_clean(json.dumps(value, indent=2, ensure_ascii=False))), soft_wrap=True)

    def _table(self, record: Record, first: Sequence[Record], count: int, *, asked: bool) -> None:
        table = Table(box=None, pad_edge=False, header_style="bold")
        columns = list(dict.fromkeys(name for row in first for name in row))
        for column in columns:
            table.add_column(Text(cell(column)), overflow="fold")
        for row in first:
            table.add_row(*(Text(cell(row.get(column))) for column in columns))
        (self._said if asked else self._aside).print(table)
        if count > len(first):
            how = f"sop session rows {self._session} {record['seq']}"
            self._line(Text(f"the first {len(first)} of {count} rows; all: {how}", "dim"))

    def _card(self, record: Record) -> None:
        self._carded = True
        for line in card_lines(record, verbose=self.verbose):
            self._line(line)

    def _notice(self, record: Record) -> None:
        self._line(Text(cell(record.get("text", "")), "yellow"))

    def _turn(self, record: Record) -> None:
        status = record["status"]
        self._end_piece()
        if record.get("error"):
            why = failure_text(record["error"])
            if why != self._failure:  # else a call has just told it
                self._line(Text(f"{status}: {why}", "red"))
        elif status not in ("completed", "waiting"):
            self._line(Text(cell(status), "yellow"))
        self._failure = ""
        usage = record.get("usage") or {}
        if self.verbose and usage:
            self._line(Text(short(usage), "dim"))

    def _line(self, line: Text) -> None:
        self._end_piece()
        self._aside.print(line, soft_wrap=True)

    def _end_piece(self) -> None:
        """End the line that is being said."""
        if self._piece:
            self._said.print()
            self._piece = ""


def _clean(text: str) -> str:
    return "\n".join(line.plain for line in text_lines(text))
