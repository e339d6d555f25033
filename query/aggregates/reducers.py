"""Reducers: what `aggregate` computes over the rows of a group.

    count                    how many rows; with `value`, how many have one that is not null
    sum avg                  of numbers; null is left out, anything else is an error
    min max                  in the order of all values (`values`); null is left out
    distinct count_distinct  the different values, in order, or how many; null is left out; 1 and 1.0 are one, true is not 1

A reducer works on *states*, a list with one state for each reducer of the query, of which it owns one. `step` counts a row in;
`dump` and `merge` write a state as JSON and count another part's dump in; `result` gives the value. All results are exact whatever
way the rows are divided into parts: sums are kept as a whole number and a few floats whose exact sum is the sum (see
`Total`), and rounded once, at the end.

The sum of whole numbers is a whole number, exact; with a float among them it is the float nearest to the exact sum. An average is
always a float. Of nothing, count is 0, sum 0, avg, min and max null, distinct []. A whole sum outside -2**63 .. 2**64 - 1, or a sum
beyond the largest float, is an error.
"""

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from math import fsum, isfinite
from operator import itemgetter
from sys import getsizeof
from typing import Any, Final, Protocol

from query.errors import InvalidQuery
from query.values.boxes import box, encode_member, encode_value, is_less, unbox, weight
from query.values.paths import Reader

States = list[Any]
Step = Callable[[States, Mapping[str, Any]], None]

_FLOATS: Final = 16
_PARTS: Final = 120 + 32 * _FLOATS
_WHOLE: Final = 2.0**53
_MEMBER: Final = 250


class Meter:
    """How many bytes all states take, about."""

    __slots__ = ("used",)

    def __init__(self) -> None:
        self.used = 0


class Reducer(Protocol):
    """One value of the query. `state_bytes` is what a new state takes, about; growth beyond that goes to the meter."""

    state_bytes: int

    def new(self) -> Any: ...
    def step(self, place: int, meter: Meter) -> Step: ...
    def dump(self, state: Any) -> Any: ...
    def merge(self, state: Any, dumped: Any) -> Any: ...
    def result(self, state: Any) -> Any: ...


class Total:
    """An exact sum: `whole` plus the exact sum of `parts`, which is null until a float comes.

    Floats are collected in `parts`, and now and then condensed: the correctly rounded sum (fsum), the correctly rounded rest, and so
    on until nothing is left, which is one or two numbers, seldom more. Floats from 2**53 on are whole numbers and can go to
    `whole`, which they do where their sum would be too large for a float.
    """

    __slots__ = ("count", "parts", "whole")

    def __init__(self) -> None:
        self.count = 0
        self.whole = 0
        self.parts: list[float] | None = None

    def condense(self) -> None:
        """Shorten `parts` without changing the sum. Raises OverflowError for what is not finite."""
        if not self.parts:
            return
        try:
            self.parts = _condensed(self.parts)
        except (OverflowError, ValueError):
            self.whole += sum(int(part) for part in self.parts if abs(part) >= _WHOLE)
            self.parts = _condensed([part for part in self.parts if not abs(part) >= _WHOLE])

    def exact(self) -> Fraction:
        """The sum. Raises OverflowError."""
        self.condense()
        return sum(map(Fraction, self.parts or ()), Fraction(self.whole))


def _condensed(parts: list[float]) -> list[float]:
    rest, found = parts[:], []
    while part := fsum(rest):
        if not isfinite(part):
            raise ValueError(part)
        found.append(part)
        rest.append(-part)
    return found


class Count:
    """count; with `read`, of values that are not null."""

    state_bytes = 32

    def __init__(self, read: Reader | None) -> None:
        self._read = read

    def new(self) -> int:
        return 0

    def step(self, place: int, meter: Meter) -> Step:
        read = self._read

        def count(states: States, row: Mapping[str, Any]) -> None:
            states[place] += 1

        def count_values(states: States, row: Mapping[str, Any]) -> None:
            if read(row) is not None:  # type: ignore[misc]
                states[place] += 1

        return count if read is None else count_values

    def dump(self, state: int) -> int:
        return state

    def merge(self, state: int, dumped: int) -> int:
        return state + dumped

    def result(self, state: int) -> int:
        return state


class Sum:
    """sum."""

    state_bytes = 120

    def __init__(self, read: Reader, name: str, field: str, pointer: str) -> None:
        self._read = read
        self._name = name
        self._field = field
        self._pointer = pointer

    def new(self) -> Total:
        return Total()

    def step(self, place: int, meter: Meter) -> Step:
        read, refuse = self._read, self._refuse

        def add(states: States, row: Mapping[str, Any]) -> None:
            value = read(row)
            kind = value.__class__
            if kind is int:
                total = states[place]
                total.whole += value
                total.count += 1
            elif kind is float:
                total = states[place]
                total.count += 1
                parts = total.parts
                if parts is None:
                    total.parts = [value]
                    meter.used += _PARTS
                else:
                    parts.append(value)
                    if len(parts) >= _FLOATS:
                        self._guarded(total.condense)
            elif value is not None:
                raise refuse(value)

        return add

    def _refuse(self, value: Any) -> InvalidQuery:
        return InvalidQuery(
            f"{self._name}: the field {self._field} holds {type_name(value)} ({_excerpt(value)}), which is no number",
            pointer=f"{self._pointer}/value",
            hint="leave such rows out with where, or with a filter",
            field=self._field,
            type=type_name(value),
        )

    def _guarded(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except (OverflowError, ValueError):
            raise InvalidQuery(
                f"{self._name}: the sum of {self._field} is no finite number, or one of its values is none",
                pointer=f"{self._pointer}/value",
            ) from None

    def dump(self, state: Total) -> list[Any]:
        self._guarded(state.condense)
        return [state.count, f"{state.whole:x}", state.parts]

    def merge(self, state: Total, dumped: list[Any]) -> Total:
        count, whole, parts = dumped
        state.count += count
        state.whole += int(whole, 16)
        if parts is not None:
            state.parts = (state.parts or []) + parts
            if len(state.parts) >= _FLOATS:
                self._guarded(state.condense)
        return state

    def result(self, state: Total) -> int | float | None:
        if state.parts is not None:
            return float(self._guarded(lambda: self._float(state)))
        if not -(1 << 63) <= state.whole < 1 << 64:
            raise InvalidQuery(
                f"{self._name}: the sum of {self._field} has more than 64 bits", pointer=f"{self._pointer}/value"
            )
        return state.whole

    def _float(self, state: Total) -> float:
        state.condense()
        return fsum(state.parts or ()) if not state.whole else _finite(float(state.exact()))


class Average(Sum):
    """avg."""

    def result(self, state: Total) -> float | None:
        if not state.count:
            return None
        if state.parts is None:
            return float(self._guarded(lambda: state.whole / state.count))
        self._guarded(state.condense)
        if not state.whole and len(state.parts) <= 1:
            return fsum(state.parts) / state.count
        return float(self._guarded(lambda: float(state.exact() / state.count)))


def _finite(number: float) -> float:
    if not isfinite(number):
        raise OverflowError
    return number


class Extreme:
    """min, or max: the first one of several equal values."""

    state_bytes = 64

    def __init__(self, read: Reader, largest: bool) -> None:
        self._read = read
        self._largest = largest

    def new(self) -> None:
        return None

    def step(self, place: int, meter: Meter) -> Step:
        read, largest, better = self._read, self._largest, self._better

        def compare(states: States, row: Mapping[str, Any]) -> None:
            value = read(row)
            if value is None:
                return
            best = states[place]
            kind = value.__class__
            if kind is best.__class__ and (kind is int or kind is float or kind is str):
                if value > best if largest else value < best:
                    if kind is str:
                        meter.used += getsizeof(value) - getsizeof(best)
                    states[place] = value
                elif value != value:
                    encode_value(value)
            elif best is None or better(value, best):
                meter.used += weight(value) - weight(best)
                states[place] = value

        return compare

    def _better(self, value: Any, best: Any) -> bool:
        return is_less(best, value) if self._largest else is_less(value, best)

    def dump(self, state: Any) -> Any:
        encode_value(state)
        return state

    def merge(self, state: Any, dumped: Any) -> Any:
        if state is None or (dumped is not None and self._better(dumped, state)):
            return dumped
        return state

    def result(self, state: Any) -> Any:
        return self.dump(state)


class Distinct:
    """distinct and count_distinct. The state is a set of boxed values; what is spilled are single values (see `groups`)."""

    state_bytes = 250

    def __init__(self, read: Reader, listed: bool) -> None:
        self._read = read
        self._listed = listed

    def new(self) -> set[Any]:
        return set()

    def step(self, place: int, meter: Meter) -> Step:
        read = self._read

        def add(states: States, row: Mapping[str, Any]) -> None:
            value = read(row)
            if value is None:
                return
            members = states[place]
            known = len(members)
            member = box(value)
            members.add(member)
            if len(members) != known:
                meter.used += _MEMBER + 2 * getsizeof(member)

        return add

    def dump(self, state: set[Any]) -> None:
        return None

    def merge(self, state: set[Any], dumped: None) -> set[Any]:
        return state

    def result(self, state: set[Any]) -> Any:
        return self.finish(value for _, value in self.members(state))

    def members(self, state: set[Any]) -> list[tuple[bytes, Any]]:
        """The encodings and the values, in order."""
        return sorted([(encode_member(member), unbox(member)) for member in state], key=itemgetter(0))

    def finish(self, values: Iterator[Any]) -> Any:
        """The result, from the different values in order."""
        return list(values) if self._listed else sum(1 for _ in values)


_TYPES: Final[dict[type, str]] = {bool: "true or false", str: "text", list: "a list", dict: "an object"}


def type_name(value: Any) -> str:
    """A value's type, in words."""
    return _TYPES.get(type(value), type(value).__name__)


def _excerpt(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "..."
