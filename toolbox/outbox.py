"""The outbox: outside calls that were written down instead of made.

A row of the store `_outbox`, in whatever transaction the step has: a mocked call (status `mocked`), or a call in the
body of a batch (`pending`, then `sent` or `failed`). The key is the call's idempotency key, so the same call is one row however
often its step is tried. What is pending is found by an index, however much was sent before.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from btree import Transaction
from query import Record, View, create_index, create_store, list_stores, open_store, select

STORE: Final = "_outbox"


class Outbox:
    """The outbox of a view."""

    def __init__(self, view: View) -> None:
        self._view = view

    def put(
        self,
        *,
        key: str,
        tool: str,
        args: Mapping[str, Any],
        run_id: str,
        step: str,
        now: str,
        mocked: bool,
        secrets: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Write a call down, with the names of the secrets that it needs; gives what the step sees as its result."""
        assert isinstance(self._view, Transaction)
        if STORE not in self._names():
            create_store(self._view, STORE, primary_key=["key"], description="outside calls that were written down")
            create_index(self._view, STORE, ["status"])
        store = open_store(self._view, STORE)
        status = "mocked" if mocked else "pending"
        if store.get(key) is None:
            row = {"key": key, "tool": tool, "args": dict(args), "status": status, "run_id": run_id, "step": step}
            needed = {"secrets": list(secrets)} if secrets else {}
            store.add({**row, **needed, "created_at": now, "attempts": 0})
        return {"status": status, "key": key}

    @staticmethod
    def preview(key: str, status: str = "dry_run") -> dict[str, Any]:
        """What a dry run sees as the result of an outside call."""
        return {"status": status, "key": key}

    def pending(self, prefix: str) -> Iterator[Record]:
        """The rows that are to be sent and whose key begins with `prefix`."""
        if STORE in self._names():
            yield from select(self._view, STORE, filter={"key": {"$starts_with": prefix}, "status": "pending"})

    def mark(self, key: str, status: str, *, at: str, error: Mapping[str, Any] | None = None) -> None:
        """Note how sending a row ended."""
        store = open_store(self._view, STORE)
        row = store.get(key)
        if row is not None:
            changes = {
                "status": status,
                "sent_at": at,
                "attempts": row["attempts"] + 1,
                "error": dict(error) if error else None,
            }
            store.update(key, changes)

    def _names(self) -> set[str]:
        return {info.name for info in list_stores(self._view)}
