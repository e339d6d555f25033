"""Errors of the data engine: QueryError and its kinds, each with a code, a pointer into the query and a hint."""

from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any


class QueryError(Exception):
    """Base of the errors here."""

    code = "query_error"
    retryable = False

    def __init__(self, message: str, *, pointer: str | None = None, hint: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.pointer = pointer
        self.hint = hint
        self.details = details

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: code, message, retryable, and pointer, hint, details where there are any."""
        found: dict[str, Any] = {"code": self.code, "message": self.message, "retryable": self.retryable}
        for name in ("pointer", "hint", "details"):
            if getattr(self, name):
                found[name] = getattr(self, name)
        return found


class InvalidName(QueryError):
    code = "invalid_name"


class InvalidKeyValue(QueryError):
    code = "invalid_key"


class InvalidRecord(QueryError):
    code = "invalid_record"


class InvalidQuery(QueryError):
    code = "invalid_query"


class InvalidReference(QueryError):
    """A row reference that was not made here, or is not as it was made."""

    code = "invalid_reference"


class UnknownOperator(QueryError):
    code = "unknown_operator"


class UnsupportedOperator(QueryError):
    code = "not_yet_supported"


class StoreNotFound(QueryError):
    code = "store_not_found"


class StoreExists(QueryError):
    code = "store_exists"


class IndexNotFound(QueryError):
    code = "index_not_found"


class IndexExists(QueryError):
    code = "index_exists"


class UniqueViolation(QueryError):
    code = "unique_violation"


class RecordExists(QueryError):
    code = "record_exists"


class RecordNotFound(QueryError):
    code = "record_not_found"


class ResultNotFound(QueryError):
    code = "result_not_found"


class TooManyRows(QueryError):
    code = "too_many_rows"


class PreviewMismatch(QueryError):
    code = "preview_mismatch"


class UnknownDatabase(QueryError):
    code = "database_not_found"


class UpdateFailed(QueryError):
    """A record that an update cannot be applied to. `pointer` is the place in the record, the detail `at` that in the update."""

    code = "update_failed"


class InvalidSchema(QueryError):
    code = "invalid_schema"


def did_you_mean(name: Any, known: Iterable[str], otherwise: str) -> str:
    """A hint about a name that is not known: the nearest known one, or, behind `otherwise`, all of them."""
    names = list(known)
    near = get_close_matches(name, names, n=1) if isinstance(name, str) else []
    return f"did you mean {near[0]!r}?" if near else f"{otherwise}: {', '.join(names) or 'none'}"


def point(base: str, *parts: str | int) -> str:
    """The JSON Pointer (RFC 6901) of what lies under `base`."""
    return base + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


@contextmanager
def placed(pointer: str, *, of: Container[str] | None = None) -> Iterator[None]:
    """Errors from inside get `pointer` in front of their place; only those in the members `of`, if given."""
    try:
        yield
    except QueryError as error:
        member = (error.pointer or "").removeprefix("/").partition("/")[0]
        if of is None or member in of:
            error.pointer = pointer + (error.pointer or "")
        raise
