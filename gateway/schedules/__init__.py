"""Schedules: Temporal's own, with calendars that people can read, and what becomes of the times when clocks change.

routes.py          /v1/schedules
scheduling.py      Schedules: make, change, show, trigger, fill in the past
requests.py        what is asked for, as Temporal's form of it
calendars.py       when one fires
times.py           due times, and the runs that were started at them
clock_changes.py   days on which a change of the clocks skips or repeats a time
desk.py            the same for the tools of scripts, in a worker

Nothing is imported here: a worker takes the desk without the routes.
"""

__all__: list[str] = []
