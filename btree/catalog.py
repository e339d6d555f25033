"""The catalog: the trees of a version, in a tree of its own: name -> {"root": page id, "count": number of keys}."""

from typing import NamedTuple

import orjson

from btree.tree import ReadTree


class Entry(NamedTuple):
    """A tree of some version."""

    root: int
    length: int

    def encode(self) -> bytes:
        return orjson.dumps({"root": self.root, "count": self.length})

    @classmethod
    def decode(cls, value: bytes) -> "Entry":
        fields = orjson.loads(value)
        return cls(fields["root"], fields["count"])


def entry_of(catalog: ReadTree, name: str) -> Entry | None:
    """A tree by name."""
    found = catalog.get(name.encode())
    return Entry.decode(found) if found is not None else None
