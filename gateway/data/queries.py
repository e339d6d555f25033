"""Queries as clients write them: a select, a join, an aggregate as a body; an export as an address; and how rows are written.

Each model knows the query of the engine that it means; its errors have the places of what the client wrote.
"""

from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

import query
from gateway.problems import ApiError
from query.transfer.exports import Format
from query.transfer.streams import null_text

Count = Annotated[int, Field(ge=0, strict=True)]
Version = Annotated[int, Field(ge=1, strict=True)]
NEWEST: Final = Field(None, description="default: the newest")


class Form(BaseModel):
    """How rows are written."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["json", "ndjson", "csv", "arrow"] | None = Field(
        None, description="default: by Accept, else ndjson"
    )
    guard: bool = Field(True, description="csv: an apostrophe before text that a spreadsheet would take for a formula")
    null: str = Field(
        "", description="csv: the text that null is written as; default an empty cell, as a missing field"
    )
    end: bool = Field(False, description='ndjson: a last line {"end": {"rows": n}}')
    as_json: str = Field("", description="arrow: the columns a,b are JSON text, whatever is in them; * is all")

    def check(self, form: Format) -> None:
        """Raises ApiError, InvalidQuery for what this form does not have."""
        if self.end and form != "ndjson":
            raise ApiError("invalid_query", f"{form} has no line that tells its end", pointer="?end", hint="ndjson has")
        if self.null and form != "csv":
            raise ApiError("invalid_query", f"{form} has a null of its own", pointer="?null", hint="it is for csv")
        if self.as_json and form != "arrow":
            raise ApiError("invalid_query", f"{form} has no types", pointer="?as_json", hint="it is for arrow")
        null_text(self.null, "?null")


class ExportParameters(Form):
    """An export as parameters of an address; lists are divided by commas."""

    filter: str | None = Field(None, description="JSON, as in a select")
    key: str | None = Field(None, description='JSON: "00001", or ["00001", 1]')
    fields: str | None = Field(None, description="a,b.c,d AS e")
    order_by: str | None = Field(None, description="a,-b")
    limit: int | None = Field(None, ge=0)
    offset: int = Field(0, ge=0)
    version: int | None = Field(None, ge=1, description="default: the newest")

    def query(self, store: str) -> query.Query:
        """Raises ApiError for what is no JSON."""
        return query.Query(
            store,
            filter=_json("filter", self.filter),
            key=_json("key", self.key),
            fields=_list(self.fields),
            order_by=_list(self.order_by),
            limit=self.limit,
            offset=self.offset,
        )


class SelectRequest(BaseModel):
    """A select."""

    model_config = ConfigDict(extra="forbid")

    filter: dict[str, Any] | None = None
    key: Any = None
    fields: list[str] | None = None
    order_by: str | list[str] | None = None
    limit: Count | None = None
    offset: Count = 0
    version: Version | None = NEWEST

    def query(self, store: str) -> query.Query:
        return query.Query(store, **self.model_dump(exclude={"version"}))


class JoinOf(BaseModel):
    """What is joined, with the store of the address on the left."""

    model_config = ConfigDict(extra="forbid")

    left: dict[str, Any] = Field(default={}, description="{as, filter, key} of the left side")
    right: str | dict[str, Any] = Field(description="a store, or {store, as, filter, key, database}")
    on: str | list[str] | dict[str, str] = Field(description="{left field: right field}, or fields that both have")
    type: str = Field("inner", description="inner, left, right, full, semi or anti")
    filter: dict[str, Any] | None = Field(None, description="over joined rows: left.name, right.amount")

    def query(self, store: str, pointer: str = "") -> query.JoinQuery:
        """Raises ApiError for another store on the left; `pointer` is where the join stands in the body."""
        if "store" in self.left:
            raise ApiError("invalid_field", "the left store is that of the address", pointer=f"{pointer}/left/store")
        asked = self.model_dump(exclude={"version", "left"})
        return query.JoinQuery({"store": store, **self.left}, **asked)


class JoinRequest(JoinOf):
    """A join."""

    fields: list[str] | None = None
    order_by: str | list[str] | None = None
    limit: Count | None = None
    offset: Count = 0
    version: Version | None = NEWEST


class AggregateRequest(BaseModel):
    """An aggregate over the rows of the store, or over those of a join with it."""

    model_config = ConfigDict(extra="forbid")

    values: dict[str, Any] = Field(
        default={}, description='{name: {op, value, where}} with op count, sum, avg, min, max, ...; {name: "count"}'
    )
    group_by: list[str] = Field(default=[], description="a.b, a AS x; without it there is one row")
    filter: dict[str, Any] | None = Field(None, description="which rows; those of a join by the join's own filter")
    key: Any = None
    join: JoinOf | None = Field(None, description="{right, on, type, left, filter}")
    order_by: str | list[str] | None = Field(None, description="group fields and values; default the group fields")
    limit: Count | None = None
    offset: Count = 0
    version: Version | None = NEWEST

    def query(self, store: str) -> query.AggregateQuery:
        """Raises ApiError for a filter or a key beside a join."""
        asked = self.model_dump(exclude={"version", "filter", "key", "join"})
        if self.join is None:
            return query.AggregateQuery(query.Query(store, filter=self.filter, key=self.key), **asked)
        for name, place in (("filter", "join.filter"), ("key", "join.left.key")):
            if getattr(self, name) is not None:
                message = f"an aggregate over a join has no {name} of its own"
                raise ApiError("invalid_field", message, pointer=f"/{name}", hint=f"write it as {place}")
        return query.AggregateQuery(self.join.query(store, "/join"), **asked, at="/join")


def names_of(text: str) -> list[str]:
    """`a,b` as a list."""
    return [part.strip() for part in text.split(",")] if text else []


def _json(name: str, text: str | None) -> Any:
    try:
        return None if text is None else orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ApiError("invalid_field", f"{name} is no JSON: {error}", pointer=f"?{name}") from None


def _list(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",")]
