"""The gateway: scripts with a REST address, results as streams, and the `sop` command.

app.py          create_app: the application        serve.py      the process: python -m gateway.serve
services.py     what the routes work with          dev.py        everything together: sop dev
problems.py     errors as RFC 9457 problems        cursors.py    signed page cursors
documents.py    /openapi.json and /docs            times.py      ISO 8601 in UTC
health.py       /livez, /readyz                    diagnostics.py  what `sop doctor` asks for
scripts.py      save, check, show                  tools.py      the tools there are
drafts.py       scripts that are being written     explaining.py  outlines, pictures, reviews
keys.py         API keys                           audit.py      the audit log
login.py        sessions of browsers               vault.py      secrets
published.py    scripts as operations of their own
preconditions.py  ETag, If-Match, If-None-Match    preferences.py  Prefer

access/         keys, scopes, the frame            runs/         start, look, watch, decide
results/        one result, its forms              schedules/    Temporal's schedules
operations/     logs, figures, traces              data/         databases, rows, imports, exports
payloads.py     the codec for the Temporal UI      mcp/          scripts and data as tools of MCP
client/         a client for Python programs       cli/          the `sop` command

Its public interfaces are HTTP and the command line. Nothing is imported here, so that the command starts quickly: take
`create_app` from `gateway.app`, `Services` from `gateway.services` and `watch_run` from `gateway.runs.watch`.
"""

__all__: list[str] = []
