"""The gateway: scripts with a REST address, results as streams, and the `sop` command.

app.py        create_app: the application             serve.py      the process: python -m gateway.serve
access.py     request ids, default deny               dev.py        everything together: sop dev
keys.py       API keys                                cli/          the sop command
problems.py   errors as RFC 9457 problems             services.py   what the routes work with
documents.py  /openapi.json and /docs                 cursors.py    signed page cursors
health.py     /livez, /readyz                         tools.py      the tools there are
  diagnostics.py  what `sop doctor` asks for          client/       a client for Python programs
scripts.py    save, check, show                       databases.py  databases and stores
runs.py       start, look, watch, cancel              rows.py       rows by key, and page by page
  starting.py   what is checked before a run          imports.py    NDJSON and CSV, streamed in
  looking.py    a run described, pages of runs        schedules.py  Temporal's schedules
  streams.py    NDJSON that says how it ended           calendars.py  when a schedule fires
  watch.py      a run's events from its history       maintenance.py  check, compact
  readings.py   one reading for all who watch
times.py      ISO 8601 in UTC                         history.py    versions, changes, restoring a store
                                                      backups.py    a database as a file, down and up

Its public interfaces are HTTP and the command line. Nothing is imported here, so that the command starts quickly: take
`create_app` from `gateway.app`, `Services` from `gateway.services` and `watch_run` from `gateway.runs.watch`.
"""

__all__: list[str] = []
