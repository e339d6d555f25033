"""From a history to versions: who wrote which version of a key, which version follows it, who read it.

Lists (Kingsbury & Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations", VLDB 2020): a list that is read
tells the order of all appends before it, so the longest list read of a key is its history, and every other has to be a
prefix. A committed append that no read has seen comes behind the longest.

Registers: the versions of a key follow the engine's commit numbers where every writer has one; otherwise only what
read-modify-write transactions prove is used (they read x and wrote y: x comes before y).

A key that is absent is a version too: the initial one, or one that a delete made. Which, is decided by the version that the
reader says it read, if there are several to choose from; without that, nothing is concluded (see `_newest`).

A scan has read every key between its bounds, also the absent ones: for those that appear anywhere in the history that is
all that a predicate read is. A count is a key of its own, whose versions are made by the transactions that change the count.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from tests.btree.isolation.history import Append, Count, History, Read, Scan, Transaction, Value, Write

Version = int | str
INITIAL = "initial"
COUNT = "count()"


class Seen(NamedTuple):
    """A read of a version that the reader did not write itself."""

    reader: int
    key: str
    version: Version
    predicate: bool


class Fault(NamedTuple):
    """An anomaly that shows without any cycle."""

    name: str
    transactions: tuple[int, ...]
    text: str


class Versions:
    """The versions of all keys of a history. Transactions are numbers: places in the history."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.writer: dict[tuple[str, Version], int] = {}
        self.last: dict[tuple[int, str], Version] = {}
        self.next: dict[str, dict[Version, list[Version]]] = defaultdict(lambda: defaultdict(list))
        self.seen: list[Seen] = []
        self.faults: list[Fault] = []
        self.restored: set[tuple[str, Version]] = set()
        self._lists: set[str] = set()
        self._absent: dict[str, list[tuple[int, Version]]] = {}
        self._counts: list[tuple[int, int, Version]] | None = None
        self._index_writes()
        self._keys = sorted({key for key, _ in self.writer if key not in self._lists} | self._scanned())
        self._external = [list(self._reads_of(number)) for number in range(len(history))]
        self.effective = self._find_effective()
        self._order_lists()
        self._order_registers()
        self._order_counts()
        self._resolve()

    # --- what was written ---

    def _index_writes(self) -> None:
        for number, transaction in enumerate(self.history):
            for operation in transaction.operations:
                if isinstance(operation, (Append, Write)):
                    version = f"deleted by {transaction.id}" if operation.value is None else operation.value
                    if self.writer.setdefault((operation.key, version), number) != number:
                        raise ValueError(f"{version} was written twice to {operation.key}: values have to be unique")
                    self.last[number, operation.key] = version
                if isinstance(operation, Append) or (
                    isinstance(operation, Read) and isinstance(operation.value, tuple)
                ):
                    self._lists.add(operation.key)

    def _scanned(self) -> set[str]:
        found: set[str] = set()
        for transaction in self.history:
            for operation in transaction.operations:
                if isinstance(operation, Scan):
                    found.update(key for key, _ in operation.pairs)
        return found

    def _find_effective(self) -> set[int]:
        """Who took effect: what was acknowledged, and of the unknown what has a commit number or was read by those."""
        effective = {n for n, t in enumerate(self.history) if t.status == "ok" or (t.status == "unknown" and t.seq)}
        unknown = {n for n, t in enumerate(self.history) if t.status == "unknown"} - effective
        work = list(effective) if unknown else []
        while work:
            for key, value, _ in self._external[work.pop()]:
                for part in value if isinstance(value, tuple) else (value,):
                    writer = self.writer.get((key, part)) if part is not None else None
                    if writer in unknown and writer not in effective:
                        effective.add(writer)
                        work.append(writer)
        return effective

    # --- what was read ---

    def _reads_of(self, number: int) -> Iterator[tuple[str, Value, bool]]:
        """The reads of others' versions: key, value, whether it is a key that a scan did not find. Notes inner contradictions."""
        known: dict[str, Value] = {}
        own: dict[str, tuple[int, ...]] = defaultdict(tuple)
        registers_written = False
        for operation in self.history[number].operations:
            match operation:
                case Append(key, value):
                    own[key] += (value,)
                    if isinstance(before := known.get(key), tuple):
                        known[key] = (*before, value)
                case Write(key, value):
                    known[key] = value
                    registers_written = True
                case Read(key, value) if key in self._lists:
                    yield from self._list_read(number, key, value if isinstance(value, tuple) else (), known, own[key])
                case Read(key, value):
                    yield from self._register_read(number, key, value, known, False)
                case Scan(lower, upper, pairs):
                    found = dict(pairs)
                    for key in self._range(lower, upper):
                        yield from self._register_read(number, key, found.get(key), known, key not in found)
                case Count(count) if not registers_written:
                    yield from self._register_read(number, COUNT, count, known, True)

    def _range(self, lower: str | None, upper: str | None) -> list[str]:
        start = 0 if lower is None else bisect_left(self._keys, lower)
        return self._keys[start : len(self._keys) if upper is None else bisect_left(self._keys, upper)]

    def _register_read(
        self, number: int, key: str, value: Value, known: dict[str, Value], predicate: bool
    ) -> Iterator[tuple[str, Value, bool]]:
        if key not in known:
            known[key] = value
            yield key, value, predicate
        elif known[key] != value:
            self._internal(number, key, known[key], value)

    def _list_read(
        self, number: int, key: str, value: tuple[int, ...], known: dict[str, Value], own: tuple[int, ...]
    ) -> Iterator[tuple[str, Value, bool]]:
        others = value[: len(value) - len(own)]
        if key in known:
            if known[key] != value:
                self._internal(number, key, known[key], value)
        elif value[len(others) :] != own:
            self._internal(number, key, (..., *own), value)
        else:
            known[key] = value
            yield key, others, False

    def _internal(self, number: int, key: str, expected: object, found: object) -> None:
        text = f"{self.history[number].id} knows {key} as {expected}, and reads it as {found}"
        self.faults.append(Fault("internal", (number,), text))

    # --- in which order ---

    def _order_lists(self) -> None:
        reads: dict[str, list[tuple[int, tuple[int, ...]]]] = defaultdict(list)
        for number in sorted(self.effective):
            for key, value, _ in self._external[number]:
                if isinstance(value, tuple):
                    reads[key].append((number, value))
        unseen = self._appends()
        for key in self._lists:
            reader, longest = max(reads[key], key=lambda read: len(read[1]), default=(-1, ()))
            self._list_faults(reader, key, longest)
            for number, value in reads[key]:
                if value != longest[: len(value)]:
                    text = (
                        f"{self.history[number].id} read {key} as {list(value)}, which is no prefix of {list(longest)}"
                    )
                    self.faults.append(Fault("incompatible order", (number,), text))
                    self._list_faults(number, key, value)
            members = set(longest)
            chain: list[Version] = [INITIAL, *longest]
            for before, after in pairwise(chain):
                self.next[key][before].append(after)
            for values in unseen[key].values():
                rest: list[Version] = [chain[-1], *(value for value in values if value not in members)]
                for before, after in pairwise(rest):
                    self.next[key][before].append(after)

    def _appends(self) -> dict[str, dict[int, list[int]]]:
        """The values that took effect, by key and transaction."""
        found: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for number in sorted(self.effective):
            for operation in self.history[number].operations:
                if isinstance(operation, Append):
                    found[operation.key][number].append(operation.value)
        return found

    def _list_faults(self, number: int, key: str, value: tuple[int, ...]) -> None:
        if len(set(value)) < len(value):
            text = f"{self.history[number].id} read {key} as {list(value)}"
            self.faults.append(Fault("duplicate element", (number,), text))
        for part in value:
            self._dirty(number, key, part)

    def _dirty(self, number: int, key: str, version: Version) -> None:
        writer, reader = self.writer.get((key, version)), self.history[number].id
        if writer is None:
            self.faults.append(Fault("garbage read", (number,), f"{reader} read {key} = {version}, which nobody wrote"))
        elif writer not in self.effective:
            text = f"{reader} read {key} = {version}, which {self.history[writer].id} wrote, and that was aborted"
            self.faults.append(Fault("G1a", (writer, number), text))

    def _order_registers(self) -> None:
        writers: dict[str, list[int]] = defaultdict(list)
        for number, key in self.last:
            if number in self.effective and key not in self._lists:
                writers[key].append(number)
        for key, numbers in writers.items():
            seqs = [(self.history[number].seq or 0, self.last[number, key]) for number in numbers]
            if len({seq for seq, _ in seqs} - {0}) == len(numbers):
                chain: list[tuple[int, Version]] = [(0, INITIAL), *sorted(seqs)]
                self._absent[key] = [(s, v) for s, v in chain if isinstance(v, str)]
                for before, after in pairwise(chain):
                    self.next[key][before[1]].append(after[1])
                    if self._is_restored(key, chain, before, after[1]):
                        self.restored.add((key, after[1]))
            else:
                self._order_by_updates(key, numbers)

    def _is_restored(
        self, key: str, chain: list[tuple[int, Version]], before: tuple[int, Version], after: Version
    ) -> bool:
        """Whether the writer of a version began when the key was absent, and it is so again, but was not all the time.

        By the letter of first-committer-wins that is a conflict; for an engine that compares values it is none, and nobody sees it.
        """
        base = self.history[self.writer[key, after]].base
        if not isinstance(before[1], str) or base is None or base >= before[0]:
            return False
        return isinstance(max(pair for pair in chain if pair[0] <= base)[1], str)

    def _order_by_updates(self, key: str, numbers: list[int]) -> None:
        """Without commit numbers: x comes before y where a transaction read x and wrote y."""
        deletes = [v for n in numbers if isinstance(v := self.last[n, key], str)]
        self._absent[key] = [(0, INITIAL), *((-1, version) for version in deletes)]
        for number in numbers:
            read = next((value for k, value, _ in self._external[number] if k == key), None)
            if isinstance(read, int):
                self.next[key][read].append(self.last[number, key])
            elif not deletes:
                self.next[key][INITIAL].append(self.last[number, key])

    def _order_counts(self) -> None:
        """The count is replayed from the writes in the order of the commits, if all have a number."""
        present: set[str] = set()
        counts: list[tuple[int, int, Version]] = [(0, 0, INITIAL)]
        writers = [n for n in {n for n, key in self.last if key not in self._lists} if n in self.effective]
        if any(self.history[number].seq is None for number in writers):
            return
        for number in sorted(writers, key=lambda n: self.history[n].seq or 0):
            for operation in self.history[number].operations:
                if isinstance(operation, Write):
                    (present.discard if operation.value is None else present.add)(operation.key)
            if len(present) != counts[-1][1]:
                version = f"{len(present)} by {self.history[number].id}"
                self.writer[COUNT, version] = self._mark_last(number, version)
                self.next[COUNT][counts[-1][2]].append(version)
                counts.append((self.history[number].seq or 0, len(present), version))
        self._counts = counts

    def _mark_last(self, number: int, version: Version) -> int:
        self.last[number, COUNT] = version
        return number

    # --- which version a read saw ---

    def _resolve(self) -> None:
        for number in sorted(self.effective):
            reader = self.history[number]
            for key, value, predicate in self._external[number]:
                version = self._version(number, reader, key, value)
                if version is not None:
                    self.seen.append(Seen(number, key, version, predicate))

    def _version(self, number: int, reader: Transaction, key: str, value: Value) -> Version | None:
        if isinstance(value, tuple):
            return self._checked(number, key, value[-1]) if value else INITIAL
        if key == COUNT:
            if self._counts is None:
                return None
            fitting = [(seq, version) for seq, count, version in self._counts if count == value]
            if not fitting:
                text = f"{reader.id} counted {value} registers; there never were so many"
                self.faults.append(Fault("inconsistent count", (number,), text))
            return _newest(fitting, reader)
        if value is None:
            return _newest(self._absent.get(key, [(0, INITIAL)]), reader)
        self._dirty(number, key, value)
        return self._checked(number, key, value)

    def _checked(self, number: int, key: str, version: Version) -> Version | None:
        """The version that was read, if it is one that may be read."""
        writer = self.writer.get((key, version))
        if writer in self.effective and self.last[writer, key] != version:
            text = f"{self.history[number].id} read {key} = {version}, and {self.history[writer].id} wrote {key} again later"
            self.faults.append(Fault("G1b", (writer, number), text))
        return version if writer in self.effective else None


def _newest(candidates: list[tuple[int, Version]], reader: Transaction) -> Version | None:
    """The only candidate, or the newest up to the version that was read; None if that cannot be told.

    Neither can it where the key was another meanwhile and is the same again just before the reader's commit: an engine that
    compares values may merge that, and the outcome is serialisable.
    """
    if len(candidates) == 1:
        return candidates[0][1]
    if reader.base is None or any(seq < 0 for seq, _ in candidates):
        return None
    found = max((pair for pair in candidates if pair[0] <= reader.base), default=None)
    latest = found if reader.seq is None else max((pair for pair in candidates if pair[0] < reader.seq), default=None)
    return found[1] if found is not None and found == latest else None
