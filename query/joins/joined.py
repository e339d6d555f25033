"""join: rows of two stores that belong together, lazily.

    joined row      {left name: record or null, right name: record or null}; semi and anti: {left name: record}

    1. `spec` reads what is asked for                         4. `merge`, `lookup` or `hashing` make joined rows,
    2. `pushdown` tests on each side what can be tested there    with `matching`, from `sides`
    3. `planning` chooses a method                            5. `query.rows` does the rest: filter, order, limit, fields

Two rows belong together if the values of all join fields are equal, as keys are: 1 and 1.0 are, true and 1 are not. A null or a missing
value is equal to nothing. Where several rows have the same values, each left row meets each right one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from query.errors import InvalidQuery, placed
from query.filters.conditions import conjuncts, together
from query.filters.pages import page_filter
from query.filters.predicates import compile_filter
from query.joins.chains import JoinedSide, in_order_of, keeps_order, names_on_the_left
from query.joins.columns import Shape
from query.joins.hashing import KEYS, HashJoin
from query.joins.lookup import Lookup
from query.joins.matching import Matcher
from query.joins.merge import Merge
from query.joins.paths import JoinPath, decoded
from query.joins.planning import JoinedInput, StoreInput, choose
from query.joins.projection import JoinedProjection
from query.joins.pushdown import paths_of, push_down
from query.joins.sides import JoinKeys, Side, StoreSide
from query.joins.spec import METHODS, JoinSpec, StoreSpec, check_name, nearest, parse_join
from query.selects.access import Slice
from query.selects.plan import Plan
from query.selects.rows import RowsQuery, Tie, check_window
from query.selects.select import key_and_filter
from query.sorting.sorting import BUDGET, OrderItem, parse_order
from query.stores.store import Record, Store, View, open_store
from query.values.boxes import COMPLEMENT
from query.values.fields import Projection, compile_projection

_NO_RECORD: Final = b"\x00"
Views = Callable[[str], View]


def join(
    view: View,
    *,
    left: Any,
    right: Any,
    on: Any,
    type: str = "inner",
    filter: Mapping[str, Any] | None = None,
    fields: Sequence[str] | None = None,
    order_by: str | Sequence[str] | None = None,
    limit: int | None = None,
    offset: int = 0,
    views: Views | None = None,
    indexes: bool = True,
    method: str | None = None,
    budget_bytes: int = BUDGET,
) -> "Joined":
    """Joined rows of two sides; `spec` says what a side and `on` may be.

    `views` gives the view of another database, where a right side names one. `indexes=False` leaves secondary indexes out; `method`
    forces merge, lookup or hash; `budget_bytes` is the memory that a hash join's table may take. Raises QueryError before the first row for
    whatever is wrong with the query.
    """
    limit, offset = check_window(limit, offset)
    if method is not None and method not in METHODS:
        raise InvalidQuery(f"there is no method {method!r}", pointer="/method", hint=nearest(str(method), METHODS))
    spec = parse_join(left, right, on, type, where=filter)
    return Joined(
        view,
        spec,
        fields=fields,
        order_by=order_by,
        limit=limit,
        offset=offset,
        views=views,
        indexes=indexes,
        method=method,
        budget_bytes=budget_bytes,
    )


class Joined(RowsQuery):
    """The rows of a join. Their keys are the keys by which the left rows were read, empty where there is none."""

    def __init__(
        self,
        view: View,
        spec: JoinSpec,
        *,
        fields: Sequence[str] | None = None,
        order_by: str | Sequence[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
        views: Views | None = None,
        indexes: bool = True,
        method: str | None = None,
        budget_bytes: int = BUDGET,
    ) -> None:
        self.spec = spec
        self._budget = budget_bytes
        self._stores: dict[str, Store] = {}
        chain = isinstance(spec.left, JoinSpec)
        where_pointer = f"{spec.pointer}/filter"
        compile_filter(spec.filter, where_pointer, spec.names)
        pushed = self._pushed = push_down(spec.filter, spec.left_names, spec.right.name, spec.type, chain=chain)
        self._options: dict[str, Any] = {"views": views, "indexes": indexes, "budget_bytes": budget_bytes}
        self._inner: Joined | None = None
        left: StoreInput | JoinedInput
        if isinstance(spec.left, JoinSpec):
            self._inner = self._chained(view, spec.left)
            names = tuple(pair[0] for pair in spec.on)
            left = JoinedInput(names, self._inner.estimated_rows, self._inner.estimated_cost, self._inner.in_order_of)
        else:
            fields_left = tuple(pair[0] for pair in spec.on)
            left = self._input(view, spec.left, fields_left, pushed.left)
        right = self._input(
            _view_of(view, spec.right, views), spec.right, tuple(pair[1] for pair in spec.on), pushed.right
        )
        self._left, self._right = left, right
        self._check_on()
        if spec.filter:
            for path, place in paths_of(spec.filter, where_pointer):
                self._check_path(path, place)
        order = parse_order(order_by)
        for at, item in enumerate(order):
            self._check_path(item.name, "/order_by" if isinstance(order_by, str) else f"/order_by/{at}")
        projection = self._projection_of(fields)
        taken = None if limit is None or pushed.rest else limit + offset
        self._choice = choose(
            left,
            right,
            pushed.kind,
            self._left_order(order),
            taken,
            indexes=indexes,
            method=method,
            budget_bytes=budget_bytes,
        )
        shape = Shape.of(spec.left_names, spec.right.name, chain=chain)
        self._matcher = Matcher(pushed.kind, shape, with_right=spec.type not in ("semi", "anti"))
        self._run: Merge | Lookup | HashJoin | None = None
        self._sides: dict[str, StoreSide] = {}
        super().__init__(page_filter(pushed.rest), () if self._choice.ordered else order, projection, limit, offset)

    def left_store(self) -> tuple[str, str]:
        """The store on the left, and the name of its side. Raises InvalidQuery for a chain."""
        if not isinstance(self.spec.left, StoreSpec):
            hint = "put the store whose rows are to be changed on the left, and the join on the right of it"
            raise InvalidQuery("an action needs a store on the left, not a join", pointer="/left", hint=hint)
        return self.spec.left.store, self.spec.left.name

    # --- reading what is asked for ---

    def _chained(self, view: View, spec: JoinSpec) -> "Joined":
        """The join on the left, with the conditions that can be tested there."""
        pushed = self._pushed.left
        if pushed:
            compile_filter(spec.filter, f"{spec.pointer}/filter", spec.names)
            where = together([*conjuncts(spec.filter or {}), *pushed])
            spec = replace(spec, filter=where)
        return Joined(view, spec, **self._options)

    def _input(self, view: View, side: StoreSpec, fields: tuple[str, ...], pushed: Sequence[Any]) -> StoreInput:
        """A side that is a store. Raises QueryError, with its place in the join."""
        with placed(side.pointer):
            store = open_store(view, side.store)
            where = key_and_filter(store, side.filter, side.key)
            compile_filter(where, fields=store.fields)
        self._stores[side.name] = store
        return StoreInput(store, (*conjuncts(where), *pushed), fields)

    def _store_of(self, name: str) -> Store | None:
        found = self._stores.get(name)
        return found if found is not None or self._inner is None else self._inner._store_of(name)

    def _check_on(self) -> None:
        for (left, right), pointer in zip(self.spec.on, self.spec.places, strict=True):
            path = left if self._inner is not None else f"{self.spec.left_names[0]}.{left}"
            self._check_field(path, pointer)
            self._check_field(f"{self.spec.right.name}.{right}", pointer)

    def _check_path(self, path: str, pointer: str) -> None:
        """Refuse a path into joined rows that leads nowhere. Raises InvalidQuery."""
        check_name(path.partition(".")[0], self.spec.names, pointer)
        self._check_field(path, pointer)

    def _check_field(self, path: str, pointer: str) -> None:
        side, _, rest = path.partition(".")
        store = self._store_of(side)
        name = rest.partition(".")[0]
        if name and store is not None and store.fields is not None and name not in store.fields:
            message = f"{store.info.name} ({side}) has no field {name!r}"
            raise InvalidQuery(message, pointer=pointer, hint=nearest(name, sorted(store.fields)))

    def _projection_of(self, fields: Sequence[str] | None) -> Projection | None:
        if isinstance(fields, list | tuple) and list(fields) != ["*"]:
            for at, text in enumerate(fields):
                if isinstance(text, str) and text.strip():
                    path = text.split()[0]
                    if path.endswith(".*"):
                        hint = f"write {path[:-2]} for the whole record"
                        raise InvalidQuery(f"{path} is no field", pointer=f"/fields/{at}", hint=hint)
                    self._check_path(path, f"/fields/{at}")
        found = compile_projection(fields)
        return JoinedProjection(found.wanted) if found is not None else None

    def _left_order(self, order: tuple[OrderItem, ...]) -> tuple[OrderItem, ...] | None:
        """The order as one of the left side's records; None if it is not."""
        if not order or self._inner is not None:
            return None if order else ()
        parts = [item.name.partition(".") for item in order]
        if any(side not in self.spec.left_names or not name for side, _, name in parts):
            return None
        return tuple(OrderItem(name, item.descending) for (_, _, name), item in zip(parts, order, strict=True))

    # --- running ---

    @property
    def estimated_rows(self) -> float:
        """How many rows there may be."""
        return self._choice.rows

    @property
    def estimated_cost(self) -> float:
        """What they may cost, in rows read one after the other."""
        return self._choice.cost

    @property
    def in_key_order(self) -> bool:
        """Whether each row is a left row of its own, in the order of the left keys."""
        one_each = self._matcher.only_left and self._inner is None
        return one_each and self._choice.method in ("merge", "lookup") and not self._sort

    def in_order_of(self, names: Sequence[str]) -> bool:
        """Whether the rows come in the order of some paths into them."""
        kind = self._pushed.kind
        if isinstance(self._left, StoreInput):
            return in_order_of(names, self.spec, kind, self._choice, self._left)
        names = names_on_the_left(names, self.spec, kind)
        return keeps_order(kind, self._choice) and self._left.in_order_of(names)

    def slices(self, after: bytes | None = None) -> Iterator[Slice]:
        if after is not None and not self.in_key_order:
            raise InvalidQuery(
                "joined rows are not paged by a key", hint="take them as a stream, or semi or anti joins"
            )
        run = self._run = self._start()
        return run.rows() if isinstance(run, HashJoin) else run.rows(after)

    def _ties(self, *, descending: bool) -> Tie:
        """By the primary key of the first side, in the direction of the order's last field, then by those of the others."""
        first, *others = [
            (name, store.key_of) for name in self.spec.names if (store := self._store_of(name)) is not None
        ]

        def tie_of(record: Record, _: bytes) -> bytes:
            tie = _key_of(record, *first)
            return b"".join(
                [tie.translate(COMPLEMENT) if descending else tie, *[_key_of(record, *each) for each in others]]
            )

        return tie_of

    def _start(self) -> Merge | Lookup | HashJoin:
        choice, count = self._choice, len(self.spec.on)
        path, left_path = choice.right_path, choice.left_path
        self._sides = {}
        if path is not None:
            left_of = {right: left for left, right in self.spec.on}
            names = [left_of[name] for name in path.fields]
            if choice.method == "lookup":
                return Lookup(self._left_side(names), path, self._matcher)
            right = self._side("right", path.plan, path.store, path.joins, path.base)
            if left_path is None:
                return Merge(self._left_side(names), None, right, path, self._matcher, count=count)
            left = self._side("left", choice.left, left_path.store, left_path.joins, left_path.base)
            return Merge(left, left_path, right, path, self._matcher, count=count)
        other = self._side(
            "right", choice.right, self._right.store, _joins(self._right, choice.right, self._right.fields)
        )
        return HashJoin(
            self._left_side([name for name, _ in self.spec.on]),
            other,
            self._matcher,
            count=count,
            budget_bytes=self._budget,
            left_is_small=choice.left_rows <= KEYS and self._inner is None,
        )

    def _side(self, name: str, plan: Any, store: Store, joins: Any, base: bytes = b"") -> StoreSide:
        side = StoreSide(store, plan, joins, base)
        self._sides[name] = side
        return side

    def _left_side(self, names: Sequence[str]) -> Side:
        if self._inner is not None:
            return JoinedSide(self._inner, decoded(names))
        assert isinstance(self._left, StoreInput)
        plan = self._choice.left
        return self._side("left", plan, self._left.store, _joins(self._left, plan, names))

    # --- explaining ---

    @property
    def plan(self) -> dict[str, Any]:
        """How it is done, and what was read so far."""
        choice, spec, pushed = self._choice, self.spec, self._pushed
        found: dict[str, Any] = {
            "method": choice.method,
            "type": spec.type,
            "done_as": pushed.kind,
            "on": dict(spec.on),
            "left": self._inner.plan if self._inner is not None else _explained(choice.left),
            "right": _explained(choice.right) if choice.right else _looked_up(choice.right_path),
            "pushed_left": together(pushed.left),
            "pushed_right": together(pushed.right),
            "residual": pushed.rest,
            "sort": [f"{item.name} {'desc' if item.descending else 'asc'}" for item in self._sort],
            "estimated_rows": round(choice.rows),
            "estimated_cost": round(choice.cost),
            **self.progress,
        }
        for name, side in self._sides.items():
            found[name] |= {"pages_read": side.pages, "rows_read": side.rows}
        if isinstance(self._run, Merge):
            found |= self._run.counts
        elif isinstance(self._run, Lookup):
            found["right"] |= {"lookups": self._run.stretches, "rows_read": self._run.rows_read}
        elif isinstance(self._run, HashJoin):
            found["partitions"] = self._run.partitions
        return found


def _key_of(record: Record, name: str, key_of: Callable[[Record], bytes]) -> bytes:
    """The primary key of a side of a joined row; where there is none, it comes first."""
    side = record[name]
    return key_of(side) if side is not None else _NO_RECORD


def _joins(side: StoreInput, plan: Plan | None, names: Sequence[str]) -> JoinKeys:
    """The join keys of a side that is read by a plan: cut out of the path's keys where they are there, in this order."""
    for path in side.paths(indexes=True):
        if plan is not None and path.index is plan.index and path.fields == tuple(names):
            return path.joins
    return decoded(names)


def _explained(plan: Plan | None) -> dict[str, Any]:
    return plan.to_dict() if plan is not None else {}


def _looked_up(path: JoinPath | None) -> dict[str, Any]:
    """The path of a lookup, for `explain`."""
    if path is None:
        return {}
    return {
        "access": "lookup",
        "index": path.index.info.name if path.index is not None else None,
        "fields": list(path.fields),
        "conditions": together([part for part in path.conditions if part not in path.rest]),
        "residual": together(path.rest),
    }


def _view_of(view: View, side: StoreSpec, views: Views | None) -> View:
    """The view that a side is in. Raises InvalidQuery where there is no way to another database."""
    if side.database is None:
        return view
    if views is None:
        raise InvalidQuery(
            f"the database {side.database!r} cannot be reached from here",
            pointer=f"{side.pointer}/database",
            hint="leave database out, for the one that the query is on",
        )
    with placed(f"{side.pointer}/database"):
        return views(side.database)
