"""Secondary indexes: one entry for every record, kept in the transaction that writes the record.

    index        values ++ primary key  ->  where the primary key begins, as a number
    unique       values                 ->  the primary key as hexadecimal text; if all values are null, as above

The values are encoded like keys (`keycode`), in the order of the index's fields; a missing field is null. A unique index has the values
alone as its key, so that two transactions that add the same values write the same key: a conflict in any isolation.
"""

from binascii import unhexlify
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from btree import KeyTooLarge, ReadTree, Tree
from query.errors import InvalidRecord, UniqueViolation
from query.filters.predicates import MISSING, follow
from query.stores.catalog import IndexInfo
from query.values import keycode

_NULL: Final = keycode.encode([None])


class Index:
    """An index of a store in a view."""

    def __init__(self, info: IndexInfo, tree: ReadTree) -> None:
        self.info = info
        self.tree = tree
        self._paths = [path.split(".") for path in info.fields]
        self._nulls = _NULL * len(self._paths)
        self.roots = frozenset(path[0] for path in self._paths)
        """The top-level fields that it reads."""

    def values(self, record: Mapping[str, Any]) -> bytes:
        """The encoded values of a record."""
        found = [follow(record, path) for path in self._paths]
        return b"".join([keycode.encode_any(None if value is MISSING else value) for value in found])

    def entry(self, record: Mapping[str, Any], key: bytes) -> tuple[bytes, bytes]:
        """The index entry of a record: key and value."""
        return self._entry(self.values(record), key)

    def _entry(self, values: bytes, key: bytes) -> tuple[bytes, bytes]:
        if self.info.unique and values != self._nulls:
            return values, b'"%s"' % key.hex().encode()
        return values + key, b"%d" % len(values)

    def change(
        self, old_key: bytes | None, old: Mapping[str, Any] | None, new_key: bytes | None, new: Mapping[str, Any] | None
    ) -> None:
        """Bring the index from one record (or none) to another (or none). Raises UniqueViolation, InvalidRecord."""
        before = self.entry(old, old_key) if old is not None and old_key is not None else None
        behind = self.entry(new, new_key) if new is not None and new_key is not None else None
        if before == behind:
            return
        tree = self.tree
        assert isinstance(tree, Tree)
        if behind is not None:
            self._check_unique(behind, before)
        if before is not None and (behind is None or before[0] != behind[0]):
            tree.delete(before[0])
        if behind is not None:
            try:
                tree.put(*behind)
            except KeyTooLarge as error:
                raise InvalidRecord(
                    f"the index {self.info.name} cannot hold values that long: {error.message}",
                    pointer=f"/{self.info.fields[0].replace('.', '/')}",
                    hint="shorten the text, or drop the index",
                ) from None

    def remove(self, record: Mapping[str, Any], key: bytes) -> None:
        """Take a record out."""
        self.change(key, record, None, None)

    def _check_unique(self, entry: tuple[bytes, bytes], before: tuple[bytes, bytes] | None) -> None:
        if not self.info.unique or (before is not None and before[0] == entry[0]):
            return
        known = self.tree.get(entry[0])
        if known is not None and known != entry[1]:
            values = keycode.decode(entry[0])
            other = keycode.decode(key_of(entry[0], known))
            raise UniqueViolation(
                f"the index {self.info.name} is unique, and the record {other} has the values {values} already",
                pointer=f"/{self.info.fields[0].replace('.', '/')}",
                index=self.info.name,
            )

    def keys(self, lower: bytes | None, upper: bytes | None) -> Iterator[bytes]:
        """The primary keys of a stretch of the index, in its order."""
        for entry, value in self.tree.scan(lower, upper):
            yield key_of(entry, value)


def key_of(entry: bytes, value: bytes) -> bytes:
    """The primary key that an entry leads to."""
    return unhexlify(value[1:-1]) if value[:1] == b'"' else entry[int(value) :]


def keys_of(entries: Sequence[bytes], values: Sequence[bytes]) -> list[bytes]:
    """The primary keys that entries lead to. Those of one length, as of equal values, are cut out together."""
    first = values[0]
    if first[:1] != b'"' and values.count(first) == len(values):
        at = int(first)
        return [entry[at:] for entry in entries]
    return [key_of(entry, value) for entry, value in zip(entries, values, strict=True)]
