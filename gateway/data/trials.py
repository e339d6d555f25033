"""Dry runs of writing: the work is done, with all that can be wrong with it, and then nothing of it is kept.

It is done in a transaction that is rolled back instead of being committed; nobody else sees anything of it, and the audit log has no entry.
"""

from collections.abc import Callable
from typing import Annotated, Generic, TypeVar

from fastapi import Query, Request
from pydantic import BaseModel, ConfigDict, Field

from btree import Database, Transaction
from gateway.access import changes_nothing

T = TypeVar("T")


class Trial(BaseModel):
    """Whether it is one. Nothing else is taken: a parameter that is misspelt would let the work be done."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = Field(False, description="only try it: what would be answered, and nothing is kept")


Given = Annotated[Trial, Query()]


class _Tried(Exception, Generic[T]):
    """The end of a trial; it makes the transaction be rolled back."""

    def __init__(self, result: T) -> None:
        super().__init__("a dry run is over")
        self.result = result


def written(request: Request, database: Database, work: Callable[[Transaction], T], *, dry_run: bool) -> T:
    """What the work gives, committed or not. Raises what the work raises, and Conflict where it is committed."""
    if not dry_run:
        return database.transact(work)
    changes_nothing(request)

    def trial(transaction: Transaction) -> None:
        raise _Tried(work(transaction))

    try:
        database.transact(trial)
    except _Tried as tried:
        result: T = tried.result
        return result
    raise AssertionError("a trial never ends well")
