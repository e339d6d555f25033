"""Reading a B+tree: by key, by range, a page at a time.

A tree is a root page id and a count; reading follows page ids from the root. Everything that has to be quick is done a page at a
time: `leaves` hands out stretches of leaves whose values are one run of JSON, and reads the leaves below a branch
many at a time.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from btree.cache import Nodes
from btree.cursor import Cursor
from btree.page import SEPARATOR, Branch, DirtyLeaf, Leaf, Node

_AHEAD = (2, 8, 32)
"""How many leaves are read at once: few at first, for whoever wants only the first rows."""
_KEEP = 512
"""So many leaves of a scan go into the cache."""


class LeafSlice:
    """A stretch of one leaf: page-at-a-time reading. `values_json` is the run of the stretch."""

    __slots__ = ("_leaf", "_start", "_stop", "count")

    def __init__(self, leaf: Leaf | DirtyLeaf, start: int, stop: int) -> None:
        self._leaf, self._start, self._stop = leaf, start, stop
        self.count = stop - start

    @property
    def keys(self) -> list[bytes]:
        return list(self._leaf.keys[self._start : self._stop])

    @property
    def last_key(self) -> bytes:
        return self._leaf.keys[self._stop - 1]

    @property
    def values_json(self) -> bytes:
        """The values, divided by `,\\n`."""
        leaf = self._leaf
        if self.count == leaf.count:
            return leaf.run
        return SEPARATOR.join(self._leaf.values[self._start : self._stop])

    def values(self) -> list[bytes]:
        return self._leaf.values[self._start : self._stop]

    def value(self, index: int) -> bytes:
        """One value, without making the others."""
        return self._leaf.value(self._start + index)

    def packed_keys(self) -> tuple[int, bytes] | None:
        """The keys one behind the other, and how long each is; None where that is not at hand: they differ in length, for one."""
        found = self._leaf.packed_keys()
        if found is None or self.count == self._leaf.count:
            return found
        width, keys = found
        return width, keys[self._start * width : self._stop * width]


class ReadTree:
    """A tree in some version. Keys are ordered bytes, values JSON texts as bytes."""

    def __init__(self, nodes: Nodes, root: int, count: int) -> None:
        self._nodes = nodes
        self._cached = nodes.cached
        self.root = root
        self._count = count

    def count(self) -> int:
        """How many keys."""
        return self._count

    @property
    def length(self) -> int:
        """How many keys are in the pages, for planning: it does not count as reading."""
        return self._count

    def share(self, lower: bytes | None, upper: bytes | None) -> float:
        """About which share of the keys lies in lower <= key < upper, for planning: from two ways down the tree."""
        begin = self._place_of(lower) if lower is not None else 0.0
        end = self._place_of(upper) if upper is not None else 1.0
        return max(0.0, end - begin)

    def _place_of(self, key: bytes) -> float:
        """Where a key stands, from 0 to 1, as if all pages of a level held as much."""
        place, width = 0.0, 1.0
        node = self._nodes.node(self.root)
        while isinstance(node, Branch):
            index = bisect_right(node.keys, key)
            width /= len(node.children)
            place += width * index
            node = self._nodes.node(node.children[index])
        return place + width * bisect_left(node.keys, key) / max(1, node.count)

    def get(self, key: bytes) -> bytes | None:
        """The value of a key."""
        cached, page = self._cached, self.root
        try:
            node = cached[page]
            while type(node) is Branch:
                page = node.children[bisect_right(node.keys, key)]
                node = cached[page]
        except KeyError:  # not at hand: the rest of the way through the cache
            node = self._nodes.node(page)
            while type(node) is Branch:
                node = self._nodes.node(node.children[bisect_right(node.keys, key)])
        return node.find(key)  # type: ignore[union-attr]

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of some keys, which are in order: each page on the way is read once, and those of a level many at a time."""
        found: list[bytes | None] = []
        if keys:
            self._find([self._nodes.node(self.root)], [keys], found, keep=len(keys) <= _AHEAD[-1])
        return found

    def _find(self, nodes: list[Node], wanted: list[Sequence[bytes]], found: list[bytes | None], *, keep: bool) -> None:
        """Add the values of the keys that are wanted of each of some nodes of a level."""
        for node, keys in zip(nodes, wanted, strict=True):
            if not isinstance(node, Branch):
                found += map(node.find, keys)
                continue
            places = [bisect_right(node.keys, key) for key in keys]
            ways = list(dict.fromkeys(places))
            below, start = list[Sequence[bytes]](), 0
            for way in ways:
                end = bisect_right(places, way, start)
                below.append(keys[start:end])
                start = end
            for at in range(0, len(ways), _AHEAD[-1]):
                some = [node.children[way] for way in ways[at : at + _AHEAD[-1]]]
                self._find(self._nodes.nodes(some, keep=keep), below[at : at + _AHEAD[-1]], found, keep=keep)

    def cursor(self) -> Cursor:
        """A new cursor, standing nowhere."""
        return Cursor(self._nodes.node, self.root)

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
        cursor = Cursor(self._nodes.node, self.root)
        if upper is None:
            valid = cursor.last()
        else:
            valid = cursor.previous() if cursor.seek(upper) else cursor.last()
        while valid and (lower is None or cursor.key >= lower):
            yield cursor.key, cursor.value
            valid = cursor.previous()

    def leaves(self, lower: bytes | None = None, upper: bytes | None = None) -> Iterator[LeafSlice]:
        """The same pairs a page at a time."""
        if lower is not None and upper is not None and lower >= upper:
            return
        for leaves in self._walk([self._nodes.node(self.root)], lower, upper, [0]):
            for leaf in leaves:
                start = bisect_left(leaf.keys, lower) if lower is not None else 0
                stop = bisect_left(leaf.keys, upper, start) if upper is not None else leaf.count
                if stop > start:
                    yield LeafSlice(leaf, start, stop)
                lower = None

    def _walk(
        self, nodes: list[Node], lower: bytes | None, upper: bytes | None, read: list[int]
    ) -> Iterator[list[Leaf | DirtyLeaf]]:
        """The leaves below some nodes of a level that may hold keys of a range, in order, many at a time. `read` counts them."""
        if type(nodes[0]) is not Branch:
            yield nodes  # type: ignore[misc]
            return
        for branch in nodes:
            assert isinstance(branch, Branch)
            first = bisect_right(branch.keys, lower) if lower is not None else 0
            last = bisect_left(branch.keys, upper) if upper is not None else len(branch.keys)
            at, children = first, branch.children
            while at <= last:
                many = min(_AHEAD[min(read[0] // 2, 2)], last + 1 - at)
                read[0] += many
                yield from self._walk(
                    self._nodes.nodes(children[at : at + many], keep=read[0] < _KEEP), lower, upper, read
                )
                at += many

    def separators(self, parts: int) -> list[bytes]:
        """At most `parts - 1` keys that divide the key range into about equal numbers of pages."""
        level = [self._nodes.node(self.root)]
        keys: list[bytes] = []
        while isinstance(level[0], Branch) and len(keys) < parts - 1:
            keys = []
            for position, node in enumerate(level):
                keys += node.keys
                if position + 1 < len(level):
                    keys.append(self._first_key(level[position + 1]))
            level = [self._nodes.node(child) for node in level if isinstance(node, Branch) for child in node.children]
        if len(keys) < parts:
            return keys
        return [keys[len(keys) * part // parts] for part in range(1, parts)]

    def _first_key(self, node: Node) -> bytes:
        while isinstance(node, Branch):
            node = self._nodes.node(node.children[0])
        return node.keys[0]
