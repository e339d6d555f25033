"""A B+tree over copy-on-write pages: reading, inserting, deleting, bulk loading.

A tree is a root page id and a count. Reading follows page ids from the root. Writing happens in a *workspace*: the pages on the
way to a leaf are copied when they are first touched, the copies have negative ids until they are saved, and the pages they
replace stay as they are, for whoever reads an older version. So a change costs the pages on one path, and readers and
writers never meet.

Splits and merges work on bytes: a page is split when it grows over `TARGET`, and one below `MINIMUM` is merged with a
neighbour, or filled up from it where both together are too large for one page.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator

from btree.cursor import Cursor
from btree.errors import InvalidKey, InvalidValue, KeyExists, KeyNotFound
from btree.page import MINIMUM, TARGET, Branch, Leaf, Node

MAX_KEY = 1024
MAX_VALUE = 16 << 20


class LeafSlice:
    """A stretch of one leaf: page-at-a-time reading. `values_json` is the run of the stretch."""

    __slots__ = ("_leaf", "_start", "_stop", "count")

    def __init__(self, leaf: Leaf, start: int, stop: int) -> None:
        self._leaf, self._start, self._stop = leaf, start, stop
        self.count = stop - start

    @property
    def keys(self) -> list[bytes]:
        return self._leaf.keys[self._start : self._stop]

    @property
    def values_json(self) -> bytes:
        if self.count == len(self._leaf.keys):
            return self._leaf.run
        return b",\n".join(self._leaf.values[self._start : self._stop])

    def values(self) -> list[bytes]:
        return self._leaf.values[self._start : self._stop]


class ReadTree:
    """A tree in some version. Keys are ordered bytes, values JSON texts as bytes."""

    def __init__(self, load: Callable[[int], Node], root: int, count: int) -> None:
        self._load = load
        self.root = root
        self._count = count

    def count(self) -> int:
        """How many keys."""
        return self._count

    def get(self, key: bytes) -> bytes | None:
        """The value of a key."""
        node = self._load(self.root)
        while isinstance(node, Branch):
            node = self._load(node.children[bisect_right(node.keys, key)])
        index = bisect_left(node.keys, key)
        return node.values[index] if index < len(node.keys) and node.keys[index] == key else None

    def cursor(self) -> Cursor:
        """A new cursor, standing nowhere. It is good until the tree is changed."""
        return Cursor(self._load, self.root)

    def scan(
        self, lower: bytes | None = None, upper: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with lower <= key < upper, in order or backwards."""
        if reverse:
            yield from self._scan_back(lower, upper)
            return
        for part in self.leaves(lower, upper):
            yield from zip(part.keys, part.values(), strict=True)

    def _scan_back(self, lower: bytes | None, upper: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        cursor = self.cursor()
        if upper is None:
            valid = cursor.last()
        else:
            valid = cursor.previous() if cursor.seek(upper) else cursor.last()
        while valid and (lower is None or cursor.key >= lower):
            yield cursor.key, cursor.value
            valid = cursor.previous()

    def leaves(self, lower: bytes | None = None, upper: bytes | None = None) -> Iterator[LeafSlice]:
        """The same pairs a page at a time."""
        cursor = self.cursor()
        valid = cursor.first() if lower is None else cursor.seek(lower)
        while valid:
            leaf, start = cursor.leaf()
            stop = len(leaf.keys) if upper is None else bisect_left(leaf.keys, upper, start)
            if stop > start:
                yield LeafSlice(leaf, start, stop)
            if stop < len(leaf.keys):
                return
            valid = cursor.next_leaf()

    def separators(self, parts: int) -> list[bytes]:
        """At most `parts - 1` keys that divide the key range into about equal numbers of pages."""
        level = [self._load(self.root)]
        keys: list[bytes] = []
        while isinstance(level[0], Branch) and len(keys) < parts - 1:
            keys = []
            for position, node in enumerate(level):
                assert isinstance(node, Branch)
                keys += node.keys
                if position + 1 < len(level):
                    keys.append(self._first_key(level[position + 1]))
            level = [self._load(child) for node in level if isinstance(node, Branch) for child in node.children]
        if len(keys) < parts:
            return keys
        return [keys[len(keys) * part // parts] for part in range(1, parts)]

    def _first_key(self, node: Node) -> bytes:
        while isinstance(node, Branch):
            node = self._load(node.children[0])
        return node.keys[0]


class Workspace:
    """The pages that a transaction has changed and not saved yet, by negative ids."""

    def __init__(self, load: Callable[[int], Node]) -> None:
        self._load = load
        self.dirty: dict[int, Node] = {}
        self._next = -1

    def node(self, page: int) -> Node:
        return self.dirty[page] if page < 0 else self._load(page)

    def create(self, node: Node) -> int:
        page, self._next = self._next, self._next - 1
        self.dirty[page] = node
        return page

    def writable(self, page: int) -> tuple[int, Node]:
        """The page itself if it is ours, otherwise a copy of it."""
        if page < 0:
            return page, self.dirty[page]
        node = self._load(page).copy()
        return self.create(node), node

    def drop(self, page: int) -> None:
        self.dirty.pop(page, None)


class Tree(ReadTree):
    """A tree in a transaction: reads its own writes."""

    def __init__(self, workspace: Workspace, root: int, count: int) -> None:
        super().__init__(workspace.node, root, count)
        self._workspace = workspace
        self.changed = False

    @classmethod
    def empty(cls, workspace: Workspace) -> "Tree":
        tree = cls(workspace, workspace.create(Leaf.of([], [])), 0)
        tree.changed = True
        return tree

    def put(self, key: bytes, value: bytes) -> bool:
        """Insert or replace; True if the key is new.

        Raises InvalidKey, InvalidValue.
        """
        _check(key, value)
        leaf, path = self._descend(key)
        index = bisect_left(leaf.keys, key)
        if index < len(leaf.keys) and leaf.keys[index] == key:
            leaf.replace(index, value)
            new = False
        else:
            leaf.put(index, key, value)
            self._count += 1
            new = True
        if leaf.size > TARGET:
            self._balance(leaf, path)
        return new

    def insert(self, key: bytes, value: bytes) -> None:
        """Insert a new key. Raises KeyExists."""
        if self.get(key) is not None:
            raise KeyExists(f"the key {key!r} is there already")
        self.put(key, value)

    def replace(self, key: bytes, value: bytes) -> None:
        """Replace the value of a key that is there. Raises KeyNotFound."""
        if self.get(key) is None:
            raise KeyNotFound(f"the key {key!r} is not there")
        self.put(key, value)

    def delete(self, key: bytes) -> bool:
        """Remove a key; False if it was not there."""
        if self.get(key) is None:
            return False
        leaf, path = self._descend(key)
        leaf.remove(bisect_left(leaf.keys, key))
        self._count -= 1
        if leaf.size < MINIMUM:
            self._balance(leaf, path)
        return True

    def load(self, pairs: Iterable[tuple[bytes, bytes]]) -> int:
        """Fill an empty tree with pairs in ascending key order, page after page; gives their number.

        Raises KeyExists if the tree is not empty, InvalidKey if the order is wrong.
        """
        if self._count:
            raise KeyExists("a bulk load needs an empty tree", hint="use put")
        level, count = self._load_leaves(pairs)
        self._workspace.drop(self.root)
        while len(level) > 1:
            level = self._load_branches(level)
        self.root = level[0][1] if level else self._workspace.create(Leaf.of([], []))
        self._count, self.changed = count, True
        return count

    def _load_leaves(self, pairs: Iterable[tuple[bytes, bytes]]) -> tuple[list[tuple[bytes, int]], int]:
        level: list[tuple[bytes, int]] = []
        keys: list[bytes] = []
        values: list[bytes] = []
        size, count, last = 0, 0, None
        for key, value in pairs:
            _check(key, value)
            if last is not None and key <= last:
                raise InvalidKey(f"a bulk load needs ascending keys: {key!r} comes behind {last!r}")
            grown = len(key) + len(value) + 8
            if keys and size + grown > TARGET:
                level.append((keys[0], self._workspace.create(Leaf.of(keys, values))))
                keys, values, size = [], [], 0
            keys.append(key)
            values.append(value)
            size, count, last = size + grown, count + 1, key
        if keys:
            level.append((keys[0], self._workspace.create(Leaf.of(keys, values))))
        return level, count

    def _load_branches(self, level: list[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
        above: list[tuple[bytes, int]] = []
        start = 0
        while start < len(level):
            stop, size = start + 1, 30
            while stop < len(level) and (size < TARGET - MAX_KEY or stop < start + 2):
                size += len(level[stop][0]) + 10
                stop += 1
            if len(level) - stop == 1:
                stop += 1
            group = level[start:stop]
            branch = Branch([key for key, _ in group[1:]], [page for _, page in group])
            above.append((group[0][0], self._workspace.create(branch)))
            start = stop
        return above

    # --- changing the shape ---

    def _descend(self, key: bytes) -> tuple[Leaf, list[tuple[Branch, int]]]:
        """Make the path to the key's leaf writable."""
        self.changed = True
        self.root, node = self._workspace.writable(self.root)
        path: list[tuple[Branch, int]] = []
        while isinstance(node, Branch):
            index = bisect_right(node.keys, key)
            path.append((node, index))
            node.children[index], node = self._workspace.writable(node.children[index])
        return node, path

    def _balance(self, node: Node, path: list[tuple[Branch, int]]) -> None:
        """Split or merge from a changed page upwards."""
        while path:
            parent, index = path.pop()
            if node.size > TARGET and len(node.keys) > 1:
                separator, right = _split(node)
                parent.put(index, separator, self._workspace.create(right))
            elif node.size < MINIMUM:
                self._merge(parent, index)
            node = parent
        if node.size > TARGET and len(node.keys) > 1:
            separator, right = _split(node)
            self.root = self._workspace.create(Branch([separator], [self.root, self._workspace.create(right)]))
        while isinstance(node, Branch) and not node.keys:
            self._workspace.drop(self.root)
            self.root = node.children[0]
            node = self._workspace.node(self.root)

    def _merge(self, parent: Branch, index: int) -> None:
        """Join child `index` with a neighbour, or fill it up from there."""
        if not parent.keys:
            return
        at = index - 1 if index else 0
        parent.children[at], left = self._workspace.writable(parent.children[at])
        parent.children[at + 1], right = self._workspace.writable(parent.children[at + 1])
        _join(left, parent.keys[at], right)
        if left.size <= TARGET or len(left.keys) < 2:
            self._workspace.drop(parent.children[at + 1])
            parent.remove(at)
            return
        separator, rest = _split(left)
        self._workspace.dirty[parent.children[at + 1]] = rest
        parent.rename(at, separator)


def _check(key: bytes, value: bytes) -> None:
    if not isinstance(key, bytes) or len(key) > MAX_KEY:
        raise InvalidKey(
            f"a key is at most {MAX_KEY} bytes, this is {len(key)}", hint="use a shorter key", size=len(key)
        )
    if len(value) > MAX_VALUE:
        raise InvalidValue(f"a value is at most {MAX_VALUE} bytes, this is {len(value)}", size=len(value))
    if b"\n" in value:
        raise InvalidValue("a value is a JSON text without raw line breaks", hint="write it compactly")


def _split(node: Node) -> tuple[bytes, Node]:
    """Move the right half (by bytes) of a page to a new one; gives the separator and the new page."""
    if isinstance(node, Leaf):
        at = _middle([len(key) + len(value) + 8 for key, value in zip(node.keys, node.values, strict=True)])
        right = Leaf.of(node.keys[at:], node.values[at:])
        del node.keys[at:], node.values[at:]
        node.size = Leaf.of(node.keys, node.values).size
        return right.keys[0], right
    at = max(1, min(_middle([len(key) + 10 for key in node.keys]), len(node.keys) - 2))
    separator = node.keys[at]
    above = Branch(node.keys[at + 1 :], node.children[at + 1 :])
    del node.keys[at:], node.children[at + 1 :]
    node.size = Branch(node.keys, node.children).size
    return separator, above


def _middle(sizes: list[int]) -> int:
    """Where to cut: at least one on either side."""
    half, total = sum(sizes) // 2, 0
    for index, size in enumerate(sizes):
        total += size
        if total >= half:
            return min(max(index + 1, 1), len(sizes) - 1)
    return len(sizes) - 1


def _join(left: Node, separator: bytes, right: Node) -> None:
    """Append `right` to `left`."""
    if isinstance(left, Leaf) and isinstance(right, Leaf):
        left.keys.extend(right.keys)
        left.values.extend(right.values)
        left.size = Leaf.of(left.keys, left.values).size
    elif isinstance(left, Branch) and isinstance(right, Branch):
        left.keys += [separator, *right.keys]
        left.children += right.children
        left.size = Branch(left.keys, left.children).size
