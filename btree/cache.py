"""Decoded pages, kept within a budget of bytes.

Pages are immutable and their ids are never reused, so an entry can never be wrong and nothing is ever invalidated. The
oldest entries go first when the budget is used up: simpler than least-recently-used, and free on a hit.
"""

import threading

from btree.page import Node


class PageCache:
    """Nodes by page id; safe for threads."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._nodes: dict[int, Node] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, page: int) -> Node | None:
        return self._nodes.get(page)

    def put(self, page: int, node: Node) -> None:
        with self._lock:
            if page in self._nodes:
                return
            self._nodes[page] = node
            self._bytes += 2 * node.size
            while self._bytes > self._budget and len(self._nodes) > 1:
                oldest = next(iter(self._nodes))
                self._bytes -= 2 * self._nodes.pop(oldest).size
