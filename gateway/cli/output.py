"""Output: a table for people; json, ndjson or csv for programs. Values are never cut, and never read as markup.

Every command that shows something has `-o` (`Format`) and writes with `write_rows` or `write_object`; `options` says which form it is where
the command line does not.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from gateway.cli.options import options

if TYPE_CHECKING:
    from rich.console import Console

Format = Annotated[
    Literal["table", "json", "ndjson", "csv"],
    typer.Option("--output", "-o", help="table, json, ndjson (one object a line) or csv"),
]
_WIDE: Final = 10_000


def write_json(value: Any) -> None:
    """A value on stdout, readable."""
    print(json.dumps(value, indent=2, ensure_ascii=False))  # noqa: T201


def write_lines(values: Iterable[Any]) -> None:
    """Values on stdout, one a line."""
    for value in values:
        print(json.dumps(value, ensure_ascii=False, separators=(",", ":")), flush=True)  # noqa: T201


def write_csv(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """Rows on stdout as CSV, with these columns and then those of all other fields; cells as an export has them."""
    from query.transfer.streams import csv_rows

    named = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    sys.stdout.flush()
    for piece in csv_rows(rows, named):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def write_rows(rows: Iterable[dict[str, Any]], columns: Sequence[str], output: str) -> None:
    """Rows on stdout; a table shows `columns` only, the other forms show all."""
    if output == "ndjson":
        write_lines(rows)
        return
    found = list(rows)
    if output == "json":
        write_json(found)
        return
    if output == "csv":
        write_csv(found, columns)
        return
    from rich.table import Table
    from rich.text import Text

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
    elif output == "csv":
        write_csv([value], ())
    else:
        from rich.table import Table
        from rich.text import Text

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
    """A line for the person, on stderr, unless there is to be none (--quiet)."""
    if not options().quiet:
        complain(line)


def complain(line: str) -> None:
    """A warning or an error for the person, on stderr."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _console() -> "Console":
    from rich.console import Console

    wide = not sys.stdout.isatty()
    no_color = True if options().no_color else None  # None: NO_COLOR says it
    return Console(file=sys.stdout, width=_WIDE if wide else None, soft_wrap=wide, no_color=no_color)
