"""Logs of sessions, read while they grow.

The log is in the system database, which workers write. Whoever waits here for any session shares one look at the database's newest version,
every INTERVAL seconds; only where that is another one, logs are read, each once for all who follow it (`runs.readings`). Nobody looks when
nobody waits.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

from gateway.problems import ApiError
from gateway.results.single_flight import SingleFlight
from gateway.runs.readings import Readings
from toolbox.authoring import Conversations, Record, Session

INTERVAL: Final = 0.02
PAGE: Final = 500
"""Records that are read at once."""

Records = AsyncGenerator[Record, None]


class Tails:
    """The logs that are read here."""

    def __init__(self, log: Conversations) -> None:
        self.log = log
        self._looks: SingleFlight[int] = SingleFlight()
        self._readings = Readings(self._read)

    def counts(self) -> tuple[int, int]:
        """How many sessions are followed here, and by how many."""
        return self._readings.counts()

    def follow(self, session_id: str, after: int) -> Records:
        """The records of a session behind `after`, and those that come. It does not end. Raises SessionNotFound."""
        return self._readings(None, session_id, after)

    async def past(self, session_id: str, after: int) -> Records:
        """The records behind `after` that there are now."""
        last = (await asyncio.to_thread(self.log.get, session_id)).seq
        while after < last:
            page = await self._page(session_id, after)
            for record in page:
                if record["seq"] <= last:
                    yield record
            if not page:
                return
            after = page[-1]["seq"]

    async def heard(self, session_id: str, key: str) -> Record:
        """Where the turn of a message begins, {turn, after}, as soon as it was heard. Raises ApiError `session_closed`, SessionNotFound."""
        while True:
            head = await asyncio.to_thread(self.log.head)
            session = await asyncio.to_thread(self.log.get, session_id)
            found = await asyncio.to_thread(self.log.turn_of, session_id, key)
            if found is not None:
                return found
            if session.status == "closed":
                raise closed(session)
            await self._changed(head)

    async def _read(self, _: Any, session_id: str, after: int) -> Records:
        while True:
            head = await asyncio.to_thread(self.log.head)
            while page := await self._page(session_id, after):
                for record in page:
                    yield record
                after = page[-1]["seq"]
            await self._changed(head)

    async def _page(self, session_id: str, after: int) -> list[Record]:
        return await asyncio.to_thread(lambda: list(self.log.records(session_id, after, PAGE)))

    async def _changed(self, seen: int) -> None:
        """Wait until the database is at another version."""
        while await self._looks.get("head", self._look) == seen:
            pass

    async def _look(self) -> int:
        await asyncio.sleep(INTERVAL)
        return await asyncio.to_thread(self.log.head)


def closed(session: Session) -> ApiError:
    """The refusal of what is said in a session that was closed."""
    return ApiError("session_closed", f"the session {session.id!r} is closed", hint="begin another one")
