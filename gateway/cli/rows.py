"""Rows up and down: the gateway's NDJSON answers, taken for whole only if they are.

Rows are always asked for with a last line that tells how many they were (`?end=true`), whatever form they are written in here. If that line
does not come, or tells another number, or the connection is cut, the command fails: with the gateway's reason, if it gave one.

The engine's forms are imported where rows are written: all other commands start without it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import quote

from gateway.cli.connection import Connection
from gateway.cli.failures import CONFLICT, RUN_FAILED, USAGE, CommandFailed, of_problem, told
from gateway.cli.output import complain
from gateway.cli.transfer import progress_bar

if TYPE_CHECKING:
    import httpx2

_SHOWN: Final = 20


@dataclass(frozen=True)
class Csv:
    """How tables are written: CSV with the guard before formulas, and null as a text; Arrow with these columns as JSON text."""

    guard: bool = True
    null: str = ""
    as_json: tuple[str, ...] = ()

    def check(self, output: str) -> None:
        """Ends the command for a text for null where there is none."""
        if self.null and output != "csv":
            raise CommandFailed(USAGE, "error: --null is for CSV", "hint: -o csv")
        if self.as_json and output != "arrow":
            raise CommandFailed(USAGE, "error: --as-json is for Arrow", "hint: -o arrow")
        from query import QueryError
        from query.transfer.streams import null_text

        try:
            null_text(self.null)
        except QueryError as error:
            raise CommandFailed(USAGE, f"error: --null: {error.message}", f"hint: {error.hint}") from None


@dataclass(frozen=True)
class Asked:
    """A query over DATABASE/STORE, as the command line has it."""

    target: str
    where: str | None
    fields: str | None
    order_by: str | None
    limit: int | None
    offset: int
    version: int | None
    verb: str = "select"
    more: Mapping[str, Any] = field(default_factory=dict)
    """What the verb takes besides: a join's right, on, type; an aggregate's values, group_by, join."""

    def columns(self) -> list[str] | None:
        """The columns that are known before the rows, if they are."""
        from query.transfer.exports import column_names

        if self.verb == "aggregate":
            return [*(column_names(self.more["group_by"]) or ()), *self.more["values"]]
        return column_names(comma_list(self.fields))

    def rows(self) -> list[dict[str, Any]]:
        """All rows."""
        with Connection() as gateway, self._answer(gateway) as answer:
            return list(_records(whole_rows(answer)))

    def write(self, target: BinaryIO, output: str, csv: Csv, *, shown: bool = True) -> None:
        """Write the rows as ndjson, json, csv or arrow, as they come."""
        from query import QueryError

        with (
            Connection() as gateway,
            self._answer(gateway) as answer,
            progress_bar("exporting", None, shown) as (progress, task),
        ):
            try:
                for piece in self._pieces(gateway, whole_rows(answer), output, csv):
                    target.write(piece)
                    progress.update(task, advance=len(piece))
            except QueryError as error:
                hint = [f"hint: {_as_options(error.hint)}"] if error.hint else []
                raise CommandFailed(USAGE, f"error: {error.message}", *hint) from None
            target.flush()

    def _answer(self, gateway: Connection) -> Any:
        body = {
            "filter": json_object("--where", self.where),
            "fields": comma_list(self.fields),
            "order_by": comma_list(self.order_by),
            "limit": self.limit,
            "offset": self.offset,
            "version": self.version,
            **self.more,
        }
        asked = {name: value for name, value in body.items() if value is not None}
        params = {"format": "ndjson", "end": True}
        return gateway.download(f"{store_path(self.target)}:{self.verb}", "POST", json=asked, params=params)

    def _pieces(self, gateway: Connection, lines: Iterator[bytes], output: str, csv: Csv) -> Iterator[bytes]:
        from query.transfer.streams import columns_of, csv_rows, json_array

        if output == "ndjson":
            return lines
        if output == "json":
            return json_array(some[:-1].replace(b"\n", b",\n") for some in lines)
        named = self.columns()
        if output == "arrow":
            from query.transfer.arrow import arrow_rows, sampled_types

            types, rows = sampled_types(_records(lines), named or (), as_json=csv.as_json, complete=named is not None)
            return arrow_rows(rows, types)
        if named is not None:
            return csv_rows(_records(lines), named, guard=csv.guard, null=csv.null)
        of_store = self.verb == "select" and self.fields is None
        key = gateway.get(store_path(self.target))["primary_key"] if of_store else ()
        columns, records = columns_of(_records(lines), key)
        return csv_rows(records, columns, guard=csv.guard, null=csv.null)


def _as_options(hint: str) -> str:
    """A hint with the options of the command line in it."""
    return hint.replace("`fields`", "--fields").replace("as_json=", "--as-json ")


def whole_rows(answer: "httpx2.Response") -> Iterator[bytes]:
    """The rows of an answer, some whole lines at a time. Ends the command if they did not arrive whole."""
    from gateway.client.data import whole_lines

    with told():
        yield from whole_lines(answer)


def _records(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    import msgspec

    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for some in lines:
        yield from map(decode, some.splitlines())


def import_report(records: Iterator[dict[str, Any]], file: str, kept: BinaryIO | None) -> dict[str, Any]:
    """Read an import's answer to its report. Rejected lines go to `kept`, the first of them to stderr too.

    Ends the command if the answer has no end, or tells that the import failed.
    """
    rejected, last = 0, None
    for record in records:
        last = record
        if "reject" in record:
            rejected += 1
            _tell_reject(record["reject"], rejected, file, kept)
    if rejected > _SHOWN and kept is None:
        complain(f"{rejected - _SHOWN} more were rejected: --rejects FILE keeps all of them")
    if last is not None and "error" in last:
        raise of_problem(last["error"]["status"], last["error"])
    if last is None or "report" not in last:
        raise CommandFailed(RUN_FAILED, "error: the connection was cut: it is not known how the import ended",
                            "hint: import again; rows with the same key are replaced")  # fmt: skip
    report: dict[str, Any] = last["report"]
    if rejected != report["rejected_count"]:
        raise CommandFailed(RUN_FAILED, f"error: {rejected} rejected lines came of {report['rejected_count']}")
    return report


def _tell_reject(reject: dict[str, Any], number: int, file: str, kept: BinaryIO | None) -> None:
    if number <= _SHOWN:
        complain(f"{file}:{reject['line']}: {reject['message']} [{reject['code']}]")
    if kept is not None:
        kept.write(json.dumps(reject, ensure_ascii=False).encode() + b"\n")


@contextmanager
def rejects_file(file: Path | None) -> Iterator[BinaryIO | None]:
    """A new file for rejected lines; what was written stays also if the import fails."""
    if file is None:
        yield None
        return
    try:
        opened = file.open("xb")
    except FileExistsError:
        message = f"error: {file} is there already"
        raise CommandFailed(CONFLICT, message, "hint: choose another name, or remove it") from None
    except OSError as error:
        raise CommandFailed(USAGE, f"error: {file}: {error.strerror or error}") from None
    with opened:
        yield opened


def target_of(text: str) -> tuple[str, str]:
    """DATABASE/STORE as the two parts of an address. Ends the command if it is not that."""
    database, slash, store = text.partition("/")
    if not (slash and database and store and "/" not in store):
        raise CommandFailed(USAGE, f"error: {text}: it has to be DATABASE/STORE")
    return quote(database, safe=""), quote(store, safe="")


def store_path(text: str) -> str:
    """The address of DATABASE/STORE."""
    database, store = target_of(text)
    return f"/v1/databases/{database}/stores/{store}"


def json_object(option: str, text: str | None) -> Any:
    """The JSON object of an option. Ends the command for what is none."""
    if text is None:
        return None
    import msgspec

    try:
        found = msgspec.json.decode(text)
    except msgspec.MsgspecError as error:
        raise CommandFailed(USAGE, f"error: {option} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise CommandFailed(USAGE, f"error: {option} is a JSON object", 'hint: {"city": "Rome"}')
    return found


def comma_list(text: str | None) -> list[str] | None:
    """`a,b` as a list."""
    return None if text is None else [part.strip() for part in text.split(",")]
