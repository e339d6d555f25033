"""Changing a B+tree, in a transaction.

Changes are collected first (`put` is an entry in a dictionary), and applied in key order when somebody wants to see the pages: each leaf is
read once, all of its changes are made, and it is divided or merged once. So random writes cost what sorted ones do, and
the same routine serves puts, merging commits and restoring. Single reads look into the collected changes first.

A scan or cursor may be held while the tree is changed: it goes on from the key that it has reached, and sees later changes
ahead of it or not.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from btree.access import Reading, TreeAccess, after
from btree.cursor import TreeCursor
from btree.errors import KeyExists, KeyNotFound
from btree.limits import MAX_KEY, MAX_VALUE, bad_key, bad_value
from btree.load import Loader
from btree.page import ENTRY, TARGET, DirtyLeaf
from btree.shape import PageTree, divide
from btree.tree import LeafSlice
from btree.workspace import Workspace

COLLECT: Final = 16 << 20
"""Bytes of changes that are collected before they are applied."""

Change = tuple[bytes, bytes | None]


class Tree(PageTree):
    """A tree in a transaction: reads its own writes. `access` gives the notes about reads, or None where none are wanted."""

    def __init__(
        self, workspace: Workspace, root: int, count: int, access: Callable[[], TreeAccess] = TreeAccess
    ) -> None:
        super().__init__(workspace, root, count)
        self._access = access
        self._collected: dict[bytes, bytes | None] = {}
        self._bytes = 0

    # --- writing ---

    def put(self, key: bytes, value: bytes) -> None:
        """Insert or replace.

        Raises InvalidKey, KeyTooLarge, InvalidValue, ValueTooLarge.
        """
        if not isinstance(key, bytes) or len(key) > MAX_KEY:
            raise bad_key(key)
        if not isinstance(value, bytes) or len(value) > MAX_VALUE or b"\n" in value:
            raise bad_value(value)
        self._collect(key, value)

    def insert(self, key: bytes, value: bytes) -> None:
        """Insert a new key. Raises KeyExists."""
        if self.get(key) is not None:
            raise KeyExists(f"the key {key!r} is there already", hint="replace it instead")
        self.put(key, value)

    def replace(self, key: bytes, value: bytes) -> None:
        """Replace the value of a key that is there. Raises KeyNotFound."""
        if self.get(key) is None:
            raise KeyNotFound(f"the key {key!r} is not there", hint="insert it instead")
        self.put(key, value)

    def delete(self, key: bytes) -> bool:
        """Remove a key; False if it was not there."""
        if self.get(key) is None:
            return False
        self._collect(key, None)
        return True

    def delete_range(self, lower: bytes | None = None, upper: bytes | None = None) -> int:
        """Remove the keys with lower <= key < upper; gives their number."""
        before, at, more = self._settled(), lower if lower is not None else b"", True
        self._workspace.broken = True
        while more and (upper is None or at < upper):
            path, page, bound = self._descend(at)
            leaf = self._leaf(page)
            start = bisect_left(leaf.keys, at)
            stop = bisect_left(leaf.keys, upper, start) if upper is not None else leaf.count
            if stop > start:
                keys, values = [*leaf.keys[:start], *leaf.keys[stop:]], [*leaf.values[:start], *leaf.values[stop:]]
                self._place(path, page, [DirtyLeaf(keys, values)] if keys else [])
                self._count -= stop - start
                self._workspace.relieve()
            at, more = bound if bound is not None else b"", bound is not None
        self._workspace.broken = False
        self.epoch += 1
        self.changed = self.changed or self._count != before
        self._access().touched_ranges.append([lower, upper])
        return before - self._count

    def load(self, pairs: Iterable[tuple[bytes, bytes]]) -> int:
        """Fill an empty tree with pairs in ascending key order, page after page; gives their number.

        Raises KeyExists if the tree is not empty, InvalidKey if the order is wrong; the tree is empty then.
        """
        if self.count():
            raise KeyExists("a bulk load needs an empty tree", hint="use put")
        self.clear()
        loader = Loader(self._workspace, self)
        try:
            self._count = loader.load(pairs)
        except BaseException:
            self.clear()
            raise
        return self._count

    def clear(self) -> None:
        """Remove everything."""
        self._collected.clear()
        self._bytes = 0
        self._workspace.drop_all(self.root)
        self.root, self._count = self._workspace.create(DirtyLeaf([], [])), 0
        self.changed = True
        self.epoch += 1
        self._access().touched_ranges.append([None, None])

    def _collect(self, key: bytes, value: bytes | None) -> None:
        self._collected[key] = value
        self.changed = True
        self._bytes += len(key) + (len(value) if value is not None else 0) + 100
        if self._bytes > COLLECT:
            self.settle()

    # --- reading ---

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, as written here or as it was."""
        if key in self._collected:
            return self._collected[key]
        self._access().points.add(key)
        return super().get(key)

    def count(self) -> int:
        """How many keys. Counts as having read all of them."""
        self._access().read(None, None)
        return self._settled()

    def cursor(self) -> TreeCursor:
        """A new cursor, standing nowhere."""
        return TreeCursor(self, self._workspace.node, self._access)

    def scan(
        self, lower: bytes | None = None, upper: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with lower <= key < upper, in order or backwards."""
        if reverse:
            yield from self._scan_back(lower, upper)
            return
        reading, key = Reading(self._access, lower), b""
        try:
            for part in self._parts(lower, upper):
                reading.widen(after(part.last_key))
                for key, value in zip(part.keys, part.values(), strict=True):
                    yield key, value
        except GeneratorExit:
            reading.end(after(key))
            raise
        reading.end(upper)

    def leaves(self, lower: bytes | None = None, upper: bytes | None = None) -> Iterator[LeafSlice]:
        """The same pairs a page at a time."""
        reading = Reading(self._access, lower)
        for part in self._parts(lower, upper):
            reading.widen(after(part.last_key))
            yield part
        reading.end(upper)

    def separators(self, parts: int) -> list[bytes]:
        """At most `parts - 1` keys that divide the key range; does not count as reading."""
        self.settle()
        return super().separators(parts)

    def _parts(self, lower: bytes | None, upper: bytes | None) -> Iterator[LeafSlice]:
        """The slices of a range; after a change of the tree it goes on behind the last key."""
        self.settle()
        epoch = -1
        while epoch != self.epoch:
            epoch = self.epoch
            for part in super().leaves(lower, upper):
                lower = after(part.last_key)
                yield part
                if epoch != self.epoch:
                    break

    # --- applying what was collected ---

    def settle(self) -> None:
        """Make the collected changes in the pages."""
        if self._collected:
            collected, self._collected, self._bytes = self._collected, {}, 0
            self.apply(sorted(collected.items()))

    def forget(self, root: int, count: int) -> None:
        """Drop what was collected, and go on from stored pages."""
        self._collected.clear()
        self._bytes = 0
        self.stand(root, count)

    def _settled(self) -> int:
        self.settle()
        return self._count

    def apply(self, changes: Iterable[Change]) -> None:
        """Make changes that come in key order: (key, value), or (key, None) to remove it."""
        stream = iter(changes)
        change = next(stream, None)
        access = self._access()
        self.epoch += 1
        self._workspace.broken = True
        while change is not None:
            change = self._apply_to_leaf(change, stream, access)
            self._workspace.relieve()
        self._workspace.broken = False

    def _apply_to_leaf(self, change: Change | None, stream: Iterator[Change], access: TreeAccess) -> Change | None:
        """Make the changes that belong into one leaf; gives the first that does not."""
        assert change is not None
        path, page, bound = self._descend(change[0])
        before, own = self._leaf(page), self._workspace.owns(page)
        draft = before.draft()
        keys, values, size, at, altered = draft.keys, draft.values, draft.size, 0, False
        while change is not None and (bound is None or change[0] < bound) and size <= 4 * TARGET:
            key, value = change
            at = bisect_left(keys, key, at)
            old = values[at] if at < len(keys) and keys[at] == key else None
            if own or old == value:
                access.touched.add(key)
            if old == value:
                pass
            elif value is None:
                size -= len(key) + len(values[at]) + ENTRY
                del keys[at], values[at]
            elif old is None:
                size += len(key) + len(value) + ENTRY
                keys.insert(at, key)
                values.insert(at, value)
            else:
                size += len(value) - len(old)
                values[at] = value
            altered = altered or old != value
            change = next(stream, None)
        if altered:
            self.changed = True
            draft.size = size
            appended = bound is None and keys != [] and (before.count == 0 or keys[-1] > before.keys[-1])
            self._count += len(keys) - before.count
            self._place(path, page, divide(draft, full=appended))
        return change
