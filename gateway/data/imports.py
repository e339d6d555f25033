"""Rows in: a body of any size, read as it arrives (`bodies`), gzip or plain: NDJSON, a JSON array, or CSV.

The importer is synchronous and pulls, so it runs in a thread. Each chunk is a transaction (`query.imports`). If the client vanishes, what
was committed stays, and importing the file again replaces the same records.

The answer is one report, with the first thousand rejected lines; or, for `Accept: application/x-ndjson`, a stream:

    {"progress": {imported, rejected_count}}      while the body arrives, the newest only: a client that reads nothing yet misses some
    {"reject": {line, code, message, text}}       every rejected line, when the body was read
    {"report": {...}} or {"error": {...}}         the last line

Rejects wait in a file without a name until the body was read: most clients read nothing before they have sent everything, and both sides
would wait for each other for ever.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from tempfile import TemporaryFile
from typing import IO, Annotated, Any, Final

import orjson
from anyio import Event, create_task_group, from_thread, to_thread
from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

import query
from gateway.access import changes_nothing
from gateway.data.bodies import lines, pulled, text_lines, unpacked
from gateway.data.databases import writable_database
from gateway.problems import ApiError, problem, translate
from gateway.services import Here
from query.transfer.imports import ImportOptions, ImportReport, Mode, Reject
from query.transfer.readers import Empty

router = APIRouter(prefix="/v1/databases/{database}/stores/{store}", tags=["rows"])

MAX_IMPORT_BYTES: Final = 1 << 50
_NDJSON: Final = ("application/x-ndjson", "application/ndjson", "application/jsonl")
_KINDS: Final = (*_NDJSON, "application/json", "text/csv")
_BLOCK: Final = 64 * 1024
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string"}} for kind in ("application/x-ndjson", "application/json", "text/csv")
        },
    }
}

Import = Callable[[ImportOptions], ImportReport]


class ImportParameters(BaseModel):
    """How a body is imported."""

    model_config = ConfigDict(extra="forbid")

    mode: Mode = Field("upsert", description="insert rejects records whose key is there already")
    max_rejects: int | None = Field(None, ge=0, description="stop at the first rejected line that is one too many")
    types: str | None = Field(
        None, description="CSV: field=type,... with string, string?, integer, number, boolean, date, json"
    )
    unguard: bool = Field(False, description="CSV: take the apostrophes of the formula guard away")
    null: str = Field("", description="CSV: the text that stands for null, besides the empty one, as NA")
    empty: Empty = Field("null", description="CSV: what an empty cell of a typed column is: null, or a missing field")
    dry_run: bool = Field(False, description="store nothing: the report tells what would be")


@router.post("/rows:import", openapi_extra=_BODY, max_body_size=MAX_IMPORT_BYTES, response_model=dict[str, Any])
async def import_rows(
    here: Here,
    database: str,
    store: str,
    request: Request,
    given: Annotated[ImportParameters, Query()],
    accept: Annotated[str, Header()] = "*/*",
) -> Response:
    """Import records; those with the same key are replaced. The report has every line that was rejected, with its reason."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _KINDS:
        raise ApiError("unsupported_media_type", "an import is application/x-ndjson, application/json or text/csv")
    columns = column_types(given.types)
    csv_only = {"types": columns, "unguard": given.unguard, "null": given.null, "empty": given.empty != "null"}
    for name, told in csv_only.items():
        if told and kind != "text/csv":
            raise ApiError("invalid_field", f"{name} is for CSV: JSON has its own types", pointer=f"?{name}")
    opened = writable_database(here, database, store)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    pieces = unpacked(pulled(request.stream()), encoding)

    def work(options: ImportOptions) -> ImportReport:
        if kind == "text/csv":
            text = text_lines(pieces)
            read = partial(query.import_csv, types=columns, unguard=given.unguard, null=given.null, empty=given.empty)
            return read(opened, store, text, options)
        if kind == "application/json":
            return query.import_json(opened, store, pieces, options)
        return query.import_ndjson(opened, store, lines(pieces), options)

    unit = "element" if kind == "application/json" else "line"
    if given.dry_run:
        changes_nothing(request)
    options = ImportOptions(mode=given.mode, max_rejects=given.max_rejects, dry_run=given.dry_run)
    if any(part.partition(";")[0].strip().lower() in _NDJSON for part in accept.split(",")):
        return ImportStream(work, options, unit, here.data_dir, request)
    report = await to_thread.run_sync(_reported, work, options, unit)
    return Response(orjson.dumps(report), media_type="application/json")


def _reported(work: Import, options: ImportOptions, unit: str) -> dict[str, Any]:
    """Do it; the report as JSON. Raises ApiError, which tells what was stored before, and which line or element (`unit`) was reached."""
    began, report = time.monotonic(), ImportReport()
    try:
        work(replace(options, report=report))
    except Exception as error:
        if not report.reached and not isinstance(error, ApiError):
            raise  # what is wrong is the question, not the body
        refusal = translate(error)
        reached = f"{unit} {report.reached} was the last that was read" if report.reached else f"no {unit} was read"
        kept = report.imported if not options.dry_run else 0
        stays = "what was stored stays; importing the file again replaces it" if kept else None
        raise ApiError(
            refusal.code,
            f"{refusal.message}; {kept} records were stored before, and {reached}",
            hint=refusal.hint or stays,
            errors=refusal.errors,
            retryable=refusal.retryable,
            status=refusal.status,
        ) from error
    told = {**asdict(report), "seconds": round(time.monotonic() - began, 3)}
    return {"dry_run": True, **told} if options.dry_run else told


def column_types(text: str | None) -> dict[str, str]:
    """`a=integer,b=date` as a mapping. Raises ApiError."""
    found: dict[str, str] = {}
    for part in (text or "").split(","):
        name, equals, kind = part.strip().partition("=")
        if part.strip() and not (equals and name and kind):
            raise ApiError("invalid_field", f"{part!r} is not field=type", pointer="?types")
        if name:
            found[name] = kind
    return found


class ImportStream(Response):
    """Runs an import while its body arrives, and tells how it goes. What fails before the first chunk is a problem."""

    def __init__(self, work: Import, options: ImportOptions, unit: str, directory: Any, request: Request) -> None:
        super().__init__(media_type=_NDJSON[0])
        del self.headers["content-length"]
        self._work = work
        self._options = options
        self._unit = unit
        self._directory = directory
        self._request = request
        self._news = Event()
        self._progress: dict[str, int] | None = None
        self._report: dict[str, Any] = {}
        self._error: Exception | None = None
        self._done = False
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with TemporaryFile(dir=self._directory) as rejects:
            async with create_task_group() as tasks:
                tasks.start_soon(self._run, rejects)
                while not self._done:
                    await self._news.wait()
                    self._news = Event()
                    if self._progress is not None and not self._done:
                        await self._line(send, {"progress": self._progress})
            if self._error is not None and self._progress is None:
                raise self._error
            rejects.seek(0)
            while block := await to_thread.run_sync(rejects.read, _BLOCK):
                await self._send(send, block)
            await self._line(send, self._ending())
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _run(self, rejects: IO[bytes]) -> None:
        def told(reject: Reject) -> None:
            rejects.write(orjson.dumps({"reject": asdict(reject)}) + b"\n")

        def progress(report: ImportReport) -> None:
            from_thread.run_sync(self._tell, {"imported": report.imported, "rejected_count": report.rejected_count})

        try:
            options = replace(self._options, rejects=told, progress=progress)
            self._report = await to_thread.run_sync(_reported, self._work, options, self._unit)
        except Exception as error:
            self._error = error
        self._done = True
        self._news.set()

    def _ending(self) -> dict[str, Any]:
        if self._error is None:
            return {"report": self._report}
        request_id = self._request.state.request_id
        return {"error": problem(translate(self._error), instance=self._request.url.path, request_id=request_id)}

    def _tell(self, progress: dict[str, int]) -> None:
        self._progress = progress
        self._news.set()

    async def _line(self, send: Send, record: dict[str, Any]) -> None:
        await self._send(send, orjson.dumps(record) + b"\n")

    async def _send(self, send: Send, data: bytes) -> None:
        if not self._started:
            self._started = True
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": data, "more_body": True})
