"""What a transaction has read and touched, so that a commit can tell whether somebody changed it.

For each tree: the keys that were read (also absent ones), the ranges that were read, and the keys that were *touched*. A write shows
in the difference between the branch and its base, but for a write that leaves a key as it was (put of the same value,
a change and back); such keys are noted as touched, and conflict like any other write.

A range is [lower, upper): bytes, or None for no bound. Where there are very many points they are taken together to ranges
that cover them, which may only make a conflict out of none, never the reverse. Tree names are read and touched like keys, in
the tree "".
"""

from collections.abc import Callable
from typing import Any, Final

import orjson

CATALOG: Final = ""
MANY: Final = 20_000
_COARSE: Final = 64

Range = list[bytes | None]


class TreeAccess:
    """What was done to one tree. `live` are ranges that are being read now, and still grow."""

    __slots__ = ("live", "points", "ranges", "touched", "touched_ranges")

    def __init__(self) -> None:
        self.points: set[bytes] = set()
        self.ranges: list[Range] = []
        self.live: list[Range] = []
        self.touched: set[bytes] = set()
        self.touched_ranges: list[Range] = []

    def __bool__(self) -> bool:
        return bool(self.points or self.ranges or self.live or self.touched or self.touched_ranges)

    def read(self, lower: bytes | None, upper: bytes | None) -> None:
        """Note a range that was read."""
        self.ranges.append([lower, upper])
        if len(self.ranges) > MANY:
            self.ranges = joined(self.ranges)
            if len(self.ranges) > MANY // 2:
                self.ranges = _coarser(self.ranges)

    def begin(self, lower: bytes | None) -> Range:
        """Note a range that begins at `lower`, and is widened while it is read."""
        noted: Range = [lower, lower if lower is not None else b""]
        self.live.append(noted)
        return noted

    def end(self, noted: Range) -> None:
        """A range that was being read is complete."""
        self.live = [other for other in self.live if other is not noted]
        self.read(*noted)

    def all_ranges(self) -> list[Range]:
        """The ranges that were read, and those that cover the points where there are very many."""
        many = _cover(self.points) if len(self.points) > MANY else []
        return joined([*self.ranges, *self.live, *many])

    def all_points(self) -> set[bytes]:
        return self.points if len(self.points) <= MANY else set()

    def all_touched(self) -> tuple[set[bytes], list[Range]]:
        """Keys and ranges that were touched."""
        if len(self.touched) <= MANY:
            return self.touched, self.touched_ranges
        return set(), joined([*self.touched_ranges, *_cover(self.touched)])


class Access:
    """What was done to all trees since the last save."""

    def __init__(self) -> None:
        self._trees: dict[str, TreeAccess] = {}

    def __bool__(self) -> bool:
        return any(self._trees.values())

    @property
    def has_touched(self) -> bool:
        """Whether anything was touched."""
        return any(done.touched or done.touched_ranges for done in self._trees.values())

    def tree(self, name: str) -> TreeAccess:
        """The notes for a tree."""
        found = self._trees.get(name)
        if found is None:
            found = self._trees[name] = TreeAccess()
        return found

    def trees(self) -> dict[str, TreeAccess]:
        """The trees that something was done to, but for the catalog."""
        return {name: done for name, done in self._trees.items() if done and name != CATALOG}

    def encode(self) -> bytes:
        """As JSON; bytes are written as Latin-1 text."""
        fields = {}
        for name, done in self._trees.items():
            if done:
                touched, touched_ranges = done.all_touched()
                fields[name] = {
                    "points": [_text(key) for key in done.all_points()],
                    "ranges": [[_text(end) for end in noted] for noted in done.all_ranges()],
                    "touched": [_text(key) for key in touched],
                    "touched_ranges": [[_text(end) for end in noted] for noted in touched_ranges],
                }
        return orjson.dumps(fields)

    def add(self, encoded: bytes) -> None:
        """Take in what was noted for an earlier save."""
        fields: dict[str, dict[str, Any]] = orjson.loads(encoded)
        for name, done in fields.items():
            into = self.tree(name)
            into.points.update(key.encode("latin-1") for key in done["points"])
            into.touched.update(key.encode("latin-1") for key in done["touched"])
            into.ranges += [[_bytes(end) for end in noted] for noted in done["ranges"]]
            into.touched_ranges += [[_bytes(end) for end in noted] for noted in done["touched_ranges"]]


class Reading:
    """A range that is being read, from `lower` on; it is noted before what is in it is handed out."""

    def __init__(self, access: Callable[[], TreeAccess], lower: bytes | None) -> None:
        self._access = access
        self._done = access()
        self._noted = self._done.begin(lower)

    def widen(self, upper: bytes | None) -> None:
        """Note that it reaches to `upper` (or, narrower, that it did not get as far as was noted)."""
        done = self._access()
        if done is not self._done:  # the notes up to here were saved
            self._done, self._noted = done, done.begin(self._noted[1])
        self._noted[1] = upper

    def end(self, upper: bytes | None) -> None:
        """It was read to `upper`, and no further."""
        self.widen(upper)
        self._done.end(self._noted)


def after(key: bytes) -> bytes:
    """The smallest key greater than `key`."""
    return key + b"\x00"


def _text(key: bytes | None) -> str | None:
    return None if key is None else key.decode("latin-1")


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("latin-1")


def _cover(points: set[bytes]) -> list[Range]:
    ordered = sorted(points)
    return [
        [ordered[start], after(ordered[min(start + _COARSE, len(ordered)) - 1])]
        for start in range(0, len(ordered), _COARSE)
    ]


def _coarser(ranges: list[Range]) -> list[Range]:
    """Fewer ranges that cover these, which are in order."""
    groups = [ranges[start : start + _COARSE] for start in range(0, len(ranges), _COARSE)]
    return [[group[0][0], group[-1][1]] for group in groups]


def joined(ranges: list[Range]) -> list[Range]:
    """Ranges that overlap or meet become one."""
    found: list[Range] = []
    for lower, upper in sorted(ranges, key=lambda noted: noted[0] or b""):
        if upper is not None and (lower or b"") >= upper:
            continue
        last = found[-1] if found else None
        if last is not None and (last[1] is None or (lower or b"") <= last[1]):
            if last[1] is not None and (upper is None or upper > last[1]):
                last[1] = upper
        else:
            found.append([lower, upper])
    return found
