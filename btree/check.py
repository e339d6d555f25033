"""Checking a database: every page of the head, and of each open branch, is read and looked at.

Order of keys within and across pages, separators against the keys below them, equal depth of all leaves, counts against
the catalog, checksums (by reading), and pages below the minimum. What is found is told, all of it.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import orjson

from btree.errors import BTreeError
from btree.page import Branch, Leaf

if TYPE_CHECKING:
    from btree.database import Database


@dataclass
class CheckReport:
    """What a check walked over and found."""

    pages: int = 0
    keys: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems


def check_database(database: "Database") -> CheckReport:
    """Check the head and all open branches."""
    report = CheckReport()
    rows = database.pager.read("SELECT 'head', root FROM version WHERE seq = (SELECT max(seq) FROM version)")
    rows += database.pager.read("SELECT id, root FROM txn WHERE state = 'open'")
    for name, root in rows:
        walk = _Walk(database, report, f"{name}: catalog")
        walk.tree(root, None)
        for tree, entry in walk.entries:
            fields = orjson.loads(entry)
            _Walk(database, report, f"{name}: {tree.decode()}").tree(fields["root"], fields["count"])
    return report


class _Walk:
    """One tree."""

    def __init__(self, database: "Database", report: CheckReport, name: str) -> None:
        self._database = database
        self._report = report
        self._name = name
        self._depths: set[int] = set()
        self._count = 0
        self.entries: list[tuple[bytes, bytes]] = []

    def tree(self, root: int, count: int | None) -> None:
        self._page(root, None, None, 0)
        if len(self._depths) > 1:
            self._problem(f"leaves at depths {sorted(self._depths)}")
        if count is not None and count != self._count:
            self._problem(f"the catalog says {count} keys, there are {self._count}")

    def _problem(self, text: str) -> None:
        self._report.problems.append(f"{self._name}: {text}")

    def _page(self, page: int, lower: bytes | None, upper: bytes | None, depth: int) -> None:
        try:
            node = self._database.load(page)
        except BTreeError as error:
            self._problem(error.message)
            return
        self._report.pages += 1
        keys = node.keys
        if any(left >= right for left, right in pairwise(keys)):
            self._problem(f"page {page}: keys out of order")
        if keys and ((lower is not None and keys[0] < lower) or (upper is not None and keys[-1] >= upper)):
            self._problem(f"page {page}: a key outside of its separators")
        if isinstance(node, Leaf):
            self._leaf(page, node, depth)
        else:
            self._branch(page, node, lower, upper, depth)

    def _leaf(self, page: int, leaf: Leaf, depth: int) -> None:
        if len(leaf.values) != len(leaf.keys):
            self._problem(f"page {page}: {len(leaf.keys)} keys and {len(leaf.values)} values")
        if depth and not leaf.keys:
            self._problem(f"page {page}: an empty leaf")
        self._depths.add(depth)
        self._count += len(leaf.keys)
        self._report.keys += len(leaf.keys)
        self.entries += zip(leaf.keys, leaf.values, strict=False)

    def _branch(self, page: int, branch: Branch, lower: bytes | None, upper: bytes | None, depth: int) -> None:
        if len(branch.children) != len(branch.keys) + 1 or not branch.keys:
            self._problem(f"page {page}: {len(branch.keys)} separators and {len(branch.children)} children")
        bounds = [lower, *branch.keys, upper]
        for child, low, high in zip(branch.children, bounds, bounds[1:], strict=False):
            self._page(child, low, high, depth + 1)
