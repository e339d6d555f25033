"""Changing a B+tree, in a transaction.

Changes are collected first (`put` is an entry in a dictionary), and applied in key order when somebody wants to see the pages: each leaf is
read once, all of its changes are made, and it is divided or merged once. So random writes cost what sorted ones do, and
the same routine serves puts, merging commits and restoring. Single reads look into the collected changes first.

A scan or cursor may be held while the tree is changed: it goes on from the key that it has reached, and sees later changes
ahead of it or not.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from btree.access import Reading, TreeAccess, after
from btree.cursor import TreeCursor
from btree.errors import KeyExists, KeyNotFound, TransactionEnded
from btree.limits import MAX_KEY, MAX_VALUE, bad_key, bad_value
from btree.load import Loader
from btree.page import ENTRY, MINIMUM, TARGET, Branch, DirtyLeaf, Leaf, Node
from btree.shape import PageTree, divide
from btree.tree import LeafSlice
from btree.workspace import Workspace

COLLECT: Final = 28 << 20
"""Bytes of changes that are collected before they are applied."""
_CHUNK: Final = 2048
_FEW: Final = 8
"""Up to so many changes nothing is read ahead."""

Change = tuple[bytes, bytes | None]


class Tree(PageTree):
    """A tree in a transaction: reads its own writes. `access` gives where reads and touches are noted now (nowhere, by default)."""

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
        self._collected[key] = value
        self._bytes += len(key) + len(value) + 100
        if self._bytes > COLLECT:
            self.settle()

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
        self._collected[key] = None
        self._bytes += len(key) + 100
        if self._bytes > COLLECT:
            self.settle()
        return True

    def discard(self, key: bytes) -> None:
        """Remove a key that the caller knows is there, without looking."""
        self._collected[key] = None
        self._bytes += len(key) + 100
        if self._bytes > COLLECT:
            self.settle()

    def delete_range(self, lower: bytes | None = None, upper: bytes | None = None) -> int:
        """Remove the keys with lower <= key < upper; gives their number."""
        before, at, more = self._settled(), lower if lower is not None else b"", True
        self.epoch += 1
        self._access().touched_ranges.append([lower, upper])
        with self._workspace.changing():
            while more and (upper is None or at < upper):
                path, page, bound = self._descend(at)
                self._cut(path, page, at, upper)
                self._workspace.relieve()
                at, more = bound if bound is not None else b"", bound is not None
        self.changed = self.changed or self._count != before
        return before - self._count

    def _cut(self, path: list[int], page: int, lower: bytes, upper: bytes | None) -> None:
        """Remove the keys of a range from one leaf."""
        leaf = self._leaf(page)
        start = bisect_left(leaf.keys, lower)
        stop = bisect_left(leaf.keys, upper, start) if upper is not None else leaf.count
        if stop > start:
            keys, values = [*leaf.keys[:start], *leaf.keys[stop:]], [*leaf.values[:start], *leaf.values[stop:]]
            self._place(path, page, [DirtyLeaf(keys, values)] if keys else [])
            self._count -= stop - start

    def load(self, pairs: Iterable[tuple[bytes, bytes]]) -> int:
        """Fill an empty tree with pairs in ascending key order, page after page; gives their number.

        Raises KeyExists if the tree is not empty, InvalidKey if the order is wrong; the tree is empty then.
        """
        if self.count():
            raise KeyExists("a bulk load needs an empty tree", hint="use put")
        self.clear()
        try:
            self._count = Loader(self._workspace, self).load(pairs)
        finally:
            self._workspace.open.clear()
        return self._count

    def touch_all(self) -> None:
        """Count as having written the whole tree."""
        self._access().touched_ranges.append([None, None])

    def clear(self) -> None:
        """Remove everything."""
        self._collected.clear()
        self._bytes = 0
        self.changed = True
        self.epoch += 1
        self.touch_all()
        with self._workspace.changing():
            self._workspace.drop_all(self.root)
            self.root, self._count = self._workspace.create(DirtyLeaf([], [])), 0

    # --- reading ---

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, as written here or as it was."""
        if key in self._collected:
            return self._collected[key]
        self._access().points.add(key)
        return super().get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of some keys, which are in order, as written here or as they were."""
        if self._collected:
            return list(map(self.get, keys))
        self._access().points.update(keys)
        return super().get_many(keys)

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

    def _scan_back(self, lower: bytes | None, upper: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        epoch, top = -1, upper
        while epoch != self.epoch:
            self.settle()
            epoch = self.epoch
            for key, value in super()._scan_back(lower, top):
                self._access().read(key, top)
                top = key
                yield key, value
                if epoch != self.epoch:
                    break
        self._access().read(lower, top)

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

    @property
    def waiting(self) -> bool:
        """Whether changes are collected that are not in the pages."""
        return len(self._collected) > 0

    def settle(self) -> None:
        """Make the collected changes in the pages."""
        if self._collected:
            collected, self._collected, self._bytes = self._collected, {}, 0
            self.apply(sorted(collected.items()) if len(collected) > 1 else collected.items())

    def forget(self, root: int, count: int) -> None:
        """Drop what was collected, and go on from stored pages."""
        self._collected.clear()
        self._bytes = 0
        self.stand(root, count)

    def end(self) -> None:
        """Refuse everything from now on: the transaction has ended."""
        self._collected = _Ended()

    def _settled(self) -> int:
        self.settle()
        return self._count

    def apply(self, changes: Iterable[Change]) -> None:
        """Make changes that come in key order: (key, value), or (key, None) to remove it."""
        stream = iter(changes)
        self.epoch += 1
        with self._workspace.changing():
            while chunk := list(islice(stream, _CHUNK)):
                keys = [key for key, _ in chunk]
                ahead = self._read_ahead(keys) if len(keys) > _FEW else {}
                at = 0
                while at < len(keys):
                    at = self._apply_to_leaf(chunk, keys, at, ahead)
                    self._workspace.relieve()

    def _apply_to_leaf(self, chunk: list[Change], keys: list[bytes], at: int, ahead: dict[int, Node]) -> int:
        """Make the changes from `at` on that belong into one leaf; gives the place of the first that does not."""
        path, page, bound = self._descend(keys[at], ahead)
        leaf = self._leaf(page, ahead)
        stop = bisect_left(keys, bound, at) if bound is not None else len(keys)
        if self._workspace.owns(page):
            self._access().touched.update(keys[at:stop])
        least = MINIMUM if page != self.root else 0
        patched = self._patched(leaf, chunk[at:stop], least) if isinstance(leaf, Leaf) else None
        if patched is None:
            return self._rewrite(leaf, chunk, at, stop, (path, page, bound))
        if patched is not leaf:
            self.changed = True
            self._place(path, page, [patched])
        return stop

    def _patched(self, leaf: Leaf, changes: list[Change], least: int) -> Leaf | None:
        """The leaf where values are only replaced, and it stays as large as a page may be (at least `least`); None otherwise."""
        keys, index = leaf.keys, 0
        indexes: list[int] = []
        values: list[bytes] = []
        for key, value in changes:
            index = bisect_left(keys, key, index)
            if value is None or index == leaf.count or keys[index] != key:
                return None
            if leaf.value(index) == value:
                self._access().touched.add(key)
            else:
                indexes.append(index)
                values.append(value)
        if not indexes:
            return leaf
        patched = leaf.patched(indexes, values)
        return patched if least <= patched.size <= TARGET else None

    def _rewrite(
        self,
        leaf: Leaf | DirtyLeaf,
        chunk: list[Change],
        start: int,
        stop: int,
        place: tuple[list[int], int, bytes | None],
    ) -> int:
        """Make changes in a leaf that is taken apart; gives the place of the first that would make it too large at once."""
        draft = leaf.draft()
        keys, values, at, index = draft.keys, draft.values, 0, start
        altered = False
        for index in range(start, stop):
            key, value = chunk[index]
            at = bisect_left(keys, key, at)
            old = values[at] if at < len(keys) and keys[at] == key else None
            if old == value:
                self._access().touched.add(key)
                continue
            altered = True
            if value is None:
                draft.size -= len(key) + len(values[at]) + ENTRY
                del keys[at], values[at]
            elif old is None:
                draft.size += len(key) + len(value) + ENTRY
                keys.insert(at, key)
                values.insert(at, value)
            else:
                draft.size += len(value) - len(old)
                values[at] = value
            if draft.size > 4 * TARGET:
                break
        if altered:
            path, page, bound = place
            self.changed = True
            self._count += len(keys) - leaf.count
            appended = bound is None and keys != [] and (leaf.count == 0 or keys[-1] > leaf.keys[-1])
            self._place(path, page, divide(draft, full=appended))
        return index + 1

    def _read_ahead(self, keys: list[bytes]) -> dict[int, Node]:
        """The leaves that some keys belong to, as far as they are not at hand, read together."""
        level = [(self.root, 0, len(keys))]
        while isinstance(self._workspace.node(level[0][0]), Branch):
            below = []
            for page, start, stop in level:
                branch = self._workspace.node(page)
                assert isinstance(branch, Branch)
                while start < stop:
                    index = bisect_right(branch.keys, keys[start])
                    last = bisect_left(keys, branch.keys[index], start, stop) if index < len(branch.keys) else stop
                    below.append((branch.children[index], start, last))
                    start = last
            level = below
        cached = self._workspace.cached
        pages = [page for page, _, _ in level if page >= 0 and page not in cached]
        return dict(zip(pages, self._workspace.nodes(pages, keep=False), strict=True))


class _Ended(dict[bytes, bytes | None]):
    """Stands where changes are collected when there is nothing to collect them for any more."""

    def __contains__(self, key: object) -> bool:
        raise TransactionEnded("the transaction has ended: read a snapshot, or begin another one")

    def __setitem__(self, key: bytes, value: bytes | None) -> None:
        raise TransactionEnded("the transaction has ended: read a snapshot, or begin another one")

    def __bool__(self) -> bool:
        raise TransactionEnded("the transaction has ended: read a snapshot, or begin another one")
