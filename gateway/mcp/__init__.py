"""MCP: scripts and data as tools of a language model's client, with the keys and scopes of the API.

door.py      `/mcp`, streamable HTTP     server.py     the protocol's requests     tools.py        what a tool is
stdio.py     `sop mcp`                   catalog.py    what a key may use          data_tools.py   databases, stores, rows
inside.py    HTTP without a socket       changes.py    lists that change           run_tools.py    runs, scripts
api.py       the API for one caller      scripts.py    scripts as tools            following.py    a run, for a while
results.py   answers and errors          resources.py  scripts and runs to read    paging.py, run_rows.py   rows in pages

Every tool is a client of the HTTP API, so it can do what the key may do there, and nothing else; `docs/mcp.md` tells how to connect.
"""
