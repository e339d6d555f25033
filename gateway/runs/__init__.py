"""Runs: started, looked at, watched, decided on, run again.

routes.py       /v1/runs, /v1/call          watch.py       a run's events from its history
starting.py     what is checked before      outcomes.py    what the history says of effects
rerunning.py    the state before a step     readings.py    one reading for all who watch
searching.py    pages of runs               streams.py     records, and how a stream ends
looking.py      a run described             signals.py     telling a run something
approvals.py    /v1/approvals, deciding     batches.py     how many chunks side by side

Nothing is imported here: take `watch_run` from `gateway.runs.watch`.
"""

__all__: list[str] = []
