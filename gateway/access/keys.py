"""API keys: `sop_<id>_<secret>`, of which only a hash is kept.

The store `_keys` of the system database holds {id, name, hash, scopes, created_at, created_by, expires_at, revoked_at}; a row without
`scopes` was made before there were any, and has `admin`. A secret is 32 random bytes, so its SHA-256 is as good as a slow hash. Keys are
looked up at every request: one that was revoked or has expired is refused at the next. When a key was used last is kept beside them
(`notes`), so that noting it never meets a change of the key.

The first key of an installation (`bootstrap`) is derived from the installation's secret. So gateways that start at the same
moment make the same key, and the file that holds it (`<data_dir>/api-key`, readable by its owner only) can be written again
when it was lost.
"""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from btree import Transaction
from query import SYSTEM, Databases, Record, create_store, list_stores, open_store, select
from toolbox import installation_secret
from toolbox.access import ADMIN, Access, Scope, parse_scopes

STORE: Final = "_keys"
FILE: Final = "api-key"
BOOTSTRAP: Final = "bootstrap"
_ID: Final = re.compile(r"[0-9a-f]{12}")


def now_utc() -> datetime:
    """The time."""
    return datetime.now(UTC)


class Keys:
    """The keys of an installation."""

    def __init__(self, databases: Databases, clock: Callable[[], datetime] = now_utc) -> None:
        self._database = databases.ensure(SYSTEM)
        self._clock = clock

    def create(
        self,
        name: str,
        scopes: Sequence[Scope] = (ADMIN,),
        *,
        expires_at: datetime | None = None,
        created_by: str | None = None,
    ) -> str:
        """A new key, shown this once. `created_by` is the id of the key that asked for it."""
        key_id, secret = secrets.token_hex(6), secrets.token_hex(32)
        row = self._made(key_id, name, secret)
        row |= {
            "scopes": [str(scope) for scope in scopes],
            "expires_at": _text(expires_at) if expires_at is not None else None,
            "created_by": created_by,
        }
        self._database.transact(lambda transaction: _put(transaction, row))
        return f"sop_{key_id}_{secret}"

    def revoke(self, key_id: str) -> None:
        """Refuse a key from now on; one that was revoked before stays so since then. Raises RecordNotFound."""
        now = _text(self._clock())

        def work(transaction: Transaction) -> None:
            keys = open_store(transaction, STORE)
            keys.change(key_id, lambda row: row if row["revoked_at"] is not None else {**row, "revoked_at": now})

        self._database.transact(work)

    def verify(self, key: str) -> Access | None:
        """Whose valid key that is, and what it may do; or None. It takes as long whether the id is one or not."""
        prefix, _, rest = key.partition("_")
        key_id, _, secret = rest.partition("_")
        row = self._row(key_id) if prefix == "sop" and key_id and secret else None
        fits = hmac.compare_digest(row["hash"] if row is not None else _NO_HASH, hashed(secret))
        return self._valid(row) if fits else None

    def access(self, key_id: str) -> Access | None:
        """What a key may do now, if it is valid: for those who have shown it before."""
        return self._valid(self._row(key_id))

    def _valid(self, row: Record | None) -> Access | None:
        if row is None or row.get("revoked_at") is not None:
            return None
        expires_at = row.get("expires_at")
        if expires_at is not None and datetime.fromisoformat(expires_at) <= self._clock():
            return None
        return Access(row["id"], str(row["name"]), scopes_of(row), expires_at)

    def name(self, key_id: str) -> str:
        """Whose key it is."""
        row = self._row(key_id)
        return str(row["name"]) if row is not None else ""

    def get(self, key_id: str) -> dict[str, Any] | None:
        """A key {id, name, scopes, created_at, created_by, expires_at, revoked_at}, without what would tell its secret; or None."""
        row = self._row(key_id)
        return _told(row) if row is not None else None

    def all(self) -> list[dict[str, Any]]:
        """The keys, as `get` tells them."""
        view = self._database.snapshot()
        if not any(info.name == STORE for info in list_stores(view)):
            return []
        return [_told(row) for row in select(view, STORE)]

    def bootstrap(self, data_dir: Path) -> Path:
        """Make the first key if there is none, and its file if it is not there. Gives the file's path."""
        key_id, secret = _first_key(data_dir)
        row = self._made(key_id, BOOTSTRAP, secret)
        self._database.transact(lambda transaction: _add_first(transaction, row))
        path = data_dir / FILE
        if self.verify(f"sop_{key_id}_{secret}") and not path.exists():
            _write_private(path, f"sop_{key_id}_{secret}\n")
        return path

    def _made(self, key_id: str, name: str, secret: str) -> dict[str, Any]:
        created_at = _text(self._clock())
        return {
            "id": key_id,
            "name": name,
            "hash": hashed(secret),
            "scopes": [str(ADMIN)],
            "created_at": created_at,
            "revoked_at": None,
        }

    def _row(self, key_id: str) -> Record | None:
        if not _ID.fullmatch(key_id):
            return None  # nor is there a key in the database for what is too long, or no text of ours
        view = self._database.snapshot()
        if not any(info.name == STORE for info in list_stores(view)):
            return None
        return open_store(view, STORE).get(key_id)


def scopes_of(row: Record) -> tuple[Scope, ...]:
    """The scopes of a key's row."""
    return parse_scopes(row.get("scopes", [str(ADMIN)]))


def _told(row: Record) -> dict[str, Any]:
    fields = ("id", "name", "scopes", "created_at", "created_by", "expires_at", "revoked_at")
    return {name: row.get(name) for name in fields} | {"scopes": row.get("scopes", [str(ADMIN)])}


def _put(transaction: Transaction, row: dict[str, Any]) -> None:
    if not any(info.name == STORE for info in list_stores(transaction)):
        create_store(transaction, STORE, primary_key=["id"], description="API keys, hashed")
    open_store(transaction, STORE).add(row)


def _add_first(transaction: Transaction, row: dict[str, Any]) -> None:
    stores = {info.name for info in list_stores(transaction)}
    if STORE not in stores or open_store(transaction, STORE).count() == 0:
        _put(transaction, row)


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


def hashed(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


_NO_HASH: Final = "0" * 64
"""That of no secret."""


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
