"""Reading pages, with the decoded ones kept within a budget of bytes.

Pages are immutable and their ids are never given out twice, so an entry can never be wrong and nothing is ever invalidated.
The oldest leaves go first when the budget is used up: simpler than least-recently-used, and free on a hit. Branches, which all ways
lead through, stay while they take up less than a sixteenth of it. A scan reads its leaves many at a time, and puts only the first of
them into the cache: a scan of a large tree does not push everything else out.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from btree.errors import Corrupted, VersionNotFound
from btree.page import Branch, Leaf, Node, decode
from btree.pager import Pager
from btree.records import VERSION, ExtentRow, unsealed, version_row

DECODED: Final = 3
"""How many bytes of memory a byte of a page takes when its keys and values are Python objects (measured: 2.2 to 3.4)."""


class Nodes(Protocol):
    """Where a tree gets its nodes from."""

    @property
    def cached(self) -> Mapping[int, Node]:
        """Nodes that are at hand; to look there first saves a call."""
        ...

    def node(self, page: int) -> Node: ...

    def nodes(self, pages: Sequence[int], *, keep: bool, ways: bool = False) -> list[Node]:
        """Several of one level, in the order asked for; with `keep` they go into the cache, with `ways` if they are branches."""
        ...


class PageCache:
    """Decoded pages of one file, by id; safe for threads."""

    def __init__(self, pager: Pager, budget: int) -> None:
        self.budget = budget
        self._pager = pager
        self._nodes: dict[int, Leaf | Branch] = {}
        self._bytes = self._branches = 0
        self._lock = threading.Lock()

    @property
    def cached(self) -> Mapping[int, Node]:
        return self._nodes

    @property
    def used(self) -> int:
        """Bytes in use, estimated."""
        return self._bytes

    def node(self, page: int) -> Node:
        """A page, decoded. Raises Corrupted; VersionNotFound if the page was given back because no kept version needs it."""
        found = self._nodes.get(page)
        if found is None:
            try:
                found = decode(page, self._pager.page(page))
            except Corrupted:
                self._explain(page)
                raise
            self.keep([(page, found)])
        return found

    def nodes(self, pages: Sequence[int], *, keep: bool, ways: bool = False) -> list[Node]:
        """Several pages, decoded. Raises like `node`."""
        cached = self._nodes
        absent = [page for page in pages if page not in cached]
        try:
            read = list(map(decode, absent, self._pager.pages(absent))) if absent else []
        except Corrupted as error:
            self._explain(error.details.get("page", 0))
            raise
        if keep or (ways and read and type(read[0]) is Branch):
            self.keep(zip(absent, read, strict=True))
        if len(read) == len(pages):
            return read  # type: ignore[return-value]
        at_hand = dict(zip(absent, read, strict=True))
        return [at_hand.get(page) or self.node(page) for page in pages]

    def keep(self, pages: Iterable[tuple[int, Leaf | Branch]]) -> None:
        """Remember pages."""
        with self._lock:
            nodes, size, branches = self._nodes, 0, 0
            for page, node in pages:
                if page not in nodes:
                    nodes[page] = node
                    size += node.size
                    if type(node) is Branch:
                        branches += node.size
            self._bytes += DECODED * size
            self._branches += DECODED * branches
            if self._bytes > self.budget:
                self._evict()

    def _evict(self) -> None:
        """Make room, many pages at a time: walking to a dictionary's oldest entry takes longer with every one removed."""
        nodes, over = self._nodes, self._bytes - self.budget * 15 // 16
        branches, newest = self._branches - self.budget // 16, next(reversed(nodes))
        gone: list[int] = []
        stay: list[int] = []
        for page, node in nodes.items():
            if over <= 0 or page == newest:
                break
            size = DECODED * node.size
            if type(node) is not Branch:
                gone.append(page)
                over -= size
            elif branches > 0:
                gone.append(page)
                over -= size
                branches -= size
            else:
                stay.append(page)
        for page in gone if over <= 0 else gone + stay:
            node = nodes.pop(page)
            self._bytes -= DECODED * node.size
            if type(node) is Branch:
                self._branches -= DECODED * node.size
        if over <= 0:
            for page in stay:  # behind the leaves, so that the next walk is not longer
                nodes[page] = nodes.pop(page)

    def _explain(self, page: int) -> None:
        """Every page of the file is in an extent, or in the row of its version; one that is in none was given back."""
        rows = self._pager.read("SELECT * FROM extent WHERE first <= ? ORDER BY first DESC LIMIT 1", (page,))
        young = self._pager.read(f"SELECT {VERSION} FROM version WHERE first <= ? AND last >= ?", (page, page))
        lasts = [ExtentRow(*unsealed(row, "extent")).last for row in rows] + [version_row(row).last for row in young]
        if all(last < page for last in lasts):
            raise VersionNotFound(
                "the version that is being read is not kept any more",
                hint="read the newest version; pin a version to go on reading it for long, or keep versions for longer",
            )
