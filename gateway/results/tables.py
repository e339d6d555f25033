"""The rows of a result as CSV or Arrow (elsewhere than in runs as NDJSON or JSON, too): those of the run's value, or of a step's.

A value is a table if it is a list of objects, or a row reference. The rows of a reference come from the engine to the socket like those
of an export (`gateway.data.exports`): a piece at a time, in constant memory, and the version that they are read from is pinned meanwhile.
What is wrong is a problem, before anything is sent. The columns are those that the query names; where it names none, all fields of all
rows: the rows are read twice then, and none has a field that would be left out. For Arrow they are read twice in any case: its types are
those that all rows fit into.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from itertools import chain
from typing import Any, Final

import orjson
from fastapi import Request, Response

import query
from gateway.data.exports import RowsResponse
from gateway.problems import ApiError
from gateway.results.asking import MEDIA_TYPES, Asked
from gateway.runs.streams import is_end, run_records
from gateway.services import Services
from query import Databases
from query.references import reference_page
from query.transfer.arrow import Seen, arrow_rows, check_as_json
from query.transfer.exports import Export, Format, column_names
from query.transfer.streams import Stream, csv_rows, json_array, ndjson

PAGE: Final = 1_000
"""Rows of a result that was written down that are read at once."""
_NOTES: Final = ("warning", "progress", "compensation")
Record = Mapping[str, Any]


async def telling_record(
    here: Services, run_id: str, step: str | None, ended: asyncio.Event | None = None
) -> dict[str, Any]:
    """The record with the value that is asked for, as soon as there is one: the run's end, or that of the first execution of a step that
    went well.

    Raises ApiError: `step_not_run`, `no_result` for what has failed, and what `run_records` raises.
    """
    failed = False
    async with aclosing(run_records(here, run_id, 0, ended)) as records:
        async for record in records:
            if record and is_end(record):
                if step is None and record["status"] == "completed":
                    return record
                raise _without(record, step, failed=failed)
            if step is not None and _is_of(record, step):
                if record["status"] == "completed":
                    return record
                failed = True
    raise ApiError("no_result", f"the run {run_id!r} has not told how it ended", hint=_hint(run_id), retryable=True)


def table(here: Services, record: dict[str, Any], asked: Asked, request: Request) -> Response:
    """The answer with the rows of a run's record. Raises ApiError, QueryError, BTreeError."""
    run_id = record["run_id"]
    if not has_rows(record):
        raise _no_table(run_id, asked.step)
    return rows_of(here, record, asked, request, {"Run-Id": run_id})


def has_rows(record: Record) -> bool:
    """Whether what a record tells is a table."""
    rows = record.get("result")
    return "rows" in record or (isinstance(rows, list) and all(isinstance(row, dict) for row in rows))


def rows_of(here: Services, record: Record, asked: Asked, request: Request, more: Mapping[str, str]) -> Response:
    """The answer with the rows of a record that has some; its first piece is made. Raises ApiError, QueryError, BTreeError."""
    headers = {**more, "Vary": "Accept"}
    if "rows" not in record:
        rows = record["result"]
        headers["Row-Count"] = str(len(rows))
        pieces = _written(lambda: iter(rows), (), False, asked)
        return Response(b"".join(pieces), headers=headers, media_type=MEDIA_TYPES[asked.form])
    reference = record["rows"]["ref"]
    reference_page(here.databases, reference, after=None, limit=1)  # it may be one that somebody has made up
    headers["Row-Count"] = str(reference["count"])
    pieces = _written(lambda: _pages(here.databases, reference), *_columns(here, reference), asked)
    form: Format = asked.form if asked.form != "sse" else "ndjson"
    if "result" in reference:
        return RowsResponse(here, Written(pieces), form, request, headers)
    database = here.databases.open(reference["database"])
    pinned = Export(database, reference["version"], pieces, time.monotonic)
    return RowsResponse(here, pinned, form, request, headers)


class Written:
    """The pieces of rows that were written down, once; reading them keeps them."""

    def __init__(self, pieces: Stream) -> None:
        self._pieces = pieces
        self._first = next(pieces, b"")

    def __iter__(self) -> Iterator[bytes]:
        return chain([self._first], self._pieces)

    def close(self) -> None:
        self._pieces.close()


def _columns(here: Services, reference: Record) -> tuple[Sequence[str], bool]:
    """The columns that come first, and whether they are all."""
    if "result" in reference:
        return (), False
    named = column_names(reference["query"].get("fields"))
    if named is not None:
        return named, True
    view = here.databases.open(reference["database"]).snapshot(reference["version"])
    return query.Query(reference["store"]).first_columns(view), False


def _pages(databases: Databases, reference: Record) -> Iterator[Record]:
    """All rows of a reference. Raises InvalidQuery if they are not as many as it says."""
    place: bytes | None = None
    done = 0
    while True:
        rows, place = reference_page(databases, reference, after=place, limit=PAGE, done=done)
        yield from rows
        done += len(rows)
        if place is None:
            break
    if done != reference["count"]:
        raise query.InvalidQuery(f"this is no row reference: it says {reference['count']} rows, and there are {done}")


def _written(rows: Callable[[], Iterator[Record]], columns: Sequence[str], complete: bool, asked: Asked) -> Stream:
    """The rows; they are read twice where their columns, or their types, are not completely known."""
    if asked.form in ("json", "ndjson"):
        texts = map(orjson.dumps, rows())
        yield from json_array(texts) if asked.form == "json" else ndjson(texts, end=asked.end)
        return
    if asked.form == "arrow":
        seen = Seen(columns, as_json=asked.as_json)
        for row in rows():
            seen.add(row)
        types = seen.types()
        check_as_json(asked.as_json, types, "?as_json")
        yield from arrow_rows(rows(), types)
        return
    found = dict.fromkeys(columns)
    if not complete:
        for row in rows():
            found.update(dict.fromkeys(row))
    yield from csv_rows(rows(), list(found), guard=asked.guard, null=asked.null)


def _is_of(record: Record, step: str) -> bool:
    """Whether a record tells the end of an execution of a step: of this one, if it is a key, or of any, if it is a path."""
    if record.get("path") is None or record["type"] in _NOTES:
        return False
    iteration = ".".join(map(str, record["iteration"]))
    return step in (record["path"], f"{record['path']}#{iteration}")


def _without(end: Record, step: str | None, *, failed: bool) -> ApiError:
    """Why a run that has ended has no value to tell."""
    run_id = end["run_id"]
    if step is None:
        return ApiError("no_result", f"the run {run_id!r} ended as {end['status']}", hint=_hint(run_id))
    if failed:
        return ApiError("no_result", f"the step {step!r} was not completed", pointer="?step", hint=_hint(run_id))
    hint = "a step is a path, or path#iteration, as in the run's records"
    return ApiError("step_not_run", f"the run never came to a step {step!r}", pointer="?step", hint=hint)


def _no_table(run_id: str, step: str | None) -> ApiError:
    told = "the run's result" if step is None else f"the result of the step {step!r}"
    message = f"{told} is no table: csv and arrow take a list of objects, or rows of a query"
    return ApiError(
        "not_acceptable", message, hint=f"{_hint(run_id)}; csv and arrow also have the rows of a ?step=", status=406
    )


def _hint(run_id: str) -> str:
    return f"ndjson, sse and json have all records of the run {run_id!r}"
