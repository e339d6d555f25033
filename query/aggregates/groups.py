"""Groups: from a row to its group's states, in memory and, where there are too many, on disk.

A group's key is the tuple of its values, boxed. The table is a dict from keys to states. When its groups take more than the
budget, all of them are written to a run of a `Spill` and forgotten; in the end the runs are merged, and the parts
of each group are put together. What is written for a group, in this order:

    (encoded key, 0)                    the length of the key, then JSON: [values of the key, dumps of the states]
    (encoded key, place, value)         the length of the key, then the JSON of one value of a distinct reducer, the first place being 1

The key's encoding and the value's sort as values do, so equal distinct values meet in the merge, one behind the other: counting them takes
no memory, and a list of them only what it needs for itself. The first of equal values (1 or 1.0) is the one that is shown.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from sys import getsizeof
from typing import Any, Final

import msgspec

from query.aggregates.reducers import Distinct, Meter, Reducer, States, Step
from query.sorting.spill import Row, Spill
from query.values.boxes import box, encode_member, unbox
from query.values.paths import Reader

Key = tuple[Any, ...]
Group = tuple[list[Any], list[Any]]

_GROUP: Final = 300
_PLACE: Final = 4
_LENGTH: Final = 8
_PLAIN: Final = frozenset({str, int, float, type(None)})
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode


def compile_key(readers: Sequence[Reader], names: Sequence[str] | None) -> Callable[[Mapping[str, Any]], Key]:
    """A function from a row to its group's key. `names` are the fields, if all are of the row itself."""
    if not readers:
        return lambda row: ()
    if len(readers) == 1:
        (read,) = readers
        return lambda row: (box(read(row)),)
    get = itemgetter(*names) if names is not None else None

    def key(row: Mapping[str, Any]) -> Key:
        try:
            values: Key = get(row) if get is not None else tuple([read(row) for read in readers])
        except KeyError:
            values = tuple([read(row) for read in readers])
        return values if _PLAIN.issuperset(map(type, values)) else tuple(map(box, values))

    return key


class Table:
    """The groups so far."""

    def __init__(self, reducers: Sequence[Reducer], budget_bytes: int, folder: Path | None) -> None:
        self._reducers = reducers
        self._distinct = {place: part for place, part in enumerate(reducers, 1) if isinstance(part, Distinct)}
        self._budget = budget_bytes
        self._folder = folder
        self._groups: dict[Key, States] = {}
        self._spill: Spill | None = None
        self._state_bytes = _GROUP + sum(reducer.state_bytes for reducer in reducers)
        self.meter = Meter()

    def fill(self, rows: Iterable[Mapping[str, Any]], key_of: Callable[[Any], Key], steps: Sequence[Step]) -> None:
        """Count all rows in. Raises QueryError for values that cannot be reduced or grouped by."""
        groups, meter, budget = self._groups, self.meter, self._budget
        for row in rows:
            key = key_of(row)
            states = groups.get(key)
            if states is None:
                states = self.add(key)
            for step in steps:
                step(states, row)
            if meter.used > budget:
                self._write()

    def add(self, key: Key) -> States:
        """A new group."""
        states = self._groups[key] = [reducer.new() for reducer in self._reducers]
        self.meter.used += self._state_bytes + 2 * sum(map(getsizeof, key))
        return states

    def close(self) -> None:
        """Give memory and disk back."""
        self._groups.clear()
        if self._spill is not None:
            self._spill.close()

    def results(self) -> Iterator[Group]:
        """Each group's key values and results, in order of the keys."""
        if self._spill is None:
            return self._in_memory()
        self._write()
        return self._merged(self._spill.merged())

    def _in_memory(self) -> Iterator[Group]:
        for _, key in self._ordered():
            yield (
                list(map(unbox, key)),
                [reducer.result(state) for reducer, state in zip(self._reducers, self._groups[key], strict=True)],
            )

    def _ordered(self) -> list[tuple[bytes, Key]]:
        return sorted([(b"".join(map(encode_member, key)), key) for key in self._groups], key=itemgetter(0))

    def _write(self) -> None:
        if self._spill is None:
            self._spill = Spill(self._budget, self._folder)
        self._spill.write(self._rows())
        self._groups.clear()
        self.meter.used = 0

    def _rows(self) -> Iterator[Row]:
        for encoded, key in self._ordered():
            states = self._groups[key]
            head = len(encoded).to_bytes(_LENGTH, "big")
            dumps = [reducer.dump(state) for reducer, state in zip(self._reducers, states, strict=True)]
            yield encoded + bytes(_PLACE), head + _encode([list(map(unbox, key)), dumps])
            for place, reducer in self._distinct.items():
                start = encoded + place.to_bytes(_PLACE, "big")
                for member, value in reducer.members(states[place - 1]):
                    yield start + member, head + _encode(value)

    def _merged(self, rows: Iterator[Row]) -> Iterator[Group]:
        for _, parts in groupby(rows, key=_group_of):
            yield self._put_together(parts)

    def _put_together(self, rows: Iterator[Row]) -> Group:
        """One group: first the parts' states, then the members of each distinct reducer."""
        values: list[Any] = []
        states = [reducer.new() for reducer in self._reducers]
        results: dict[int, Any] = {}
        for place, parts in groupby(rows, key=_place_of):
            if place == 0:
                for _, payload in parts:
                    part_values, dumps = _decode(payload[_LENGTH:])
                    values = values or part_values
                    states = [
                        r.merge(state, dump) for r, state, dump in zip(self._reducers, states, dumps, strict=True)
                    ]
            else:
                members = (next(same)[1] for _, same in groupby(parts, key=itemgetter(0)))
                results[place] = self._distinct[place].finish(_decode(payload[_LENGTH:]) for payload in members)
        return values, [
            results[place] if place in results else reducer.result(state)
            for place, (reducer, state) in enumerate(zip(self._reducers, states, strict=True), 1)
        ]


def _group_of(row: Row) -> bytes:
    """The group's encoded key, which the row's key begins with."""
    return row[0][: int.from_bytes(row[1][:_LENGTH], "big")]


def _place_of(row: Row) -> int:
    start = int.from_bytes(row[1][:_LENGTH], "big")
    return int.from_bytes(row[0][start : start + _PLACE], "big")
