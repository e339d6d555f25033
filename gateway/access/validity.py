"""Whether the keys of what goes on for long are valid still: a stream does not outlive its key.

A request is asked for its key when it begins. A stream may go on for days then, so whoever sends one *holds* its credential, and is told
(an event) when that is valid no more: the key was revoked or has expired, the session was ended, the token is over. What is held is looked
at every EVERY seconds, all of it in one go and in a thread, each key once however many streams it has; while nothing is held there is no
task. A database that cannot be read just then says nothing: it is asked again.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from starlette.requests import HTTPConnection

from gateway.access.keys import Keys, now_utc
from gateway.access.sessions import Session, Sessions
from gateway.problems import ApiError
from toolbox.access import Access

EVERY: Final = 2.0
"""Seconds between looks."""
_TASK: Final = "looking at the keys of streams"
_log = logging.getLogger("gateway")


@dataclass(frozen=True)
class Credential:
    """What a request came with: a key or a token, and the session that stands for the key, if it came with a cookie."""

    access: Access
    session: Session | None = None


@dataclass
class _Held:
    credential: Credential
    streams: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Validity:
    """Watches what is held. Not for several threads: the event loop's. `skew`: seconds that tokens are taken beyond their end."""

    def __init__(
        self,
        keys: Keys,
        sessions: Sessions,
        *,
        skew: float = 0,
        every: float | None = None,
        clock: Callable[[], datetime] = now_utc,
    ) -> None:
        self._keys = keys
        self._sessions = sessions
        self._skew = timedelta(seconds=skew)
        self._every = every
        self._clock = clock
        self._held: dict[Credential, _Held] = {}
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def held(self, credential: Credential | None) -> Iterator[asyncio.Event]:
        """Gives what is set when the credential is valid no more; never, for none."""
        if credential is None:
            yield asyncio.Event()
            return
        held = self._held.setdefault(credential, _Held(credential))
        held.streams += 1
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._watch(), name=_TASK)
        try:
            yield held.ended
        finally:
            held.streams -= 1
            if not held.streams:
                del self._held[credential]
            if not self._held and self._task is not None:
                self._task.cancel()
                self._task = None

    async def look(self) -> None:
        """Look at what is held, now."""
        open_ones = [held for held in self._held.values() if not held.ended.is_set()]
        over = await asyncio.to_thread(self._over, [held.credential for held in open_ones])
        for held in open_ones:
            if held.credential in over:
                held.ended.set()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(EVERY if self._every is None else self._every)
            try:
                await self.look()
            except Exception:
                _log.warning("whether the keys of open streams are valid cannot be told just now", exc_info=True)

    def _over(self, credentials: Sequence[Credential]) -> set[Credential]:
        return {credential for credential in credentials if not self._is_valid(credential)}

    def _is_valid(self, credential: Credential) -> bool:
        access = credential.access
        if credential.session is not None:
            return self._sessions.is_open(credential.session.id)
        if not access.by_token:
            return self._keys.access(access.key_id) is not None
        end = access.expires_at
        return end is None or datetime.fromisoformat(end) + self._skew > self._clock()


def credential_of(request: HTTPConnection) -> Credential | None:
    """What a request came with; None for one that needed nothing."""
    access: Access | None = getattr(request.state, "access", None)
    return Credential(access, getattr(request.state, "session", None)) if access is not None else None


def ended() -> ApiError:
    """Why a stream ends whose credential is valid no more."""
    return ApiError(
        "not_authenticated",
        "the key of this stream is valid no more: it was revoked or has expired, or its session has ended",
        hint="go on with a valid key",
    )
