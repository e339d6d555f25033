"""Reading a B+tree: by key, by range, a page at a time.

A tree is a root page id and a count; reading follows page ids from the root. Everything that has to be quick is done a page at a
time: `leaves` hands out stretches of leaves whose values are one run of JSON, and reads the leaves below a branch
many at a time.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from btree.cache import Nodes
from btree.cursor import Cursor
from btree.page import Branch, DirtyLeaf, Leaf, Node

_AHEAD = (2, 8, 32)
"""How many leaves are read at once: few at first, for whoever wants only the first rows."""
_KEEP = 512
"""So many leaves of a scan go into the cache."""
_TOGETHER = 64
"""For so many keys at once the leaves are read together; for more of them at a time fresh memory would be needed, again and again."""
_MANY = 128
"""Of more keys than that the leaves do not go into the cache: whoever looks so many up goes on to others."""
_PART = 8
"""Up to this part of a leaf, values are made one by one."""


class LeafSlice:
    """A stretch of one leaf: page-at-a-time reading. `values_json` is the run of the stretch."""

    __slots__ = ("_leaf", "_start", "_stop", "count")

    def __init__(self, leaf: Leaf | DirtyLeaf, start: int, stop: int) -> None:
        self._leaf, self._start, self._stop = leaf, start, stop
        self.count = stop - start

    @property
    def keys(self) -> list[bytes]:
        return self._leaf.some_keys(self._start, self._stop)

    @property
    def last_key(self) -> bytes:
        return self._leaf.key(self._stop - 1)

    @property
    def values_json(self) -> bytes:
        """The values, divided by `,\\n`."""
        leaf = self._leaf
        return leaf.run if self.count == leaf.count else leaf.stretch(self._start, self._stop)

    def values(self) -> list[bytes]:
        leaf = self._leaf
        if self.count * _PART <= leaf.count:
            return [leaf.value(index) for index in range(self._start, self._stop)]
        return leaf.values[self._start : self._stop]

    def value(self, index: int) -> bytes:
        """One value, without making the others."""
        return self._leaf.value(self._start + index)

    def picked(self, indexes: Sequence[int]) -> bytes:
        """Some values, divided by `,\\n`; they are given by their places (at least one, in rising order)."""
        start = self._start
        return self._leaf.picked([start + index for index in indexes] if start else indexes)

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
        """About which share of the keys lies in lower <= key < upper, for planning: from the ways down the tree to both."""
        if lower is None and upper is None:
            return 1.0
        place, width = 0.0, 1.0
        node = self._node(self.root)
        if lower is not None and upper is not None:
            while type(node) is Branch:  # as long as it is one way
                index = bisect_right(node.keys, lower)
                if index < len(node.keys) and upper >= node.keys[index]:
                    break
                width /= len(node.children)
                place += width * index
                node = self._node(node.children[index])
        begin = self._place_of(lower, node, place, width) if lower is not None else 0.0
        end = self._place_of(upper, node, place, width) if upper is not None else 1.0
        return max(0.0, end - begin)

    def _place_of(self, key: bytes, node: Node, place: float, width: float) -> float:
        """Where a key stands below a node, from 0 to 1 in the tree, as if all pages of a level held as much."""
        while type(node) is Branch:
            index = bisect_right(node.keys, key)
            width /= len(node.children)
            place += width * index
            node = self._node(node.children[index])
        return place + width * node.place(key) / max(1, node.count)  # type: ignore[union-attr]

    def _node(self, page: int) -> Node:
        return self._cached.get(page) or self._nodes.node(page)

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
        """The values of keys, each as `get` gives it, in the order asked for. The leaves are read together, many at a time."""
        if len(keys) == 1:
            return [ReadTree.get(self, keys[0])]
        ordered = sorted(keys)
        found: list[bytes | None] = []
        for start in range(0, len(ordered), _TOGETHER):
            found += self._found(ordered[start : start + _TOGETHER], keep=len(ordered) <= _MANY)
        if ordered == keys:
            return found
        values = dict(zip(ordered, found, strict=True))
        return [values[key] for key in keys]

    def _found(self, keys: list[bytes], *, keep: bool) -> list[bytes | None]:
        """The values of keys that are in order, from the root down a level at a time."""
        cached = self._cached
        nodes, starts = [self._node(self.root)], [0]
        while type(nodes[0]) is Branch:
            pages, begins, last = [], [], None
            for branch, start, stop in zip(nodes, starts, [*starts[1:], len(keys)], strict=True):
                separators, children = branch.keys, branch.children  # type: ignore[union-attr]
                for at in range(start, stop):
                    page = children[bisect_right(separators, keys[at])]
                    if page != last:
                        pages.append(page)
                        begins.append(at)
                        last = page
            found = [cached.get(page) for page in pages]
            nodes = self._nodes.nodes(pages, keep=keep, ways=True) if None in found else found  # type: ignore[assignment]
            starts = begins
        values: list[bytes | None] = []
        for leaf, start, stop in zip(nodes, starts, [*starts[1:], len(keys)], strict=True):
            for at in range(start, stop):
                values.append(leaf.find(keys[at]))  # type: ignore[union-attr]
        return values

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
        node = self._node(self.root)
        while type(node) is Branch:  # as long as it is one way
            index = bisect_right(node.keys, lower) if lower is not None else 0
            if index < len(node.keys) and (upper is None or upper > node.keys[index]):
                break
            node = self._node(node.children[index])
        # Only the first leaf reaches below the range and only the last beyond it: of no other are the keys needed.
        for leaves, ends in self._walk([node], lower, upper, [0]):
            cut = leaves[-1] if ends else None
            for leaf in leaves:
                start, stop = 0, leaf.count
                if lower is not None:
                    start, lower = leaf.place(lower), None
                if leaf is cut and upper is not None:
                    stop = leaf.place(upper, start)
                if stop > start:
                    yield LeafSlice(leaf, start, stop)

    def _walk(
        self, nodes: list[Node], lower: bytes | None, upper: bytes | None, read: list[int], ends: bool = True
    ) -> Iterator[tuple[list[Leaf | DirtyLeaf], bool]]:
        """The leaves below some nodes of a level that may hold keys of a range, in order and many at a time, and whether its end is in
        or behind the last of these. `read` counts them; `ends` tells the same of the nodes."""
        if type(nodes[0]) is not Branch:
            yield nodes, ends  # type: ignore[misc]
            return
        for branch in nodes:
            assert isinstance(branch, Branch)
            final = ends and branch is nodes[-1]
            first = bisect_right(branch.keys, lower) if lower is not None else 0
            last = bisect_left(branch.keys, upper) if upper is not None else len(branch.keys)
            at, children = first, branch.children
            while at <= last:
                many = min(_AHEAD[min(read[0] // 2, 2)], last + 1 - at)
                read[0] += many
                found = self._nodes.nodes(children[at : at + many], keep=read[0] < _KEEP)
                at += many
                yield from self._walk(found, lower, upper, read, final and at > last)

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
