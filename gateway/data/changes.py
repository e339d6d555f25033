"""Rows changed in bulk: those of a query, in one transaction.

    POST /v1/databases/{db}/stores/{store}:update    {filter, key, order_by, limit, values}
    POST /v1/databases/{db}/stores/{store}:delete    {filter, key, order_by, limit}

Three guards, against a filter that means more than was thought:

    dry_run                   what would be done: the count, the first rows, a token, and the result; what would fail is refused
    expect                    do it to exactly the rows of that token, or to none
    Prefer: max-affected=N    do it to at most N rows, or to none

Which rows are meant has to be said: `{"filter": {}}` are all. The rows are read too, so it takes `data:{db}:read` and `data:{db}:write`.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

import query
from btree import Transaction
from gateway.access import access_of
from gateway.data.databases import writable_database
from gateway.data.queries import Count
from gateway.data.trials import written
from gateway.preferences import Limits, max_affected, too_many
from gateway.problems import ApiError
from gateway.services import Here, Services
from script.expressions.functions import EvaluationContext
from toolbox.access import Scope

router = APIRouter(prefix="/v1/databases/{database}/stores/{store}", tags=["rows"])


class DeleteRequest(BaseModel):
    """Which rows are deleted."""

    model_config = ConfigDict(extra="forbid")

    filter: dict[str, Any] | None = Field(None, description="{} are all rows")
    key: Any = None
    order_by: str | list[str] | None = Field(None, description="which ones come first, for a limit")
    limit: Count | None = None
    offset: Count = 0
    dry_run: bool = Field(False, description="only try it: {count, rows, token, result}; nothing is kept")
    expect: str | None = Field(None, description="the token of a dry run: nothing is changed if the rows are others")


class UpdateRequest(DeleteRequest):
    """Which rows are updated, and how."""

    values: dict[str, Any] = Field(
        description="{field: value}; a value may be a template over the row, `{{ row.n + 1 }}`; $inc $mul $unset $push"
    )


@router.post(":delete")
def delete_rows(
    here: Here,
    database: str,
    store: str,
    request: Request,
    response: Response,
    body: DeleteRequest,
    prefer: Limits = None,
) -> dict[str, Any]:
    """Delete the rows of a query: `{deleted}`; or with `dry_run` tell which ones."""
    return _change(here, database, store, request, response, body, None, prefer)


@router.post(":update")
def update_rows(
    here: Here,
    database: str,
    store: str,
    request: Request,
    response: Response,
    body: UpdateRequest,
    prefer: Limits = None,
) -> dict[str, Any]:
    """Update the rows of a query: `{matched, updated}`; or with `dry_run` tell which ones, before and after."""
    return _change(here, database, store, request, response, body, body.values, prefer)


def _change(
    here: Services,
    database: str,
    store: str,
    request: Request,
    response: Response,
    body: DeleteRequest,
    values: dict[str, Any] | None,
    prefer: list[str] | None,
) -> dict[str, Any]:
    access_of(request).require(Scope("data", "read", database))
    limit, applied = max_affected(prefer)
    if body.filter is None and "key" not in body.model_fields_set:
        raise ApiError(
            "invalid_field", "which rows?", pointer="/filter", hint='a filter or a key; {"filter": {}} are all'
        )
    opened = writable_database(here, database, store)
    asked = body.model_dump(include={"filter", "key", "order_by", "limit", "offset"})
    context = EvaluationContext(datetime.now(UTC), request.state.request_id)

    def action(view: query.View) -> query.BulkAction:
        rows: Callable[[], query.RowsQuery] = lambda: query.select(view, store, **asked)  # noqa: E731
        return query.BulkAction(query.open_store(view, store), rows, values, context=context)

    def work(transaction: Transaction) -> dict[str, Any]:
        if body.dry_run:
            told = action(transaction).preview()
            return {"dry_run": True, **told, "result": action(transaction).run(expect=body.expect)}
        return dict(action(transaction).run(max_affected=limit, expect=body.expect))

    try:
        done = written(request, opened, work, dry_run=body.dry_run)
    except query.TooManyRows:
        raise too_many(limit) from None
    response.headers.update({} if body.dry_run else applied)
    return done
