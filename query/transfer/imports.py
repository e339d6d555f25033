"""Importing records: NDJSON, a JSON array, or CSV, in chunks, with a report of what was rejected.

    lines -> read (`readers`) -> chunks of at most CHUNK lines and CHUNK_BYTES bytes -> a transaction each

Each chunk is one transaction. A line that is no record, lacks a key field, or does not fit into the store is rejected with its number
and reason; all others are stored. Rejects and progress are told when the chunk is committed, so nothing is told twice. Importing
the same file again in the mode `upsert` replaces the same records: an import is repeatable.

With `max_rejects` an import stops at the first line that is one too many. Nothing of that line's chunk is stored; the chunks before it are.

A dry run does all of it in one transaction, so that a later line finds what an earlier one would have stored, and rolls it back.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any, Final, Literal

from btree import BTreeError, Database, InvalidKey, InvalidValue, Transaction
from query.errors import InvalidQuery, QueryError
from query.stores.store import Store, open_store
from query.transfer.elements import elements
from query.transfer.readers import Empty, Line, read_csv, read_json

CHUNK: Final = 10_000
CHUNK_BYTES: Final = 16 * 1024 * 1024
MAX_ELEMENT: Final = 16 * 1024 * 1024
"""Bytes of an element of a JSON array: a larger one would not fit into a store."""
MAX_REPORTED: Final = 1_000
MAX_MESSAGE: Final = 1_000
"""Characters of a message in the report; `ImportOptions.rejects` is told the whole."""

Mode = Literal["upsert", "insert"]
Transact = Callable[[Callable[[Transaction], int]], int]
"""Does the work of a chunk in a transaction."""


@dataclass(frozen=True)
class Reject:
    """A line that was not stored, why, and its text as it stood in the file."""

    line: int
    code: str
    message: str
    text: str


@dataclass
class ImportReport:
    """How an import went: records stored, lines rejected (the first thousand in detail), and whether `max_rejects` stopped it."""

    imported: int = 0
    rejected_count: int = 0
    rejected: list[dict[str, Any]] = field(default_factory=list)
    stopped: bool = False

    def __post_init__(self) -> None:
        self.reached = 0
        """The number of the last line that was read, stored or not; no part of the report."""

    def reject(self, line: int, code: str, message: str) -> None:
        self.rejected_count += 1
        if len(self.rejected) < MAX_REPORTED:
            if len(message) > MAX_MESSAGE:
                message = f"{message[:MAX_MESSAGE]}... ({len(message)} characters)"
            self.rejected.append({"line": line, "code": code, "message": message})


@dataclass(frozen=True)
class ImportOptions:
    """How to import.

    mode          upsert replaces records with the same key; insert rejects them (`record_exists`)
    max_rejects   stop at the first line that is one too many
    progress      is called with the report after each chunk
    rejects       is called with every rejected line, however many there are
    report        the report to go on with: whoever passes it has the counts, and the line reached, also when the import raises
    dry_run       store nothing: the report tells what would be
    """

    mode: Mode = "upsert"
    max_rejects: int | None = None
    progress: Callable[[ImportReport], None] | None = None
    rejects: Callable[[Reject], None] | None = None
    report: ImportReport | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.mode not in ("upsert", "insert"):
            raise InvalidQuery(
                f"there is no mode {self.mode!r}", pointer="/mode", hint="the modes are upsert and insert"
            )
        if self.max_rejects is not None and self.max_rejects < 0:
            raise InvalidQuery(f"max_rejects is a whole number from 0, not {self.max_rejects}", pointer="/max_rejects")


_DEFAULT: Final = ImportOptions()


def import_ndjson(
    database: Database, store: str, lines: Iterable[bytes], options: ImportOptions = _DEFAULT
) -> ImportReport:
    """Import one JSON object a line; blank lines are passed over. Raises QueryError, BTreeError."""
    return _import(database, store, read_json(lines), options)


def import_json(
    database: Database, store: str, pieces: Iterable[bytes], options: ImportOptions = _DEFAULT
) -> ImportReport:
    """Import the objects of a JSON array, which arrives in pieces; a line's number is the element's, from 1.

    Raises InvalidRecord where the text is no array, also when that shows at its end only: what was stored before is in the report.
    """
    return _import(database, store, read_json(elements(pieces, largest=MAX_ELEMENT), blank=False), options)


def import_csv(
    database: Database,
    store: str,
    lines: Iterable[str],
    options: ImportOptions = _DEFAULT,
    *,
    types: Mapping[str, str] | None = None,
    unguard: bool = False,
    null: str = "",
    empty: Empty = "null",
) -> ImportReport:
    """Import CSV with a header. `types` gives the columns' types (`readers.TYPES`; default string); `unguard` takes away the
    apostrophes of the formula guard (`streams`); `null` is the text that stands for null, besides the empty one (`NA`); with `empty`
    "missing" an empty cell is a field that is not there.

    Raises InvalidRecord for a header that lacks a typed column, or repeats one, and for a `null` that no cell can be.
    """
    read = read_csv(lines, dict(types or {}), unguard=unguard, null=null, empty=empty)
    return _import(database, store, read, options)


class _Stopped(Exception):
    """Too many rejects: the chunk is rolled back."""


def _import(database: Database, store: str, lines: Iterator[Line], options: ImportOptions) -> ImportReport:
    report = options.report or ImportReport()
    open_store(database.snapshot(), store)
    with _tried(database) if options.dry_run else nullcontext(database.transact) as transact:
        for chunk in _chunks(_noted(lines, report)):
            work = _Chunk(store, chunk, options, report.rejected_count)
            try:
                report.imported += transact(work.store)
            except _Stopped:
                report.stopped = True
            for line, error in work.rejected:
                report.reject(line.number, error.code, error.message)
                if options.rejects is not None:
                    options.rejects(Reject(line.number, error.code, error.message, line.text()))
            if options.progress is not None:
                options.progress(report)
            if report.stopped:
                break
    return report


@contextmanager
def _tried(database: Database) -> Iterator[Transact]:
    """All chunks in one transaction, which is rolled back."""
    transaction = database.begin(f"import-{token_hex(8)}")

    def tried(work: Callable[[Transaction], int]) -> int:
        done = work(transaction)
        transaction.save()  # nothing of it is kept in memory, and its lease goes on
        return done

    try:
        yield tried
    finally:
        transaction.rollback()


def _noted(lines: Iterator[Line], report: ImportReport) -> Iterator[Line]:
    for line in lines:
        report.reached = line.number
        yield line


def _chunks(lines: Iterator[Line]) -> Iterator[list[Line]]:
    """Lines by the chunk; one that cannot be read any further (the source fails) leaves the chunks before it."""
    chunk: list[Line] = []
    size = 0
    for line in lines:
        chunk.append(line)
        size += line.size
        if len(chunk) >= CHUNK or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


class _Chunk:
    """The lines of one transaction, which may be done more than once."""

    def __init__(self, store: str, lines: list[Line], options: ImportOptions, rejected_before: int) -> None:
        self._store = store
        self._lines = lines
        self._insert = options.mode == "insert"
        self._left = None if options.max_rejects is None else options.max_rejects - rejected_before
        self.rejected: list[tuple[Line, QueryError | BTreeError]] = []

    def store(self, transaction: Transaction) -> int:
        """Store what can be stored; how many records that were."""
        store = open_store(transaction, self._store)
        self.rejected = []
        for line in self._lines:
            error = line.error or self._put(store, line.record)
            if error is not None:
                self.rejected.append((line, error))
                if self._left is not None and len(self.rejected) > self._left:
                    raise _Stopped
        return len(self._lines) - len(self.rejected)

    def _put(self, store: Store, record: Any) -> QueryError | BTreeError | None:
        try:
            if self._insert:
                store.add(record)
            else:
                store.upsert(record)
        except (QueryError, InvalidKey, InvalidValue) as error:
            return error
        return None
