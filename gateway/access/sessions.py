"""Sessions of browsers: a cookie that stands for a key for some hours.

A browser cannot send a key where it makes the request by itself (`EventSource`, an image, a link), and a page should not keep one where
its scripts can read it. So a page gives the key once (`POST /v1/session`) and gets a cookie that no script can read. The store `_sessions`
of the system database holds {id, hash, key_id, expires_at}: of the cookie's secret only a hash is kept, as of keys. What a session may do
is looked up with its key at every request: it ends with the key, with its own time, and when somebody logs out.

The cookie is `__Host-sop` (Secure, so it is sent over TLS only, and to this very host only). On plain HTTP, which is for loopback only, it
cannot be: there it is `sop`. Both are HttpOnly and SameSite=Lax. Cookies do not tell ports apart, and pages on other ports are the same
site; so a request that would change something has to come from a page of ours (`origins`).
"""

import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Scope

from btree import Transaction
from gateway.access.keys import Keys, hashed, now_utc
from gateway.access.origins import check_origin, is_secure
from query import SYSTEM, Databases, Record, create_store, list_stores, open_store, select
from toolbox.access import Access

STORE: Final = "_sessions"
LIFE: Final = timedelta(hours=8)
MOST: Final = 20
"""Sessions of one key; another one ends the oldest."""
SECURE_NAME: Final = "__Host-sop"
PLAIN_NAME: Final = "sop"
_TOKEN: Final = re.compile(r"([0-9a-f]{24})_([0-9a-f]{64})")


@dataclass(frozen=True)
class Session:
    """Who is logged in. `expires_at` is ISO 8601 in UTC."""

    id: str
    access: Access
    expires_at: str


class Sessions:
    """The sessions of an installation."""

    def __init__(
        self,
        databases: Databases,
        keys: Keys,
        *,
        origins: frozenset[str] = frozenset(),
        clock: Callable[[], datetime] = now_utc,
    ) -> None:
        self._database = databases.ensure(SYSTEM)
        self._keys = keys
        self._origins = origins
        self._clock = clock

    def begin(self, access: Access) -> tuple[str, Session]:
        """A new session of a key: its token, shown this once, and the session. It lives no longer than the key."""
        session_id, secret = secrets.token_hex(12), secrets.token_hex(32)
        end = _text(self._clock() + LIFE)
        expires_at = min(end, access.expires_at) if access.expires_at is not None else end
        row = {"id": session_id, "hash": hashed(secret), "key_id": access.key_id, "expires_at": expires_at}
        now = _text(self._clock())

        def work(transaction: Transaction) -> None:
            if not any(info.name == STORE for info in list_stores(transaction)):
                create_store(transaction, STORE, primary_key=["id"], description="sessions of browsers, hashed")
            store = open_store(transaction, STORE)
            kept = []
            for old in list(select(transaction, STORE, fields=["id", "key_id", "expires_at"])):
                if old["expires_at"] <= now:
                    store.delete(old["id"])
                elif old["key_id"] == access.key_id:
                    kept.append((old["expires_at"], old["id"]))
            for _, oldest in sorted(kept)[: max(0, len(kept) - MOST + 1)]:
                store.delete(oldest)
            store.add(row)

        self._database.transact(work)
        return f"{session_id}_{secret}", Session(session_id, access, expires_at)

    def of_request(self, scope: Scope) -> Session | None:
        """The session of a request by its cookie, if it has a valid one."""
        token = HTTPConnection(scope).cookies.get(cookie_name(scope), "")
        return self.find(token) if token else None

    def check_origin(self, scope: Scope) -> None:
        """Raises ApiError `cross_origin` for a page that is not ours."""
        check_origin(scope, self._origins)

    def find(self, token: str) -> Session | None:
        """The session of a token; or None."""
        found = _TOKEN.fullmatch(token)
        row = self._row(found[1]) if found is not None else None
        if found is None or row is None or not hmac.compare_digest(row["hash"], hashed(found[2])):
            return None
        access = self._access(row)
        return Session(found[1], access, row["expires_at"]) if access is not None else None

    def is_open(self, session_id: str) -> bool:
        """Whether a session goes on, and its key is valid."""
        row = self._row(session_id)
        return row is not None and self._access(row) is not None

    def _row(self, session_id: str) -> Record | None:
        view = self._database.snapshot()
        return open_store(view, STORE).get(session_id) if STORE in {info.name for info in list_stores(view)} else None

    def _access(self, row: Record) -> Access | None:
        return self._keys.access(row["key_id"]) if row["expires_at"] > _text(self._clock()) else None

    def end(self, session_id: str) -> None:
        """End a session now."""
        self._database.transact(lambda transaction: open_store(transaction, STORE).delete(session_id))


def cookie_name(scope: Scope) -> str:
    """Which cookie a request may have."""
    return SECURE_NAME if is_secure(scope) else PLAIN_NAME


def set_cookie(response: Response, scope: Scope, token: str, session: Session, now: datetime) -> None:
    """Give the browser its cookie."""
    life = int((datetime.fromisoformat(session.expires_at) - now).total_seconds())
    _set(response, scope, token, life)


def forget_cookie(response: Response, scope: Scope) -> None:
    """Let the browser forget its cookie."""
    _set(response, scope, "", 0)


def _set(response: Response, scope: Scope, value: str, life: int) -> None:
    secure = is_secure(scope)
    made = Response()
    made.set_cookie(
        cookie_name(scope), value, max_age=max(0, life), path="/", secure=secure, httponly=True, samesite="lax"
    )
    MutableHeaders(raw=response.headers.raw).append("set-cookie", made.headers["set-cookie"])


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
