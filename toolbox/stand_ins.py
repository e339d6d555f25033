"""Stand-ins: tools that are not there yet, and that scripts may be written with all the same (`email_service`).

    _stand_ins    key name    {name, description, arguments, result, made_by, made_at}

A stand-in is a tool of the effect `external` that is always mocked: its calls are written to the outbox, as those of a mocked tool are, and
what the step sees is `result` where there is one. It is known to the checker, the API, authors and runs from the moment that it is kept.
A tool of the same name that is registered later stands in its place at once.

`arguments` is a JSON Schema of an object; none takes any arguments.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from btree import Transaction
from query import SYSTEM, Databases, View, create_store, list_stores, open_store, select
from script import session_wire, wire
from script.json_schemas import schema_problem, violation
from toolbox.context import ToolContext
from toolbox.errors import InvalidArguments
from toolbox.tool import Tool

STORE: Final = "_stand_ins"
RESERVED: Final = frozenset(
    {
        *(wire.LOAD_ACTIVITY, wire.RESTORE_ACTIVITY, wire.COMMIT_ACTIVITY, wire.ROLLBACK_ACTIVITY, wire.CHUNK_ACTIVITY),
        *(wire.PARTITION_ACTIVITY, wire.DISPATCH_ACTIVITY, wire.ASK_ACTIVITY),
        *(
            session_wire.HEAR_ACTIVITY,
            session_wire.THINK_ACTIVITY,
            session_wire.ACT_ACTIVITY,
            session_wire.END_TURN_ACTIVITY,
        ),
    }
)
"""Names that no stand-in may have: those of activities that are no tools."""
_ANY: Final = {"type": "object", "properties": {}, "additionalProperties": True}


@dataclass(frozen=True)
class StandInRow:
    """What is kept. `result` None is none: the step sees what it sees of any mocked call."""

    name: str
    description: str
    arguments: dict[str, Any] | None
    result: Any
    made_by: str
    made_at: str


class StandIn(Tool):
    """A stand-in as a tool."""

    def __init__(self, row: StandInRow) -> None:
        self.row = row
        self.name = row.name
        self.effect = "external"
        self.needs_approval = False
        self.mocked = True
        self.description = row.description
        self._writes_with = None
        self._approval = None

    @property
    def arguments_schema(self) -> dict[str, Any]:
        return dict(self.row.arguments or _ANY)

    @property
    def result_schema(self) -> dict[str, Any]:
        return {}

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "stand_in": True}

    def checked(self, args: Mapping[str, Any]) -> dict[str, Any]:
        problem = violation(self.arguments_schema, dict(args))
        if problem is not None:
            raise InvalidArguments(f"{self.name}: {problem}")
        return dict(args)

    def seen(self, written: Any) -> Any:
        return written if self.row.result is None else self.row.result

    def call_sync(self, context: ToolContext, args: Mapping[str, Any]) -> Any:
        """There is nothing behind it: a call that is not written down gives what a mocked one does."""
        self.checked(args)
        return self.seen({"status": "mocked", "key": context.idempotency_key})


class StandIns:
    """The stand-ins of an installation."""

    def __init__(self, databases: Databases) -> None:
        self._database = databases.ensure(SYSTEM)
        if STORE not in {info.name for info in list_stores(self._database.snapshot())}:
            self._database.transact(_create)

    def get(self, name: str) -> StandIn | None:
        """A stand-in by name."""
        row = open_store(self._database.snapshot(), STORE).get(name)
        return StandIn(StandInRow(**row)) if row is not None else None

    def all(self) -> dict[str, StandIn]:
        """All of them, by name."""
        rows = select(self._database.snapshot(), STORE)
        return {row["name"]: StandIn(StandInRow(**row)) for row in rows}


def stand_in(view: View, name: str) -> StandInRow | None:
    """A stand-in, as a transaction on the system database sees it."""
    row = open_store(view, STORE).get(name)
    return StandInRow(**row) if row is not None else None


def keep_stand_in(transaction: Transaction, row: StandInRow) -> None:
    """Keep a stand-in, or another one in its place. Raises InvalidArguments for a schema that is none."""
    arguments = row.arguments
    if arguments is not None:
        problem = schema_problem(arguments)
        if problem is not None:
            raise InvalidArguments(f"the schema of the arguments: {problem}", pointer="/arguments")
        arguments = {"type": "object", "additionalProperties": False, **arguments}
    open_store(transaction, STORE).upsert({**asdict(row), "arguments": arguments})


def remove_stand_in(transaction: Transaction, name: str) -> None:
    """Remove a stand-in, if there is one."""
    open_store(transaction, STORE).delete(name)


def _create(transaction: Transaction) -> None:
    if STORE not in {info.name for info in list_stores(transaction)}:
        create_store(transaction, STORE, primary_key=["name"])
