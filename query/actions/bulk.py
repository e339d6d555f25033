"""Bulk actions: deleting or updating all rows of a query, in place, in the caller's transaction.

Rows are changed while they are read, where that is safe: the path is the primary key and the keys stay as they are; by whole pages
(`by_page`), or one by one where they are read backwards. Otherwise (rows found by an index, sorted rows, a change of a key or of
a field with a unique index, rows of a join) the rows are collected first, sorted by key, on disk if they are many. A change of
keys takes all old rows out before it puts the new ones in, so that keys may be exchanged, and a row is never met twice.

A *preview* changes nothing: it tells how many rows would be, shows the first of them, and gives a token for exactly these rows with
exactly these contents. The action can be made to require it: if anything is different then, nothing is changed.

If an action fails in the middle, its writes are in the transaction: whoever drives it discards them (`Transaction.discard`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import msgspec
import orjson

from query.actions.by_page import delete_by_page, update_by_page
from query.actions.updates import Update, compile_update
from query.errors import InvalidQuery, PreviewMismatch, RecordExists, TooManyRows
from query.selects.rows import RowsQuery
from query.selects.select import Selection
from query.sorting.sorting import sorted_rows
from query.stores.store import Record, Store, decode_record
from query.values import keycode
from script.expressions.functions import EvaluationContext

SHOWN: Final = 10
"""Rows that a preview shows."""
_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(tuple[bytes, bytes, bytes]).decode
_json: Final = msgspec.json.Encoder().encode
_BITS: Final = 128


@dataclass(frozen=True)
class Matched:
    """A row that an action is about: its key, its value as stored, and the records that templates see."""

    key: bytes
    value: bytes
    rows: Mapping[str, Any]

    @property
    def record(self) -> Record:
        """The record itself: the first that templates see."""
        found: Record = next(iter(self.rows.values()))
        return found


Again = Callable[[], RowsQuery]
"""Makes the query anew, for a second pass over its rows."""


class BulkAction:
    """Deleting or updating the rows of a select, or (`left` is the side's name) the left rows of a join.

    Raises InvalidQuery, UnknownOperator for update values that are none.
    """

    def __init__(
        self,
        store: Store,
        query: Again,
        update_values: Mapping[str, Any] | None = None,
        *,
        left: str | None = None,
        names: Sequence[str] = ("row",),
        context: EvaluationContext | None = None,
    ) -> None:
        self._store = store
        self._query = query
        self._left = left
        self._update: Update | None = None
        self._signature = b"delete"
        if update_values is not None:
            self._update = compile_update(update_values, fields=store.fields, row_names=names, context=context)
            self._signature = orjson.dumps(update_values, option=orjson.OPT_SORT_KEYS)

    def run(self, *, max_affected: int | None = None, expect: str | None = None) -> dict[str, int]:
        """Do it: {deleted}, or {matched, updated} (rows that stay as they are are not updated).

        Raises TooManyRows, PreviewMismatch, and nothing is changed then; UpdateFailed, InvalidRecord, RecordExists, UniqueViolation.
        """
        if max_affected is not None or expect is not None:
            self._check(max_affected, expect)
        return {"deleted": self._delete()} if self._update is None else self._change(self._update)

    def preview(self) -> dict[str, Any]:
        """What it would do: {count, rows, token}; for an update each row is {before, after}. Changes nothing."""
        shown: list[Any] = []
        count, token = 0, _Token(self._signature)
        for found in self._once(self._query()):
            count += 1
            token.add(found)
            if len(shown) < SHOWN:
                before, update = found.record, self._update
                shown.append(
                    before if update is None else {"before": before, "after": update.apply(before, found.rows)}
                )
        return {"count": count, "rows": shown, "token": token.text}

    def _check(self, max_affected: int | None, expect: str | None) -> None:
        count, token = 0, _Token(self._signature)
        for found in self._once(self._query()):
            count += 1
            token.add(found)
            if max_affected is not None and count > max_affected:
                raise TooManyRows(
                    f"more than {max_affected} rows would be affected",
                    pointer="/max_affected",
                    hint="look at them with dry_run; raise max_affected, or narrow the filter",
                )
        if expect is not None and expect != token.text:
            raise PreviewMismatch(
                f"the {count} rows are not those of the preview",
                pointer="/expect",
                hint="make a new preview, look at it, and give its token",
            )

    def _delete(self) -> int:
        store, rows, deleted = self._store, self._query(), 0
        if (pages := self._by_page(rows)) is not None:
            return delete_by_page(store, pages)
        for matched in self._safely(rows):
            store.remove_known(matched.key, matched.value)
            deleted += 1
        return deleted

    def _change(self, update: Update) -> dict[str, int]:
        store, moves, rows = self._store, self._moves, self._query()
        if (pages := self._by_page(rows)) is not None:
            return update_by_page(store, pages, update)
        done = {"matched": 0, "updated": 0}

        def changes() -> Iterator[tuple[Matched, bytes, bytes, Record]]:
            for found in self._safely(rows):
                done["matched"] += 1
                record = update.apply(found.record, found.rows)
                key, value = store.encode(record) if moves else (found.key, store.encode_value(record))
                if key != found.key or value != found.value:
                    done["updated"] += 1
                    yield found, key, value, record

        if self._in_two_steps:
            _replace_all(store, ((found, key, value) for found, key, value, _ in changes()))
        else:
            for found, key, value, record in changes():
                store.put(key, value, record, old=found.value)
        return done

    @property
    def _moves(self) -> bool:
        return self._update is not None and not self._update.fields.isdisjoint(self._store.info.primary_key)

    @property
    def _in_two_steps(self) -> bool:
        """Whether all old rows have to be out before the first new one is in."""
        unique = [path for index in self._store.indexes if index.info.unique for path in index.info.fields]
        roots = {path.partition(".")[0] for path in unique}
        return self._moves or (self._update is not None and not self._update.fields.isdisjoint(roots))

    def _by_page(self, rows: RowsQuery) -> Selection | None:
        """The rows, if they can be changed a page at a time."""
        usable = isinstance(rows, Selection) and rows.editable and self._left is None and not self._in_two_steps
        return rows if usable else None  # type: ignore[return-value]

    def _safely(self, rows: RowsQuery) -> Iterator[Matched]:
        """The rows, each once, in a way that changing them does not disturb the reading."""
        if self._in_two_steps or _by_primary_key(rows):
            return self._once(rows)
        return self._collected(rows)

    def _collected(self, rows: RowsQuery) -> Iterator[Matched]:
        packed = ((found.key, _pack((found.value, b"", _json(found.rows)))) for found in self._once(rows))
        for key, row in sorted_rows(packed):
            value, _, others = _unpack(row)
            yield Matched(key, value, orjson.loads(others))

    def _once(self, rows: RowsQuery) -> Iterator[Matched]:
        """The rows of a select; the left rows of a join, each with the first pair that it is in."""
        store, left = self._store, self._left
        if left is None:
            by_key = _by_primary_key(rows)
            for path, value in rows.encoded():
                record: Record = decode_record(value)
                yield Matched(path if by_key else store.key_of(record), value, {"row": record})
            return
        pairs = (
            (store.key_of(joined[left]), value)
            for _, value in rows.encoded()
            if (joined := decode_record(value)).get(left) is not None
        )
        last: bytes | None = None
        for key, value in sorted_rows(pairs):
            stored = store.tree.get(key) if key != last else None
            last = key
            if stored is not None:
                joined = decode_record(value)
                yield Matched(key, stored, {left: decode_record(stored), **{n: joined[n] for n in joined if n != left}})


class _Token:
    """Names rows with their contents, and what is to be done to them: the same for the same rows in any order."""

    def __init__(self, signature: bytes) -> None:
        self._sum = 0
        self._count = 0
        self._signature = signature

    def add(self, found: Matched) -> None:
        hashed = blake2b(found.key + b"\xff" + found.value, digest_size=_BITS // 8).digest()
        self._sum = (self._sum + int.from_bytes(hashed, "big")) % (1 << _BITS)
        self._count += 1

    @property
    def text(self) -> str:
        whole = b"%d/%d/%b" % (self._count, self._sum, self._signature)
        return blake2b(whole, digest_size=16).hexdigest()


def _by_primary_key(rows: RowsQuery) -> bool:
    return isinstance(rows, Selection) and rows.by_primary_key


def _replace_all(store: Store, changes: Iterable[tuple[Matched, bytes, bytes]]) -> None:
    """Take all old rows out, then put all new ones in."""
    old = ((found.key, _pack((found.value, key, value))) for found, key, value in changes)

    def new() -> Iterator[tuple[bytes, bytes]]:
        for old_key, packed in sorted_rows(old):
            old_value, key, value = _unpack(packed)
            store.remove_known(old_key, old_value)
            yield key, value

    for key, value in sorted_rows(new()):
        if store.tree.get(key) is not None:
            raise RecordExists(f"{store.info.name} has a record with the key {keycode.decode(key)} already")
        store.put(key, value, decode_record(value))


def check_action(action: Any, update_values: Any, *, of: tuple[str, ...]) -> None:
    """Refuse an action that is none, and update_values without an update or the reverse. Raises InvalidQuery."""
    if action is not None and action not in of:
        raise InvalidQuery(f"the action is {' or '.join(of)}, not {action!r}", pointer="/action")
    updating = isinstance(action, str) and action.startswith("update")
    if updating and update_values is None:
        raise InvalidQuery("an update needs update_values", pointer="/update_values")
    if not updating and update_values is not None:
        raise InvalidQuery(
            f"update_values belong to the action {of[-1]}", pointer="/update_values", hint="add the action"
        )
