"""Updates: MongoDB's words for changing a record, compiled once to a function from a record to a new one.

    {"status": "paid", "address.city": "Rome"}    set values; $set is the same
    {"$inc": {"visits": 1}}                       add a number          missing: the number itself
    {"$mul": {"price": 1.1}}                      multiply              missing: 0
    {"$unset": ["note", "a.b"]}                   remove                missing: nothing happens
    {"$push": {"tags": "x"}}                      append; {"$each": [...]} appends several     missing: a new list

A dotted path makes the objects that are missing on its way; a number in it is the place of an element that an array has. Values may hold
templates over the row (`row_templates.py`); all of them see the row as it was before. A whole number stays one
within 64 bits; beyond is an error, never a float.

What is wrong with the update itself is found before the first record (InvalidQuery, UnknownOperator); what does not fit a
record is UpdateFailed, and the record stays as it was: `apply` never changes its argument. The new record shares with the old one,
and with the others of the update, what is equal in them: records are values, not to be changed in place.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, Final

from query.actions.row_templates import Rows, RowValue, TemplateScope, compile_value
from query.errors import InvalidQuery, UnknownOperator, UpdateFailed, point
from query.filters.predicates import MISSING
from query.values.fields import check_field
from script.errors import EvaluationError
from script.expressions.functions import EvaluationContext

Record = dict[str, Any]
Work = Callable[[Any, Any], Any]
"""From the old value of a place (or MISSING) and the operand to its new value (or MISSING)."""

_LARGEST: Final = 1 << 63


class _Misfit(Exception):
    """A value that an operation does not fit: a message and a hint."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


@dataclass(frozen=True)
class Operation:
    """One change: `work` on the place `path`, with an operand. `pointer` is where it stands in the update."""

    name: str
    path: tuple[str, ...]
    operand: RowValue
    work: Work
    pointer: str

    @property
    def is_value(self) -> bool:
        """Whether it gives a top-level field a value that is the same for all records."""
        return self.work is _set and len(self.path) == 1 and self.operand.constant

    def run(self, changed: Record, rows: Rows) -> None:
        """Change the fresh copy `changed`. Raises UpdateFailed."""
        try:
            operand = self.operand.of(rows)
            if len(self.path) == 1:
                _put(changed, self.path[0], self.work, operand)
            elif place := _place(changed, self.path, create=self.work is not _unset):
                _put(*place, self.work, operand)
        except _Misfit as misfit:
            raise self._failed(misfit.message, misfit.hint, self.pointer) from None
        except EvaluationError as error:
            raise self._failed(error.message, error.hint, error.pointer or self.pointer, cause=error.code) from None

    def _failed(self, message: str, hint: str | None, at: str, **details: str) -> UpdateFailed:
        text = f"{self.name} of {'.'.join(self.path)}: {message}"
        return UpdateFailed(text, pointer=point("", *self.path), hint=hint, at=at, **details)


class Update:
    """A compiled update. Get one from `compile_update`.

    `fields` are the top-level fields that it may change. `constant`: it holds no template, so nothing but the record decides the
    result. `literal`: it holds neither templates nor operators nor paths; the result is the record with these fields replaced.
    """

    def __init__(self, operations: Sequence[Operation], row_names: Sequence[str]) -> None:
        self._values: Record = {step.path[0]: step.operand.literal for step in operations if step.is_value}
        self._operations = [step for step in operations if not step.is_value]
        self._row_name = row_names[0] if len(row_names) == 1 else None
        self.fields = frozenset(step.path[0] for step in operations)
        self.constant = all(step.operand.constant for step in operations)
        self.literal = not self._operations

    def apply(self, record: Record, rows: Rows | None = None) -> Record:
        """The new record. `rows` are the rows that templates name; without them it is the record, where there is one name only.

        Raises UpdateFailed; InvalidQuery where the rows are needed and were not given.
        """
        changed = {**record, **self._values}
        if self._operations:
            if rows is None:
                rows = self._rows(record)
            for operation in self._operations:
                operation.run(changed, rows)
        return changed

    def _rows(self, record: Record) -> Rows:
        if self._row_name is not None:
            return {self._row_name: record}
        if self.constant:
            return {}
        raise InvalidQuery("the templates of this update name several rows, which have to be given")


def compile_update(
    update_values: Mapping[str, Any],
    *,
    pointer: str = "/update_values",
    fields: Collection[str] | None = None,
    row_names: Sequence[str] = ("row",),
    context: EvaluationContext | None = None,
) -> Update:
    """Compile an update. `fields` are all the fields that a record may have, where its schema closes them.

    `row_names` are the names that templates have for rows; `context` is the clock and the seed for `now()` and `uuid()`.
    Raises InvalidQuery, UnknownOperator.
    """
    if not isinstance(update_values, Mapping):
        raise InvalidQuery(f"an update is an object, not {update_values!r}", pointer=pointer, hint=_HINT)
    known = fields if len(row_names) == 1 else None
    scope = TemplateScope(tuple(row_names), known, context)
    operations = list(_operations(update_values, scope, pointer))
    if not operations:
        raise InvalidQuery("the update is empty: it would change nothing", pointer=pointer, hint=_HINT)
    for operation in operations:
        _check_field(operation, fields)
    _check_conflicts(operations)
    return Update(operations, row_names)


def _operations(update_values: Mapping[str, Any], scope: TemplateScope, pointer: str) -> Iterator[Operation]:
    for name, operand in update_values.items():
        at = point(pointer, name)
        if not isinstance(name, str):
            raise InvalidQuery(f"{name!r} is no field name", pointer=at)
        if not name.startswith("$"):
            yield _operation("$set", name, operand, scope, at)
        elif name not in OPERATORS:
            raise _unknown(name, at)
        elif name == "$unset":
            yield from _unset_operations(operand, scope, at)
        elif not isinstance(operand, Mapping) or not operand:
            raise InvalidQuery(f"{name} takes an object of fields and values, not {operand!r}", pointer=at)
        else:
            for path, value in operand.items():
                yield _operation(name, path, value, scope, point(at, path))


def _unset_operations(operand: Any, scope: TemplateScope, pointer: str) -> Iterator[Operation]:
    if isinstance(operand, Mapping) and operand:
        for path, mark in operand.items():
            if mark is not True and mark not in ("", 1):
                raise InvalidQuery(f"$unset takes true for a field, not {mark!r}", pointer=point(pointer, path))
            yield _operation("$unset", path, None, scope, point(pointer, path))
    elif isinstance(operand, list) and operand:
        for index, path in enumerate(operand):
            yield _operation("$unset", path, None, scope, point(pointer, index))
    elif isinstance(operand, str):
        yield _operation("$unset", operand, None, scope, pointer)
    else:
        raise InvalidQuery(f"$unset takes a list of fields, not {operand!r}", pointer=pointer)


def _operation(name: str, path: Any, operand: Any, scope: TemplateScope, pointer: str) -> Operation:
    work, at = _WORK[name], pointer
    if name == "$push" and isinstance(operand, Mapping) and "$each" in operand:
        if len(operand) > 1:
            raise InvalidQuery("$push takes a value, or $each with a list and nothing beside", pointer=pointer)
        work, operand, at = _extend, operand["$each"], point(pointer, "$each")
    value = compile_value(operand, scope, at)
    if value.constant and name in ("$inc", "$mul") and not _is_number(value.literal):
        raise InvalidQuery(f"{name} takes a number, not {operand!r}", pointer=at)
    if value.constant and work is _extend and not isinstance(value.literal, list):
        raise InvalidQuery(f"$each takes a list, not {operand!r}", pointer=at)
    return Operation(name, _path(path, pointer), value, work, pointer)


def _path(path: Any, pointer: str) -> tuple[str, ...]:
    """The parts of a dotted path. Raises InvalidQuery."""
    if not isinstance(path, str) or not path:
        raise InvalidQuery(f"{path!r} is no field name", pointer=pointer)
    if "{{" in path:
        raise InvalidQuery(f"{path!r}: a template stands in a value, never in a name", pointer=pointer)
    parts = tuple(path.split("."))
    if not all(parts):
        raise InvalidQuery(f"{path!r} is no path: it has an empty part", pointer=pointer)
    if any(part.startswith("$") for part in parts):
        raise InvalidQuery(f"{path!r} is no path: names in it do not begin with $", pointer=pointer)
    return parts


def _unknown(name: str, pointer: str) -> UnknownOperator:
    near = [] if name in _INSTEAD else get_close_matches(name, OPERATORS, n=1)
    hint = f"did you mean {near[0]}?" if near else _INSTEAD.get(name, f"the operators are: {' '.join(OPERATORS)}")
    return UnknownOperator(f"there is no update operator {name!r}", pointer=pointer, hint=hint)


def _check_field(operation: Operation, fields: Collection[str] | None) -> None:
    check_field(operation.path[0], fields, operation.pointer)


def _check_conflicts(operations: Sequence[Operation]) -> None:
    """Two operations on a place, or on a place and what it is in, have no order. In the order of paths these are neighbours."""
    for one, other in pairwise(sorted(operations, key=lambda operation: operation.path)):
        if other.path[: len(one.path)] == one.path:
            raise InvalidQuery(
                f"{one.name} of {'.'.join(one.path)} and {other.name} of {'.'.join(other.path)} conflict",
                pointer=other.pointer,
                hint="change a place once, and not together with what it is in",
            )


def _place(changed: Record, path: tuple[str, ...], *, create: bool) -> tuple[Any, Any] | None:
    """The container and the key (or index) of a path; what is on the way is copied. None: no such place, and none to create."""
    here: Any = changed
    for depth, part in enumerate(path[:-1]):
        key = _key(here, part)
        if key is None:
            return _nowhere(here, path, depth, create)
        inner = here[key] if isinstance(here, list) else here.get(key, MISSING)
        if inner is MISSING and not create:
            return None
        inner = {} if inner is MISSING else inner.copy() if isinstance(inner, dict | list) else inner
        here[key] = inner
        here = inner
    key = _key(here, path[-1])
    return _nowhere(here, path, len(path) - 1, create) if key is None else (here, key)


def _key(container: Any, part: str) -> Any:
    """What a part of a path means in a container: a field, or the index of an element that is there. None: nothing."""
    if isinstance(container, dict):
        return part
    if isinstance(container, list) and part.isascii() and part.isdecimal():
        index = int(part) if len(part) < 20 else len(container)
        return index if index < len(container) and str(index) == part else None
    return None


def _nowhere(container: Any, path: tuple[str, ...], depth: int, create: bool) -> tuple[Any, Any] | None:
    """Nothing to do where a path leads nowhere, unless a place was to be created: then _Misfit."""
    if not create:
        return None
    name = ".".join(path[:depth])
    if isinstance(container, list):
        hint = "$push appends an element" if path[depth].isdecimal() else "the elements are 0, 1, 2, ..."
        raise _Misfit(f"{name} is an array of {len(container)}, without an element {path[depth]!r}", hint)
    raise _Misfit(f"{name} is {_described(container)}, which holds no fields", f"set {name} itself to an object")


def _put(container: Any, key: Any, work: Work, operand: Any) -> None:
    """Change one entry. An element of an array that is removed becomes null: the others keep their places."""
    if isinstance(container, dict):
        new = work(container.get(key, MISSING), operand)
        if new is MISSING:
            container.pop(key, None)
        else:
            container[key] = new
    else:
        new = work(container[key], operand)
        container[key] = None if new is MISSING else new


def _set(old: Any, value: Any) -> Any:
    return value


def _unset(old: Any, value: Any) -> Any:
    return MISSING


def _add(old: Any, amount: Any) -> Any:
    if old is MISSING:
        return _within(_number(amount, "the amount"))
    return _within(_number(old, "the value") + _number(amount, "the amount"))


def _multiply(old: Any, factor: Any) -> Any:
    if old is MISSING:
        return type(_number(factor, "the factor"))()
    return _within(_number(old, "the value") * _number(factor, "the factor"))


def _push(old: Any, value: Any) -> Any:
    return _extend(old, [value])


def _extend(old: Any, values: Any) -> Any:
    if not isinstance(values, list):
        raise _Misfit(f"$each takes a list, not {_described(values)}")
    if old is MISSING:
        return values
    if not isinstance(old, list):
        raise _Misfit(f"the value is {_described(old)}, not an array")
    return [*old, *values]


def _number(value: Any, what: str) -> Any:
    if type(value) is int or _is_number(value):
        return value
    hint = "set the field to a number first" if value is None else None
    raise _Misfit(f"{what} is {_described(value)}, not a number", hint)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _within(value: Any) -> Any:
    if isinstance(value, int):
        if not -_LARGEST <= value < _LARGEST:
            raise _Misfit("the result has more than 64 bits")
    elif not math.isfinite(value):
        raise _Misfit("the result is beyond the numbers that JSON has")
    return value


def _described(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    kinds: dict[type[Any], str] = {str: "text", list: "an array", dict: "an object"}
    return kinds.get(type(value)) or f"the number {value}"


_WORK: Final[dict[str, Work]] = {"$set": _set, "$inc": _add, "$mul": _multiply, "$unset": _unset, "$push": _push}
OPERATORS: Final = tuple(_WORK)
_HINT: Final = 'an update is, for example, {"status": "paid", "$inc": {"visits": 1}}'
_INSTEAD: Final = {
    "$min": 'write a template: {"price": "{{ min(row.price, 5) }}"}',
    "$max": 'write a template: {"price": "{{ max(row.price, 5) }}"}',
    "$rename": 'set the new name to "{{ row.old }}", and $unset the old one',
    "$currentDate": 'write a template: {"changed": "{{ now() }}"}',
    "$pull": 'write a template: {"tags": "{{ row.tags.filter(tag, tag != \'x\') }}"}',
    "$addToSet": "write a template: {\"tags\": \"{{ 'x' in row.tags ? row.tags : row.tags + ['x'] }}\"}",
}
