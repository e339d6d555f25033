"""A history: what transactions did, what they saw, and when.

Each transaction has the times just before its begin and just behind its end. On Linux `time.monotonic_ns` is one clock for all
processes, so the histories of several processes can be put together. Written as JSON lines, one transaction a line.

Status: `ok` was acknowledged; `aborted` is known to have done nothing; `unknown` may have happened.
`base` and `seq` are what the engine says of itself: the version that was read, and the version that the commit became (only
where it wrote something). They order the versions of registers; nothing that was read is ever taken from them.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

Value = int | tuple[int, ...] | None


class Append(msgspec.Struct, tag="append", array_like=True, frozen=True):
    """Add a value, unique for the key, to the end of a list."""

    key: str
    value: int

    def __str__(self) -> str:
        return f"append {self.key} {self.value}"


class Write(msgspec.Struct, tag="write", array_like=True, frozen=True):
    """Write a value, unique for the key, to a register. None: delete a key that is there."""

    key: str
    value: int | None

    def __str__(self) -> str:
        return f"delete {self.key}" if self.value is None else f"write {self.key} {self.value}"


class Read(msgspec.Struct, tag="read", array_like=True, frozen=True):
    """What a list (a tuple) or a register (a number, None if it is absent) was seen to be."""

    key: str
    value: Value

    def __str__(self) -> str:
        shown = list(self.value) if isinstance(self.value, tuple) else self.value
        return f"read {self.key} -> {shown}"


class Scan(msgspec.Struct, tag="scan", array_like=True, frozen=True):
    """All registers with lower <= key < upper; None is no bound. A cursor that stops early has read up to where it stood."""

    lower: str | None
    upper: str | None
    pairs: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        return f"scan {self.lower}..{self.upper} -> {dict(self.pairs)}"


class Count(msgspec.Struct, tag="count", array_like=True, frozen=True):
    """How many registers there are. Judged only where the transaction wrote no register before."""

    count: int

    def __str__(self) -> str:
        return f"count -> {self.count}"


Operation = Append | Write | Read | Scan | Count


class Transaction(msgspec.Struct, frozen=True):
    """One attempt; another attempt after a conflict is another transaction."""

    id: str
    process: str
    start: int
    end: int
    status: Literal["ok", "aborted", "unknown"]
    operations: tuple[Operation, ...]
    base: int | None = None
    seq: int | None = None

    @property
    def writes(self) -> bool:
        return any(isinstance(operation, (Append, Write)) for operation in self.operations)

    def __str__(self) -> str:
        return f"{self.id} [{self.status}]: " + "; ".join(map(str, self.operations))


History = list[Transaction]


def dump(history: Iterable[Transaction], path: Path) -> None:
    """Write a history as JSON lines."""
    encode = msgspec.json.Encoder().encode
    path.write_bytes(b"".join(encode(transaction) + b"\n" for transaction in history))


def load(path: Path) -> History:
    """Read a history back."""
    decode = msgspec.json.Decoder(Transaction).decode
    return [decode(line) for line in path.read_bytes().splitlines()]
