"""Checking a database: every page of everything that is kept is read and looked at, and every page of the file is accounted for.

Trees of all kept versions and open branches: order of keys within and across pages, separators against the keys below them,
equal depth of all leaves, counts against the catalog, checksums (by reading). A page that several versions share is walked
once. Then space: a page that is there without an extent, missing from its extent, or needed by nothing and listed nowhere as
dead. Then the checksums of the rows, and SQLite's own check of its file. What is found is told, all of it.

Nothing is taken from a cache, and all of it is read in one read transaction, so that others may write meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from btree.cache import PageCache
from btree.catalog import Entry
from btree.errors import BTreeError
from btree.page import Branch
from btree.pager import Pager
from btree.records import STATE, VERSION, dead_pages, unsealed, version_row

_CACHE: Final = 8 << 20


@dataclass
class CheckReport:
    """What a check walked over and found."""

    pages: int = 0
    keys: int = 0
    versions: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems


class _Subtree(NamedTuple):
    """What is below a page: its first and last key, the number of keys, the height (-1 where leaves are not level)."""

    first: bytes | None
    last: bytes | None
    keys: int
    height: int


def check_database(pager: Pager) -> CheckReport:
    """Check everything that is kept."""
    report = CheckReport()
    try:
        with pager.frozen():
            _check_rows(pager, report)
            _check(pager, report)
            texts = [text for (text,) in pager.read("PRAGMA integrity_check(10)")]
            report.problems += [f"SQLite: {text}" for text in texts if text != "ok"]
    except BTreeError as error:
        report.problems.append(error.message)
    except (TypeError, ValueError) as error:  # a value of another kind than was written
        report.problems.append(f"a row that cannot be read: {error}")
    return report


def _check_rows(pager: Pager, report: CheckReport) -> None:
    for table in ("version", "extent", "txn", "journal", "access", "savepoint", "pin"):
        columns = VERSION if table == "version" else "*"
        for row in pager.read(f"SELECT {columns} FROM {table}"):
            try:
                unsealed(row, table)
            except BTreeError as error:
                report.problems.append(error.message)


def _check(pager: Pager, report: CheckReport) -> None:
    walk = _Walk(pager, report)
    pager.newest()
    kept = f"SELECT {VERSION} FROM version WHERE root > 0 AND seq < ? ORDER BY seq"
    rows = [version_row(row) for row in pager.read(kept, (STATE,))]
    for version in rows:
        walk.catalog(f"version {version.seq}", version.root)
        report.versions += 1
        report.keys = walk.keys
    for name, root in pager.read("SELECT id, root FROM txn WHERE state = 'open'"):
        walk.catalog(f"transaction {name}", root)
    report.pages = len(walk.seen)
    _account(pager, report, walk.seen.keys() | walk.trees)


def _account(pager: Pager, report: CheckReport, needed: set[int]) -> None:
    """Every page is in one extent, and is needed, or listed as dead, or belongs to a branch."""
    ids = {page for (page,) in pager.read("SELECT id FROM page")}
    covered: set[int] = set()
    branches: set[int] = set()
    extents = "SELECT first, last, version FROM extent UNION ALL SELECT first, last, seq FROM version WHERE last > 0"
    for first, last, version in pager.read(extents):
        pages = range(first, last + 1)
        if not covered.isdisjoint(pages):
            report.problems.append(f"the extent {first}-{last} overlaps another")
        covered.update(pages)
        if version is None:
            branches.update(pages)
    dead: set[int] = set()
    for *row, listed in pager.read(f"SELECT {VERSION}, dead FROM version WHERE seq < ?", (STATE,)):
        dead.update(dead_pages(version_row(row), listed))
    _told(report, "in an extent and missing", covered - ids)
    _told(report, "in no extent", ids - covered)
    _told(report, "needed by nothing and listed nowhere as dead", ids - needed - dead - branches)


def _told(report: CheckReport, what: str, pages: set[int]) -> None:
    if pages:
        report.problems.append(f"{len(pages)} pages are {what}: {sorted(pages)[:5]}")


class _Walk:
    """Walks trees; a page that was seen is not read again."""

    def __init__(self, pager: Pager, report: CheckReport) -> None:
        self._cache = PageCache(pager, _CACHE)
        self._report = report
        self._name = ""
        self.seen: dict[int, _Subtree] = {}
        self.trees: set[int] = set()
        self.keys = 0

    def catalog(self, name: str, root: int) -> None:
        """Check a catalog and its trees."""
        self._name, self.keys = f"{name}: catalog", 0
        self._subtree(root)
        for tree, entry in self._entries(root):
            self._name = f"{name}: {tree.decode()}"
            try:
                found = Entry.decode(entry)
            except (ValueError, KeyError, TypeError):
                self._problem("an entry of the catalog that cannot be read")
                continue
            below = self._subtree(found.root)
            self.keys += below.keys
            if below.keys != found.length:
                self._problem(f"the catalog says {found.length} keys, there are {below.keys}")

    def _entries(self, root: int) -> list[tuple[bytes, bytes]]:
        level, found = [root], []
        while level:
            below: list[int] = []
            for page in level:
                try:
                    node = self._cache.node(page)
                except BTreeError:
                    continue
                if isinstance(node, Branch):
                    below += node.children
                else:
                    found += list(zip(node.keys, node.values, strict=False))
            level = below
        return found

    def _problem(self, text: str) -> None:
        self._report.problems.append(f"{self._name}: {text}")

    def _subtree(self, page: int) -> _Subtree:
        found = self.seen.get(page)
        if found is None:
            found = self.seen[page] = self._look_at(page)
        return found

    def _look_at(self, page: int) -> _Subtree:
        try:
            node = self._cache.node(page)
        except BTreeError as error:
            self._problem(error.message)
            return _Subtree(None, None, 0, -1)
        keys = node.keys
        if any(left >= right for left, right in pairwise(keys)):
            self._problem(f"page {page}: keys out of order")
        if isinstance(node, Branch):
            return self._branch(page, node)
        if len(node.values) != len(keys):
            self._problem(f"page {page}: {len(keys)} keys and {len(node.values)} values")
        return _Subtree(keys[0] if keys else None, keys[-1] if keys else None, len(keys), 0)

    def _branch(self, page: int, branch: Branch) -> _Subtree:
        if len(branch.children) != len(branch.keys) + 1 or not branch.keys:
            self._problem(f"page {page}: {len(branch.keys)} separators and {len(branch.children)} children")
        below = [self._subtree(child) for child in branch.children]
        if any(child.first is None for child in below):
            self._problem(f"page {page}: an empty page below it")
        if len({child.height for child in below}) > 1:
            self._problem(f"page {page}: the leaves below are not level")
        self._bounds(page, branch.keys, below)
        firsts = [child.first for child in below if child.first is not None]
        lasts = [child.last for child in below if child.last is not None]
        count = sum(child.keys for child in below)
        return _Subtree(firsts[0] if firsts else None, lasts[-1] if lasts else None, count, below[0].height + 1)

    def _bounds(self, page: int, separators: Sequence[bytes], below: list[_Subtree]) -> None:
        for index, child in enumerate(below):
            low = separators[index - 1] if index else None
            high = separators[index] if index < len(separators) else None
            if (low is not None and child.first is not None and child.first < low) or (
                high is not None and child.last is not None and child.last >= high
            ):
                self._problem(f"page {page}: a key outside of its separators")
