"""Filtering whole pages: the same answers as `compile_filter`, several times faster.

A page hands out its values as one run of JSON texts divided by `,\\n`. With brackets around it a run is a JSON array, and msgspec
decodes it in one call into rows: objects that have only the top-level fields which the filter reads. Everything else is skipped
without being built. Over the rows runs one function that `page_source` makes of the filter.

Before that, a page is passed over where a text that every match contains does not occur (`needles`).

Where a filter only compares a field with numbers, the field is first taken for one that holds numbers: the decoder sees to it, and
the function need not look at types. A missing number is NaN, which compares like a missing value: with nothing. A page that has
something else there is decoded once more, without this hope, and when that has happened too often the hope is given up.
"""

import marshal
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from query.filters.needles import lacks, needles
from query.filters.predicates import record_test
from query.filters.source import Find, find_source, numeric_fields, paths
from query.filters.tree import Node, parse_filter, top_level_fields
from query.values.members import attributes_of, is_plain, member_struct
from query.values.values import MISSING

_DISAPPOINTMENTS: Final = 8
"""After so many pages with something else than numbers they are no longer expected."""
_PATHS: Final = 200
"""A filter that reads more paths has records decoded whole: little would be skipped."""
_LARGE: Final = 2000
"""Filters of up to so many bytes are kept, for the next query that has the same."""

Decode = Callable[[bytes], list[Any]]


class PageFilter:
    """A filter for the runs of pages. Good for any number of threads."""

    __slots__ = ("_decode", "_find", "_hoped", "_misses", "_needles")

    def __init__(
        self,
        decode: Decode,
        find: Find,
        hoped: tuple[Decode, Find] | None = None,
        needed: tuple[bytes, ...] | None = None,
    ) -> None:
        self._decode, self._find = decode, find
        self._hoped = hoped
        self._needles = needed
        self._misses = 0

    def again(self) -> "PageFilter":
        """The same filter with hopes of its own."""
        return PageFilter(self._decode, self._find, self._hoped, self._needles)

    def matches(self, run: bytes) -> list[int]:
        """The places of the matching records in a run.

        Raises msgspec.DecodeError where it decodes what is no run of JSON objects.
        """
        if self._needles is not None and lacks(run, self._needles):
            return []
        text = b"[%b]" % run
        hoped = self._hoped
        if hoped is not None:
            try:
                return hoped[1](hoped[0](text))
            except msgspec.ValidationError:
                self._disappoint()
        return self._find(self._decode(text))

    def match(self, value: bytes) -> bool:
        """Whether the record with this JSON text matches."""
        return bool(self.matches(value))

    def keep(self, run: bytes) -> tuple[int, bytes]:
        """How many records of a run match, and the run of these."""
        found = self.matches(run)
        every = found and len(found) == run.count(b"\n") + 1
        return len(found), run if every else values_at(run, found)

    def _disappoint(self) -> None:
        """There was something else than numbers."""
        self._misses += 1
        if self._misses >= _DISAPPOINTMENTS:
            self._hoped = None


def page_filter(
    query: Mapping[str, Any] | None,
    pointer: str = "/filter",
    fields: Collection[str] | None = None,
    *,
    few: bool = False,
) -> PageFilter | None:
    """A filter for runs; None where everything matches. For `few` rows it is made quickly, and works slower.

    Raises what `compile_filter` raises.
    """
    if query is None or query == {}:
        return None
    try:
        key = marshal.dumps(query, 2)  # type: ignore[arg-type]  # equal bytes are equal values of equal types
    except ValueError:  # no plain JSON
        key = b""
    if fields is None and 0 < len(key) <= _LARGE:
        return _kept(key, pointer, few).again()
    return _made(query, pointer, fields, few=few)


@lru_cache(maxsize=128)
def _kept(key: bytes, pointer: str, few: bool) -> PageFilter:
    """A filter that was made before, for a query as bytes. Nobody searches with it."""
    return _made(marshal.loads(key), pointer, None, few=few)


def _made(query: Mapping[str, Any], pointer: str, fields: Collection[str] | None, *, few: bool) -> PageFilter:
    tree = parse_filter(query, pointer, fields)
    names = sorted(top_level_fields(tree))
    if few or len(paths(tree)) > _PATHS or not all(map(is_plain, names)):
        return _plain(tree)
    needed = needles(tree)
    attributes = attributes_of(names)
    numbers = numeric_fields(tree)
    hoped = (_decoder(attributes, numbers), find_source(tree, attributes, numbers)) if numbers else None
    return PageFilter(_decoder(attributes, set()), find_source(tree, attributes, set()), hoped, needed)


def values_at(run: bytes, indexes: list[int]) -> bytes:
    """The run of some values of a run, which are given by their places in rising order."""
    if not indexes:
        return b""
    texts = run.split(b"\n")  # sooner done than at the separator; every text but the last keeps its comma
    return b"\n".join([texts[index] for index in indexes]).removesuffix(b",")


def _decoder(attributes: Mapping[str, str], numbers: Collection[str]) -> Decode:
    """From the JSON of an array of records to rows with these attributes, of which some hold numbers."""
    kinds = [(float, float("nan")) if name in numbers else (Any, MISSING) for name in attributes]
    row = member_struct(attributes, kinds)
    return msgspec.json.Decoder(list[row]).decode  # type: ignore[valid-type]


def _plain(tree: Node) -> PageFilter:
    """Records are decoded whole."""
    test = record_test(tree)
    return PageFilter(
        msgspec.json.Decoder(list[dict[str, Any]]).decode,
        lambda rows: [index for index, row in enumerate(rows) if test(row)],
    )
