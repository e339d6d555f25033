"""Blocks of bytes in a temporary file without a name: whatever ends the process ends the file too."""

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self


class Blocks:
    """The file, in `folder` or the system's folder for such files. Close it, or use it in `with`."""

    def __init__(self, folder: Path | None = None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by close()
        self.end = 0
        """Where the next block begins."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def append(self, data: bytes) -> int:
        """Write a block at the end; gives where it begins. Raises OSError where the disk is full."""
        at = self.end
        self._file.seek(at)
        rest = memoryview(data)
        self.end += len(rest)
        while rest:
            rest = rest[self._file.write(rest) :]
        return at

    def read(self, at: int, length: int) -> bytes:
        """Bytes that were written. Raises OSError."""
        self._file.seek(at)
        data = self._file.read(length)
        while len(data) < length:
            more = self._file.read(length - len(data))
            if not more:
                raise OSError("a temporary file is shorter than what was written to it")
            data += more
        return data
