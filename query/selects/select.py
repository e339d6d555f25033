"""select: rows of a store, lazily.

The plan says which stretches of which path to read; what is left of the filter is tested slice by slice (see `rows`).
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from btree import LeafEdit
from query.errors import InvalidQuery
from query.filters.pages import page_filter
from query.selects.access import Slice, slices
from query.selects.plan import plan_select
from query.selects.rows import RowsQuery, Tie, check_window
from query.stores.store import Record, Store, View, open_store
from query.values import keycode
from query.values.boxes import COMPLEMENT
from query.values.fields import compile_projection

_FEW: Final = 400
"""Rows for which it does not pay to make a quick filter."""


def select(
    view: View,
    store: str,
    *,
    filter: Mapping[str, Any] | None = None,
    key: Any = None,
    fields: Sequence[str] | None = None,
    order_by: str | Sequence[str] | None = None,
    limit: int | None = None,
    offset: int = 0,
    indexes: bool = True,
) -> "Selection":
    """Rows of a store; `indexes=False` leaves secondary indexes out of the plan.

    Raises QueryError before the first row for whatever is wrong with the query.
    """
    opened = open_store(view, store)
    return Selection(opened, key_and_filter(opened, filter, key), fields, order_by, limit, offset, indexes=indexes)


def key_and_filter(store: Store, where: Mapping[str, Any] | None, key: Any) -> Mapping[str, Any]:
    """The filter with the key as equalities. Raises InvalidQuery, InvalidKeyValue."""
    if where is not None and not isinstance(where, Mapping):
        raise InvalidQuery(f"a filter is an object, not {where!r}", pointer="/filter")
    if key is None:
        return where or {}
    conditions = dict(where or {})
    values = keycode.decode(store.encode_key(key))
    for field, value in zip(store.info.primary_key, values, strict=True):
        if field in conditions:
            raise InvalidQuery(f"{field} is in the key and in the filter", pointer=f"/filter/{field}")
        conditions[field] = {"$eq": value}
    return conditions


class Selection(RowsQuery):
    """The rows of a select."""

    def __init__(
        self,
        store: Store,
        where: Mapping[str, Any],
        fields: Sequence[str] | None,
        order_by: str | Sequence[str] | None,
        limit: int | None,
        offset: int,
        *,
        indexes: bool = True,
    ) -> None:
        limit, offset = check_window(limit, offset)
        self.store = store
        self._editing = False
        wanted = None if limit is None else limit + offset
        self._plan = plan_select(store, where, order_by, wanted, indexes=indexes)
        projection = compile_projection(fields, store.fields)
        rest = page_filter(self._plan.residual, few=self._plan.rows < _FEW)
        super().__init__(rest, self._plan.sort, projection, limit, offset)

    @property
    def plan(self) -> dict[str, Any]:
        """The plan, and what was read so far."""
        return {**self._plan.to_dict(), **self.progress}

    @property
    def by_primary_key(self) -> bool:
        """Whether its keys are those of the rows, in their order."""
        return self._plan.index is None and not self._sort

    @property
    def editable(self) -> bool:
        """Whether its rows are stretches of pages in their order, which may be changed while they are read."""
        return self.by_primary_key and not self._plan.reverse

    def edits(self) -> Iterator[tuple[LeafEdit, Sequence[int]]]:
        """Pages to be changed, where it is `editable`, and the places of the rows in them."""
        self._editing = True
        for page, _, chosen in self._chosen(None):
            assert isinstance(page, LeafEdit)
            yield page, range(page.count) if chosen is None else chosen

    def slices(self, after: bytes | None = None) -> Iterator[Slice]:
        return slices(self.store, self._plan, after, edit=self._editing)

    def _ties(self, *, descending: bool) -> Tie | None:
        """By the primary key, in the direction of the order's last field."""
        if self._plan.index is None:
            return (lambda record, key: key.translate(COMPLEMENT)) if descending else None
        key_of = self.store.key_of
        return (
            (lambda record, key: key_of(record).translate(COMPLEMENT))
            if descending
            else lambda record, key: key_of(record)
        )

    def _count_all(self) -> int:
        if self._filter is None and self._plan.access == "scan":
            return self.store.count()
        return super()._count_all()


def select_page(
    view: View, query: Mapping[str, Any], *, after: bytes | None, limit: int, done: int = 0
) -> tuple[list[Record], bytes | None]:
    """One page of a row reference's query: at most `limit` records behind the key `after`, and where the next page goes on.

    `done` rows were read by the pages before; a query's own limit counts them. Raises InvalidQuery for an order that has to be sorted.
    """
    selection = _paged(view, query)
    size = limit if query.get("limit") is None else min(limit, query["limit"] - done)
    more = query.get("limit") is None or query["limit"] - done > limit
    rows = list(islice(selection.pairs(after), size + 1))
    following = rows[size - 1][0] if more and len(rows) > size else None
    return [record for _, record in rows[:size]], following


def select_places(view: View, query: Mapping[str, Any], *, every: int, after: bytes | None) -> Iterator[bytes]:
    """The key of each `every`-th row of a row reference's query behind the key `after`, without making the rows.

    The query's own limit is not looked at: the caller knows how many rows there are. Raises like `select_page`.
    """
    return _paged(view, query).places(every, after)


def _paged(view: View, query: Mapping[str, Any]) -> Selection:
    parts: dict[str, Any] = {name: query.get(name) for name in ("filter", "key", "fields", "order_by")}
    selection = select(view, query["store"], **parts, offset=query.get("offset") or 0)
    if not selection.in_key_order:
        raise InvalidQuery(
            "rows are paged in the order of a key or an index only",
            pointer="/order_by",
            hint="order by the primary key or an index, or leave it out",
        )
    return selection
