"""Data: rows out of stores as they come, rows in, records by key. Constant memory, and never a part for the whole.

A store is named `DATABASE/STORE`. Rows are asked for with a last line that tells how many they were; if it does not come, or tells another
number, or the connection is cut, iterating raises CutShort, or the gateway's own error.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal

from gateway.client.errors import CutShort, Unreachable, refused
from gateway.client.models import ImportReport, Reject
from gateway.client.transport import Transport, given, part

if TYPE_CHECKING:
    import httpx2

JoinType = Literal["inner", "left", "right", "full", "semi", "anti"]
_PIECE: Final = 256 * 1024
_KINDS: Final = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
}


class Rows(Iterator[dict[str, Any]]):
    """Rows of one `version` of a database. Close it (or use `with`) when it is left before its end."""

    def __init__(self, answer: "httpx2.Response", opened: ExitStack) -> None:
        self.version = int(answer.headers["database-version"]) if "database-version" in answer.headers else None
        self._opened = opened
        self._rows = (json.loads(line) for some in whole_lines(answer) for line in some.splitlines())

    def __next__(self) -> dict[str, Any]:
        try:
            row: dict[str, Any] = next(self._rows)
        except BaseException:
            self.close()
            raise
        return row

    def close(self) -> None:
        self._opened.close()

    def __enter__(self) -> "Rows":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Data:
    """The databases of an installation."""

    def __init__(self, gateway: Transport) -> None:
        self._gateway = gateway

    def select(
        self,
        store: str,
        where: Mapping[str, Any] | None = None,
        *,
        fields: Sequence[str] | None = None,
        order_by: Sequence[str] | None = None,
        limit: int | None = None,
        offset: int | None = None,
        version: int | None = None,
    ) -> Rows:
        """The rows of a query; without a limit all of them."""
        page = {"order_by": order_by, "limit": limit, "offset": offset, "version": version}
        return self._rows(store, "select", filter=where, fields=fields, **page)

    def join(
        self,
        left: str,
        right: str | Mapping[str, Any],
        on: Mapping[str, str],
        type: JoinType = "inner",
        *,
        where: Mapping[str, Any] | None = None,
        fields: Sequence[str] | None = None,
        order_by: Sequence[str] | None = None,
        limit: int | None = None,
        offset: int | None = None,
        version: int | None = None,
    ) -> Rows:
        """The rows of two stores that belong together, as {left, right}; `on` is {left field: right field}."""
        page = {"order_by": order_by, "limit": limit, "offset": offset, "version": version}
        return self._rows(left, "join", right=right, on=on, type=type, filter=where, fields=fields, **page)

    def aggregate(
        self,
        store: str,
        values: Mapping[str, Any],
        group_by: Sequence[str] = (),
        *,
        where: Mapping[str, Any] | None = None,
        join: Mapping[str, Any] | None = None,
        order_by: Sequence[str] | None = None,
        limit: int | None = None,
        offset: int | None = None,
        version: int | None = None,
    ) -> Rows:
        """Values computed over rows, or over a `join` {right, on, type}: one row, or one for each group.

        `values` is {name: op}, or {name: {op, value, where}}.
        """
        page = {"order_by": order_by, "limit": limit, "offset": offset, "version": version}
        return self._rows(store, "aggregate", values=values, group_by=list(group_by), filter=where, join=join, **page)

    def export(
        self, store: str, format: Literal["ndjson", "json", "csv", "arrow"] = "ndjson", where: Mapping[str, Any] | None = None, *,
        fields: Sequence[str] | None = None, order_by: Sequence[str] | None = None, version: int | None = None,
    ) -> Iterator[bytes]:  # fmt: skip
        """Rows as bytes, in pieces. Raises CutShort if they do not arrive whole."""
        body = given({"filter": where, "fields": fields, "order_by": order_by, "version": version})
        count = 0
        try:
            path = f"{store_path(store)}:select"
            with self._gateway.download(path, "POST", json=body, params={"format": format}) as answer:
                for piece in answer.iter_bytes():
                    count += len(piece)
                    yield piece
        except Unreachable:
            if not count:
                raise
            message = f"the rows did not arrive whole: {count} bytes came"
            raise CutShort("cut_short", message, hint="try again", retryable=True) from None

    def get(self, store: str, key: Any) -> Mapping[str, Any]:
        """The record of a key; a composite key is a list. Raises NotFound."""
        found: Mapping[str, Any] = self._gateway.get(_row_path(store, key))
        return found

    def add(self, store: str, record: Mapping[str, Any], *, dry_run: bool = False) -> None:
        """Add a new record. Raises Conflict `record_exists`. `dry_run`, here and below: only try it, and keep nothing."""
        self._gateway.post(f"{store_path(store)}/rows", json=record, params=_tried(dry_run))

    def put(
        self, store: str, key: Any, record: Mapping[str, Any], *, dry_run: bool = False
    ) -> Literal["added", "updated"]:
        """Write a whole record, new or in the place of the one that is there; tells which."""
        answer = self._gateway.request("PUT", _row_path(store, key), json=record, params=_tried(dry_run))
        outcome: Literal["added", "updated"] = answer["outcome"]
        return outcome

    def update(self, store: str, key: Any, values: Mapping[str, Any], *, dry_run: bool = False) -> None:
        """Change fields of a record, the others stay. Raises NotFound."""
        self._gateway.request("PATCH", _row_path(store, key), json=values, params=_tried(dry_run))

    def delete(self, store: str, key: Any, *, dry_run: bool = False) -> None:
        """Remove a record. Raises NotFound."""
        self._gateway.request("DELETE", _row_path(store, key), params=_tried(dry_run))

    def import_rows(
        self,
        store: str,
        rows: Path | Iterable[Mapping[str, Any]],
        *,
        mode: Literal["upsert", "insert"] = "upsert",
        max_rejects: int | None = None,
        types: Mapping[str, str] | None = None,
        null: str | None = None,
        empty: Literal["missing"] | None = None,
        unguard: bool = False,
        dry_run: bool = False,
        on_reject: Callable[[Reject], None] | None = None,
    ) -> ImportReport:
        """Import records, or a file (.csv, .json, .ndjson, .jsonl, also with .gz behind). `types`, `null`, `empty`, `unguard` are for CSV.
        With `dry_run` nothing is kept, and the report tells what would be.

        Rejected lines do not raise: the report counts them, and `on_reject` gets every one. Raises CutShort if it is not known how it
        ended.
        """
        params = given({"mode": mode, "max_rejects": max_rejects, "null": null, "empty": empty}) | _tried(dry_run)
        if types:
            params["types"] = ",".join(f"{name}={kind}" for name, kind in types.items())
        if unguard:
            params["unguard"] = True
        with ExitStack() as opened:
            if isinstance(rows, Path):
                headers, content = _file_type(rows), _pieces(opened.enter_context(rows.open("rb")))
            else:
                headers, content = {"Content-Type": "application/x-ndjson"}, _encoded(rows)
            headers["Accept"] = "application/x-ndjson"
            path = f"{store_path(store)}/rows:import"
            answer = self._gateway.stream("POST", path, content=content, headers=headers, params=params)
            return _report(answer, on_reject)

    def databases(self) -> Sequence[str]:
        """Their names."""
        return [found["name"] for found in self._gateway.get("/v1/databases")["data"]]

    def stores(self, database: str) -> Sequence[Mapping[str, Any]]:
        """The stores of a database, as {name, primary_key, description, count}."""
        found: Sequence[Mapping[str, Any]] = self._gateway.get(f"/v1/databases/{part(database)}/stores")["data"]
        return found

    def create_database(self, name: str) -> None:
        """Raises Conflict `database_exists`."""
        self._gateway.post("/v1/databases", json={"name": name})

    def create_store(self, store: str, primary_key: Sequence[str], **more: Any) -> None:
        """Make DATABASE/STORE; `more` is description, schema, relations. Raises Conflict `store_exists`."""
        database, name = split(store)
        body = {"name": name, "primary_key": list(primary_key), **more}
        self._gateway.post(f"/v1/databases/{part(database)}/stores", json=body)

    def _rows(self, store: str, verb: str, **asked: Any) -> Rows:
        opened = ExitStack()
        params = {"format": "ndjson", "end": True}
        answer = opened.enter_context(
            self._gateway.download(f"{store_path(store)}:{verb}", "POST", json=given(asked), params=params)
        )
        return Rows(answer, opened)


def whole_lines(answer: "httpx2.Response") -> Iterator[bytes]:
    """The rows of an NDJSON answer that was asked for with `end`, some whole lines at a time. Raises CutShort if they did not arrive whole;
    the gateway's error if it sent one."""
    import httpx2

    held, count, cut = b"", 0, False
    try:
        for piece in answer.iter_bytes():
            held += piece
            upto = held.rfind(b"\n", 0, max(held.rfind(b"\n"), 0)) + 1  # the last line is held back
            if upto:
                count += held.count(b"\n", 0, upto)
                yield held[:upto]
                held = held[upto:]
    except httpx2.TransportError:
        cut = True
    last = _last(held)
    problem = last.get("error")
    if isinstance(problem, dict) and "status" in problem:
        raise refused(problem["status"], problem)
    if cut or last.get("end") != {"rows": count}:
        message = f"the rows did not arrive whole: {count} came"
        raise CutShort("cut_short", message, hint="try again", retryable=True)


def _last(line: bytes) -> dict[str, Any]:
    """The last line, if it is one of those that end a stream."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and line.endswith(b"\n") and len(found) == 1 else {}


def split(store: str) -> tuple[str, str]:
    """DATABASE/STORE as its two parts. Raises ValueError."""
    database, slash, name = store.partition("/")
    if not (slash and database and name and "/" not in name):
        raise ValueError(f"{store!r} is not DATABASE/STORE")
    return database, name


def store_path(store: str) -> str:
    """The address of DATABASE/STORE. Raises ValueError."""
    database, name = split(store)
    return f"/v1/databases/{part(database)}/stores/{part(name)}"


def _tried(dry_run: bool) -> dict[str, str]:
    return {"dry_run": "true"} if dry_run else {}


def _row_path(store: str, key: Any) -> str:
    text = key if isinstance(key, str) else json.dumps(key, ensure_ascii=False)
    return f"{store_path(store)}/rows/{part(text)}"


def _file_type(file: Path) -> dict[str, str]:
    packed = file.suffix == ".gz"
    kind = _KINDS.get((file.with_suffix("") if packed else file).suffix)
    if kind is None:
        raise ValueError(f"{file}: the name has to end in {', '.join(_KINDS)}, or that and .gz")
    return {"Content-Type": kind, **({"Content-Encoding": "gzip"} if packed else {})}


def _pieces(opened: BinaryIO) -> Iterator[bytes]:
    while piece := opened.read(_PIECE):
        yield piece


def _encoded(rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Records as NDJSON, some at a time. Raises ValueError for NaN and infinite numbers, which JSON does not have."""
    held, size = [], 0
    for row in rows:
        held.append(json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode())
        size += len(held[-1])
        if size >= _PIECE:
            yield b"\n".join(held) + b"\n"
            held, size = [], 0
    if held:
        yield b"\n".join(held) + b"\n"


def _report(records: Iterator[dict[str, Any]], on_reject: Callable[[Reject], None] | None) -> ImportReport:
    last: dict[str, Any] = {}
    count = 0
    for record in records:
        last = record
        if "reject" in record:
            count += 1
            if on_reject is not None:
                on_reject(_reject(record["reject"]))
    if "error" in last:
        raise refused(last["error"]["status"], last["error"])
    report = last.get("report")
    if report is None or report["rejected_count"] != count:
        hint = "import again: rows with the same key are replaced"
        raise CutShort("cut_short", "it is not known how the import ended", hint=hint, retryable=True)
    rejected = tuple(map(_reject, report["rejected"]))
    return ImportReport(
        report["imported"], report["rejected_count"], rejected, bool(report["stopped"]), report["seconds"]
    )


def _reject(told: Mapping[str, Any]) -> Reject:
    return Reject(told["line"], told["code"], told["message"], told.get("text"))
