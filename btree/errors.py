"""Errors of the engine, and what the caller should do about each.

BTreeError
+-- DatabaseNotFound    create the database first
+-- TreeNotFound        the tree is not in this version
+-- TreeExists          take another name
+-- KeyNotFound         nothing to replace
+-- KeyExists           replace it instead
+-- InvalidKey          not bytes, or out of order in a bulk load
|   '-- KeyTooLarge     use a shorter key
+-- InvalidValue        not bytes, or with a raw line break
|   '-- ValueTooLarge   divide the record
+-- VersionNotFound     that version is not kept (any more): pin what you go on reading, or keep versions for longer
+-- TransactionNotFound no such transaction was ever begun here
+-- TransactionEnded    it was committed or rolled back; `status` tells which
+-- SavepointNotFound   no savepoint of that name is open
+-- PinNotFound         that pin was released or has expired
+-- Conflict            RETRY the whole transaction: another one was committed first
+-- Busy                RETRY: another process held the write lock for too long
+-- Corrupted           stop, and restore a backup
+-- WrongFormat         a file of a newer format version, or no database of ours
+-- ReadOnly            open it for writing, or mend the file's permissions
+-- Closed              open it again
+-- DiskFull            RETRY when there is room
+-- StorageError        the operating system failed a read or a write
    |-- NotWritten      RETRY: nothing was changed
    '-- UnknownOutcome  RETRY: it may have happened, and doing it again changes nothing then
"""

from typing import Any


class BTreeError(Exception):
    """Base of all errors here: a stable `code`, whether trying again may help, a message that says what to do."""

    code = "btree_error"
    retryable = False

    def __init__(self, message: str, *, hint: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: code, message, retryable, and hint and details where there are any."""
        found: dict[str, Any] = {"code": self.code, "message": self.message, "retryable": self.retryable}
        if self.hint:
            found["hint"] = self.hint
        if self.details:
            found["details"] = self.details
        return found


class DatabaseNotFound(BTreeError):
    code = "database_not_found"


class TreeNotFound(BTreeError):
    code = "tree_not_found"


class TreeExists(BTreeError):
    code = "tree_exists"


class KeyNotFound(BTreeError):
    code = "key_not_found"


class KeyExists(BTreeError):
    code = "key_exists"


class InvalidKey(BTreeError):
    code = "invalid_key"


class InvalidValue(BTreeError):
    code = "invalid_value"


class KeyTooLarge(InvalidKey):
    code = "key_too_large"


class ValueTooLarge(InvalidValue):
    code = "value_too_large"


class VersionNotFound(BTreeError):
    code = "version_not_found"


class TransactionNotFound(BTreeError):
    code = "transaction_not_found"


class SavepointNotFound(BTreeError):
    code = "savepoint_not_found"


class PinNotFound(BTreeError):
    code = "pin_not_found"


class TransactionEnded(BTreeError):
    """`status` is the TransactionStatus of the ended transaction, where it was looked up."""

    code = "transaction_ended"

    def __init__(self, message: str, *, status: Any = None) -> None:
        super().__init__(message, **({"state": status.state} if status is not None else {}))
        self.status = status


class Conflict(BTreeError):
    code = "conflict"
    retryable = True


class Busy(BTreeError):
    code = "busy"
    retryable = True


class Corrupted(BTreeError):
    code = "corrupted"


class WrongFormat(BTreeError):
    code = "wrong_format"


class ReadOnly(BTreeError):
    code = "read_only"


class Closed(BTreeError):
    code = "closed"


class DiskFull(BTreeError):
    code = "disk_full"
    retryable = True


class StorageError(BTreeError):
    code = "storage_error"


class NotWritten(StorageError):
    """A write that did not happen, and may the next time."""

    code = "not_written"
    retryable = True


class UnknownOutcome(StorageError):
    """A write that may have happened or not. The outcome of a transaction's save or commit is always looked up; this comes
    out of what may as well be done again: a sweep, a pin, a rollback."""

    code = "unknown_outcome"
    retryable = True
