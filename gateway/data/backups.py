"""Backups over HTTP: a database as one file, down and up.

Down: the engine makes a checked copy of one moment aside; it is opened and its name removed, and then sent. So its room is
given back by the operating system however the sending ends: done, cut, or with the process.

Up: the body is written to a file as it arrives, never held in memory; then the engine checks it, and makes a new database of it.

`Repr-Digest: sha-256=:<base64>:` (RFC 9530) goes with both. Down it is always there; up it is checked if it is there.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

from anyio import to_thread
from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from btree import Corrupted, Version, WrongFormat
from gateway.access import credential_of
from gateway.data.databases import check_no_system, check_not_ours, open_for_upkeep
from gateway.digests import digest_of, digest_text
from gateway.problems import ApiError
from gateway.services import Here, Services
from gateway.times import iso
from query import DatabaseExists, check_name
from query.files import storage_errors

router = APIRouter(prefix="/v1/databases/{database}", tags=["backups"])
_log = logging.getLogger("gateway")

MEDIA_TYPE: Final = "application/vnd.sqlite3"
MAX_BACKUP_BYTES: Final = 1 << 50
_BLOCK: Final = 1 << 20
_FILE: Final[dict[str, Any]] = {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}


class FileResponse(StreamingResponse):
    """Sends an open file in blocks, and closes it in any case.

    When the key ends, or the gateway stops, the body stays short of its `Content-Length`, and the connection is closed.
    """

    def __init__(self, here: Services, file: BinaryIO, request: Request, headers: dict[str, str]) -> None:
        self._here = here
        self._file = file
        self._request = request
        super().__init__((), headers=headers, media_type=MEDIA_TYPE)

    async def stream_response(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        with self._here.validity.held(credential_of(self._request)) as ended:
            while block := await to_thread.run_sync(self._file.read, _BLOCK):
                if ended.is_set() or self._here.stopping.is_set():
                    _log.error(
                        "%s ended too early: the key is valid no more, or the gateway stops", self._request.url.path
                    )
                    return
                await send({"type": "http.response.body", "body": block, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)


@router.get("/backup", response_class=Response, responses={200: {"description": "the file", **_FILE}})
def back_up(here: Here, database: str, request: Request) -> FileResponse:
    """A copy of the database as it is at this moment, checked, as one file. Others go on writing meanwhile."""
    opened = open_for_upkeep(here, database)
    with _transfer(here) as folder:
        copy = folder / f"{database}.db"
        version = opened.back_up(copy)
        file = copy.open("rb")
    headers = {
        "Content-Length": str(os.fstat(file.fileno()).st_size),
        "Content-Disposition": f'attachment; filename="{database}-{version.seq}.db"',
        "Database-Version": str(version.seq),
        "Repr-Digest": digest_of(file),
    }
    return FileResponse(here, file, request, headers)


@router.put("/backup", status_code=201, openapi_extra={"requestBody": {"required": True, **_FILE}},
            max_body_size=MAX_BACKUP_BYTES)  # fmt: skip
async def restore_backup(
    here: Here,
    database: str,
    request: Request,
    response: Response,
    repr_digest: Annotated[str | None, Header(description="sha-256=:<base64>: of the file; it is checked")] = None,
) -> dict[str, Any]:
    """Make a new database of a backup's file. What is there already is never replaced; open transactions are not taken over."""
    check_name(database, "database")
    check_not_ours(database)
    if database in here.databases.names():
        raise _exists(database)
    with _transfer(here) as folder:
        upload = folder / "upload"
        digest = await _received(request, upload)
        told = [part.strip() for part in (repr_digest or "").split(",") if part.strip().startswith("sha-256=")]
        if told and told != [digest]:
            raise ApiError("digest_mismatch", "the file did not arrive as it was sent", hint="send it again")
        version = await to_thread.run_sync(_restored, here, database, upload)
    response.headers["Location"] = f"/v1/databases/{database}"
    return {"name": database, "version": version.seq, "committed_at": iso(version.committed_at)}


async def _received(request: Request, path: Path) -> str:
    """Write the body to a file as it arrives; its digest. Raises ApiError if it ends too early."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        try:
            async for piece in request.stream():
                digest.update(piece)
                await to_thread.run_sync(file.write, piece)
        except ClientDisconnect:
            raise ApiError("incomplete_body", "the body ended too early", hint="send it again") from None
    return digest_text(digest.digest())


def _restored(here: Services, name: str, upload: Path) -> Version:
    try:
        return here.databases.restore(name, upload, accept=check_no_system)
    except DatabaseExists:
        raise _exists(name) from None
    except (Corrupted, WrongFormat) as error:
        message = f"the file is no backup that is in order: {error.message}"
        raise ApiError("invalid_backup", message, hint=error.hint) from error


def _exists(name: str) -> ApiError:
    return ApiError("database_exists", f"there is a database {name!r} already", hint="restore it under another name")


@contextmanager
def _transfer(here: Services) -> Iterator[Path]:
    """A folder beside the databases for one copy, removed at the end. Raises DiskFull, StorageError."""
    with storage_errors("the copy could not be written"), here.databases.aside() as folder:
        yield folder
