"""API keys: `sop_<id>_<secret>`, of which only a hash is kept.

The store `_keys` of the system database holds {id, name, hash, created_at, revoked_at}. A secret is 32 random bytes, so its
SHA-256 is as good as a slow hash. Keys are looked up at every request: a revoked one is refused at the next.

The first key of an installation (`bootstrap`) is derived from the installation's secret. So gateways that start at the same
moment make the same key, and the file that holds it (`<data_dir>/api-key`, readable by its owner only) can be written again
when it was lost.
"""

import hashlib
import hmac
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from btree import Transaction
from query import SYSTEM, Databases, Record, create_store, list_stores, open_store, select
from toolbox import installation_secret

STORE: Final = "_keys"
FILE: Final = "api-key"
BOOTSTRAP: Final = "bootstrap"


class Keys:
    """The keys of an installation."""

    def __init__(self, databases: Databases) -> None:
        self._database = databases.ensure(SYSTEM)

    def create(self, name: str) -> str:
        """A new key, shown this once."""
        key_id, secret = secrets.token_hex(6), secrets.token_hex(32)
        self._database.transact(lambda transaction: _put(transaction, _made(key_id, name, secret)))
        return f"sop_{key_id}_{secret}"

    def revoke(self, key_id: str) -> None:
        """Refuse a key from now on. Raises RecordNotFound."""
        changes = {"revoked_at": _now()}
        self._database.transact(lambda transaction: open_store(transaction, STORE).update(key_id, changes))

    def verify(self, key: str) -> str | None:
        """The id of a valid key, or None."""
        prefix, _, rest = key.partition("_")
        key_id, _, secret = rest.partition("_")
        row = self._row(key_id) if prefix == "sop" and key_id and secret else None
        if row is None or row.get("revoked_at") is not None:
            return None
        return key_id if hmac.compare_digest(row["hash"], _hash(secret)) else None

    def name(self, key_id: str) -> str:
        """Whose key it is."""
        row = self._row(key_id)
        return str(row["name"]) if row is not None else ""

    def all(self) -> list[dict[str, Any]]:
        """The keys {id, name, created_at, revoked_at}, without what would tell their secrets."""
        view = self._database.snapshot()
        if not any(info.name == STORE for info in list_stores(view)):
            return []
        return [{name: value for name, value in row.items() if name != "hash"} for row in select(view, STORE)]

    def bootstrap(self, data_dir: Path) -> Path:
        """Make the first key if there is none, and its file if it is not there. Gives the file's path."""
        key_id, secret = _first_key(data_dir)
        self._database.transact(lambda transaction: _add_first(transaction, _made(key_id, BOOTSTRAP, secret)))
        path = data_dir / FILE
        if self.verify(f"sop_{key_id}_{secret}") and not path.exists():
            _write_private(path, f"sop_{key_id}_{secret}\n")
        return path

    def _row(self, key_id: str) -> Record | None:
        view = self._database.snapshot()
        if not any(info.name == STORE for info in list_stores(view)):
            return None
        return open_store(view, STORE).get(key_id)


def _put(transaction: Transaction, row: dict[str, Any]) -> None:
    if not any(info.name == STORE for info in list_stores(transaction)):
        create_store(transaction, STORE, primary_key=["id"], description="API keys, hashed")
    open_store(transaction, STORE).add(row)


def _add_first(transaction: Transaction, row: dict[str, Any]) -> None:
    stores = {info.name for info in list_stores(transaction)}
    if STORE not in stores or open_store(transaction, STORE).count() == 0:
        _put(transaction, row)


def _made(key_id: str, name: str, secret: str) -> dict[str, Any]:
    return {"id": key_id, "name": name, "hash": _hash(secret), "created_at": _now(), "revoked_at": None}


def _first_key(data_dir: Path) -> tuple[str, str]:
    digest = hmac.new(installation_secret(data_dir), b"bootstrap key", hashlib.sha512).digest()
    return digest[:6].hex(), digest[32:].hex()


def _write_private(path: Path, text: str) -> None:
    """Write a file that nobody else may read; complete when it appears under its name."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.replace(path)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
