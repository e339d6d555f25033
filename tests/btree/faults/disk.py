"""A disk that can lose power, fail or fill up.

The real files are what the operating system would show: every write is there at once. Beside them the disk keeps what would be
found after a power loss:

    names            the directory as programs see it           path -> Inode
    durable_names    the directory as it is on the platter      path -> Inode
    Inode.durable    the bytes that an xSync has made safe
    Inode.pending    writes and truncates since then, in order

At a power loss each pending change of a file survives or not, by the seed, and a write that survives may be torn at sectors
of 512 bytes; a file whose creation or deletion was never synced is there or not. Then every operation fails.

A `Fault` is a failure without a power loss: the n-th operation (counted among the kinds that it concerns) raises, once or
from then on, and nothing of it is done.
"""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import apsw

SECTOR: Final = 512

Operation = Literal["open", "read", "write", "truncate", "sync", "delete", "size"]

EXTENDED: Final[dict[Operation, int]] = {
    "read": apsw.SQLITE_IOERR_READ,
    "write": apsw.SQLITE_IOERR_WRITE,
    "truncate": apsw.SQLITE_IOERR_TRUNCATE,
    "sync": apsw.SQLITE_IOERR_FSYNC,
    "delete": apsw.SQLITE_IOERR_DELETE,
    "size": apsw.SQLITE_IOERR_FSTAT,
}


@dataclass
class Write:
    """Bytes at an offset."""

    offset: int
    data: bytes

    def apply(self, image: bytearray) -> None:
        if len(image) < self.offset:
            image.extend(bytes(self.offset - len(image)))
        image[self.offset : self.offset + len(self.data)] = self.data

    def torn(self, rng: random.Random) -> "list[Write]":
        """Some of its sectors."""
        pieces = []
        start = self.offset
        while start < self.offset + len(self.data):
            stop = min((start // SECTOR + 1) * SECTOR, self.offset + len(self.data))
            if rng.random() < 0.5:
                pieces.append(Write(start, self.data[start - self.offset : stop - self.offset]))
            start = stop
        return pieces


@dataclass
class Truncate:
    """A new length."""

    size: int

    def apply(self, image: bytearray) -> None:
        if self.size < len(image):
            del image[self.size :]
        else:
            image.extend(bytes(self.size - len(image)))


@dataclass
class Inode:
    """A file, whatever it is called."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Write | Truncate] = field(default_factory=list)

    def sync(self) -> None:
        for change in self.pending:
            change.apply(self.durable)
        self.pending.clear()

    def after_power_loss(self, rng: random.Random) -> bytes:
        """The bytes that would be found: a few of the pending changes, most of them, none or all."""
        image = bytearray(self.durable)
        chance, tearing = rng.choice((0.0, 0.4, 0.8, 1.0)), rng.choice((0.0, 0.5))
        for change in self.pending:
            if rng.random() >= chance:
                continue
            torn = isinstance(change, Write) and rng.random() < tearing
            for piece in change.torn(rng) if isinstance(change, Write) and torn else [change]:
                piece.apply(image)
        return bytes(image)


@dataclass
class Fault:
    """The `at`-th operation (from 1) of these kinds raises; all the later ones too when it is persistent."""

    at: int
    error: Literal["io", "full"] = "io"
    persistent: bool = False
    seen: int = 0
    fired: int = 0

    def concerns(self, operation: Operation) -> bool:
        return self.error == "io" or operation == "write"

    def strikes(self, operation: Operation) -> bool:
        if not self.concerns(operation):
            return False
        self.seen += 1
        strikes = self.seen >= self.at if self.persistent else self.seen == self.at
        self.fired += strikes
        return strikes


class Disk:
    """Counts operations, holds what is not synced, and fails as it was told to."""

    def __init__(self, *, crash_at: int | None = None, seed: int = 0, fault: Fault | None = None) -> None:
        self.fault = fault
        self.changes = 0
        self.crashed = False
        self.survivors: dict[str, bytes] = {}
        self._crash_at = crash_at
        self._rng = random.Random(seed)
        self._names: dict[str, Inode] = {}
        self._durable_names: dict[str, Inode] = {}
        if crash_at == 0:
            self.lose_power()

    # --- what the VFS reports ---

    def before(self, operation: Operation) -> None:
        """Raises what this operation is to fail with."""
        if self.crashed:
            raise _failure(operation, "io")
        if self.fault is not None and self.fault.strikes(operation):
            raise _failure(operation, self.fault.error)

    def opened(self, path: str) -> Inode:
        return self._names.setdefault(path, Inode())

    def deleted(self, path: str, *, synced: bool) -> None:
        self._names.pop(path, None)
        if synced:
            self._durable_names = dict(self._names)
        self._changed()

    def changed(self, inode: Inode, change: Write | Truncate) -> None:
        inode.pending.append(change)
        self._changed()

    def synced(self, inode: Inode, *, directory: bool) -> None:
        """A file, and the directory too when SQLite asks for that (for a new journal or WAL)."""
        inode.sync()
        if directory:
            self._durable_names = dict(self._names)
        self._changed()

    # --- the end ---

    def heal(self) -> None:
        """The fault is gone: a new cable, more room."""
        self.fault = None

    def lose_power(self) -> None:
        """Decide what is left, and fail from here on."""
        self.crashed = True
        for path in sorted(self._names.keys() | self._durable_names.keys()):
            now, durable = self._names.get(path), self._durable_names.get(path)
            found = now if now is durable else self._rng.choice((now, durable))
            if found is not None:
                self.survivors[path] = found.after_power_loss(self._rng)

    def write_survivors(self, folder: Path) -> None:
        """Make the folder hold what was left, and nothing else."""
        for path in folder.iterdir():
            path.unlink()
        for name, image in self.survivors.items():
            Path(name).write_bytes(image)

    def _changed(self) -> None:
        self.changes += 1
        if self.changes == self._crash_at:
            self.lose_power()


def _failure(operation: Operation, error: Literal["io", "full"]) -> apsw.Error:
    if error == "full":
        return apsw.FullError("injected: no space left on device")
    if operation == "open":
        return apsw.CantOpenError("injected: cannot open")
    failure = apsw.IOError(f"injected: {operation} failed")
    failure.extendedresult = EXTENDED[operation]  # type: ignore[attr-defined]
    return failure
