"""The secrets of an installation: names that scripts know, and values that only tools get.

The store `_secrets` of the system database holds {name, key, value, hosts, created_at, updated_at, updated_by}: the value is encrypted with
the key of this id (`keyring`), bound to the name and the hosts. It is never given back over HTTP. A secret with `hosts` is only sent to
these (`*.example.com` is every name below).

The database's old versions, and copies of it, have older values for as long as they are kept, encrypted.
"""

import base64
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from btree import Transaction
from query import SYSTEM, Databases, Record, View, create_store, list_stores, open_store, select
from script.compiler.secrets import NAME
from toolbox.errors import InvalidArguments, SecretNotFound, SecretUnreadable
from toolbox.vault.keyring import Keyring, Unreadable
from toolbox.vault.redaction import SHORTEST, Redaction

STORE: Final = "_secrets"
LONGEST: Final = 16 * 1024
"""Bytes of a value."""
_TOLD: Final = ("name", "key", "hosts", "created_at", "updated_at", "updated_by")


class Vault:
    """The secrets of a data directory. `told` hears every value that is decrypted, before anybody else (for logs, to hide it)."""

    def __init__(self, databases: Databases, keyring: Keyring, told: Callable[[str], None] | None = None) -> None:
        self._databases = databases
        self._keyring = keyring
        self._told = told or (lambda value: None)
        self._redaction: tuple[Any, Redaction] = (None, Redaction(()))

    def put(self, name: str, value: str, *, hosts: Sequence[str] = (), by: str | None = None) -> bool:
        """Keep a value under a name, instead of the one before; whether the name is new. Raises InvalidArguments."""
        if not NAME.fullmatch(name):
            hint = "lower-case letters, digits and _, beginning with a letter, at most 63"
            raise InvalidArguments("this is no name for a secret", pointer="/name", hint=hint)
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise InvalidArguments("the value is no text that can be encoded", pointer="/value") from None
        if len(value) < SHORTEST or size > LONGEST:
            hint = "a shorter one could not be told from ordinary words where it is taken out of answers"
            message = f"a secret has {SHORTEST} characters at least, and {LONGEST} bytes at most"
            raise InvalidArguments(message, pointer="/value", hint=hint)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        row = {"name": name, **self._encrypted(name, value, list(hosts)), "updated_at": now, "updated_by": by}

        def work(transaction: Transaction) -> bool:
            if not _is_there(transaction):
                create_store(transaction, STORE, primary_key=["name"], description="secrets, encrypted")
            store = open_store(transaction, STORE)
            old = store.get(name)
            store.upsert({**row, "created_at": old["created_at"] if old is not None else now})
            return old is None

        return self._databases.ensure(SYSTEM).transact(work)

    def all(self) -> list[dict[str, Any]]:
        """The secrets {name, key, hosts, created_at, updated_at, updated_by}, without their values."""
        return [{field: row[field] for field in _TOLD} for row in self._rows(self._view())]

    def get(self, name: str) -> dict[str, Any]:
        """A secret, as `all` tells it. Raises SecretNotFound."""
        row = self._row(name)
        return {field: row[field] for field in _TOLD}

    def remove(self, name: str) -> None:
        """Forget a secret. Raises SecretNotFound."""

        def work(transaction: Transaction) -> bool:
            return _is_there(transaction) and open_store(transaction, STORE).delete(name)

        if not NAME.fullmatch(name) or not self._databases.ensure(SYSTEM).transact(work):
            raise _not_found(name)

    def rotate(self) -> int:
        """Encrypt all values with the current key; how many were not. Raises SecretUnreadable."""

        def work(transaction: Transaction) -> int:
            old = [row for row in self._rows(transaction) if row["key"] != self._keyring.current]
            for row in old:
                again = self._encrypted(row["name"], self._value(row), row["hosts"])
                open_store(transaction, STORE).upsert({**row, **again})
            return len(old)

        return self._databases.ensure(SYSTEM).transact(work)

    def reveal(self, name: str) -> tuple[str, tuple[str, ...]]:
        """The value of a secret, and the hosts that it may be sent to (none: all). Raises SecretNotFound, SecretUnreadable."""
        row = self._row(name)
        return self._value(row), tuple(row["hosts"])

    def redaction(self) -> Redaction:
        """What takes the values of all secrets out of texts; those that cannot be read are not known."""
        view = self._view()
        found, redaction = self._redaction
        if found is None or found != view.seq:
            values = []
            for row in self._rows(view):
                try:
                    values.append(self._value(row))
                except SecretUnreadable:
                    continue
            redaction = Redaction(values)
            self._redaction = (view.seq, redaction)
        return redaction

    def _view(self) -> Any:
        return self._databases.ensure(SYSTEM).snapshot()

    def _rows(self, view: View) -> list[Record]:
        return list(select(view, STORE)) if _is_there(view) else []

    def _row(self, name: str) -> Record:
        view = self._view()
        row = open_store(view, STORE).get(name) if NAME.fullmatch(name) and _is_there(view) else None
        if row is None:
            raise _not_found(name)
        return row

    def _encrypted(self, name: str, value: str, hosts: list[str]) -> dict[str, Any]:
        key, data = self._keyring.encrypt(value.encode(), _about(name, hosts))
        return {"key": key, "value": base64.b64encode(data).decode(), "hosts": hosts}

    def _value(self, row: Record) -> str:
        try:
            data = base64.b64decode(row["value"])
            value = self._keyring.decrypt(row["key"], data, _about(row["name"], row["hosts"])).decode()
        except Unreadable as error:
            hint = "see SOP_SECRETS_KEYS and the file secrets-key, or set the secret again"
            raise SecretUnreadable(f"the secret {row['name']!r} cannot be read: {error}", hint=hint) from None
        self._told(value)
        return value


def _about(name: str, hosts: list[str]) -> bytes:
    return b"secret/" + orjson.dumps([name, hosts])


def _is_there(view: View) -> bool:
    return any(info.name == STORE for info in list_stores(view))


def _not_found(name: str) -> SecretNotFound:
    return SecretNotFound(f"there is no secret {name[:70]!r}", hint="sop secret list has them")
