"""Output: a table for people, json or ndjson for programs. Values are never cut, and never read as markup."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

Format = Annotated[
    Literal["table", "json", "ndjson"], typer.Option("--output", "-o", help="table, json or ndjson (one object a line)")
]
_WIDE: Final = 10_000


def write_json(value: Any) -> None:
    """A value on stdout, readable."""
    print(json.dumps(value, indent=2, ensure_ascii=False))  # noqa: T201


def write_lines(values: Iterable[Any]) -> None:
    """Values on stdout, one a line."""
    for value in values:
        print(json.dumps(value, ensure_ascii=False, separators=(",", ":")), flush=True)  # noqa: T201


def write_rows(rows: Iterable[dict[str, Any]], columns: Sequence[str], output: str) -> None:
    """Rows on stdout; a table shows `columns` only, the other forms show all."""
    if output == "ndjson":
        write_lines(rows)
        return
    found = list(rows)
    if output == "json":
        write_json(found)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.upper().replace("_", " "), overflow="fold")
    for row in found:
        table.add_row(*(Text(cell(row.get(column))) for column in columns))
    _console().print(table)


def write_object(value: dict[str, Any], output: str) -> None:
    """One object on stdout; as a table, a line for each field."""
    if output == "json":
        write_json(value)
    elif output == "ndjson":
        write_lines([value])
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, part in value.items():
            if part not in (None, "", [], {}):
                table.add_row(Text(name.replace("_", " ")), Text(cell(part)))
        _console().print(table)


def cell(value: Any) -> str:
    """A value as text: strings as they are, control characters made visible, others as JSON."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def tell(line: str) -> None:
    """A line for the person, on stderr."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _console() -> Console:
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDE, soft_wrap=not sys.stdout.isatty())
