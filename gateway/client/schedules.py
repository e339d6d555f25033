"""Schedules: create, change, look, pause, trigger, fill in, delete."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict, Unpack

from gateway.client.models import DueTime, Schedule
from gateway.client.transport import Transport, given, part


class Fields(TypedDict, total=False):
    """What a schedule has. Exactly one of calendar, calendars, cron and every says when; see docs/api.md."""

    arguments: Mapping[str, Any]
    version: str | int | None
    mocks: Sequence[str]
    time_zone: str
    calendar: Mapping[str, Any]
    calendars: Sequence[Mapping[str, Any]]
    cron: str
    every: float
    jitter_seconds: float
    start_at: str | None
    end_at: str | None
    remaining_actions: int | None
    overlap: str
    catchup_seconds: float
    pause_on_failure: bool
    paused: bool
    notify: Mapping[str, Any] | None
    note: str
    dry_run: bool


class Schedules:
    """The schedules of an installation."""

    def __init__(self, gateway: Transport) -> None:
        self._gateway = gateway

    def create(self, script: str, schedule_id: str | None = None, **fields: Unpack[Fields]) -> Schedule:
        """Run a script by the calendar. With `dry_run` only what it would be."""
        body = {"script": script, **given({"id": schedule_id}), **fields}
        return Schedule.of(self._gateway.post("/v1/schedules", json=body))

    def change(self, schedule_id: str, **fields: Unpack[Fields]) -> Schedule:
        """Change it in place; what is not named stays, None takes away."""
        return Schedule.of(self._gateway.request("PATCH", _address(schedule_id), json=dict(fields)))

    def list(self) -> Sequence[Schedule]:
        return list(map(Schedule.of, self._gateway.get("/v1/schedules")["data"]))

    def get(self, schedule_id: str) -> Schedule:
        return Schedule.of(self._gateway.get(_address(schedule_id)))

    def pause(self, schedule_id: str, note: str = "") -> Schedule:
        """Start no more runs."""
        return Schedule.of(self._gateway.post(_address(schedule_id, "/pause"), json={"note": note}))

    def unpause(self, schedule_id: str, note: str = "") -> Schedule:
        return Schedule.of(self._gateway.post(_address(schedule_id, "/unpause"), json={"note": note}))

    def trigger(self, schedule_id: str) -> None:
        """Run it now, once more."""
        self._gateway.post(_address(schedule_id, "/trigger"))

    def backfill(self, schedule_id: str, start: datetime, end: datetime, overlap: str = "buffer_all") -> int:
        """Run it for the due times of a stretch of the past, both ends included; how many they are."""
        body = {"from": start.isoformat(), "to": end.isoformat(), "overlap": overlap}
        times: int = self._gateway.post(_address(schedule_id, "/backfill"), json=body)["times"]
        return times

    def times(
        self, schedule_id: str, start: datetime | None = None, end: datetime | None = None, limit: int = 50
    ) -> Sequence[DueTime]:
        """Its due times, by default those of the coming year; at most `limit`."""
        asked = {"from": start.isoformat() if start else None, "to": end.isoformat() if end else None}
        found = self._gateway.get(_address(schedule_id, "/times"), params=given(asked, limit=limit))["data"]
        return [DueTime(datetime.fromisoformat(time["local"]), time["run"]) for time in found]

    def delete(self, schedule_id: str) -> None:
        """Remove it; runs that it started go on."""
        self._gateway.request("DELETE", _address(schedule_id))


def _address(schedule_id: str, more: str = "") -> str:
    return f"/v1/schedules/{part(schedule_id)}{more}"
