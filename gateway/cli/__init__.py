"""The `sop` command: a client of the gateway, and the way to start everything.

application.py  the command tree, main          scripts.py    sop script
connection.py   HTTP to the gateway             runs.py       sop run
failures.py     exit codes                      data.py       sop data
output.py       table, json, ndjson             schedules.py  sop schedule
arguments.py    --arg, typed by the script      trace.py      a run's events as lines
db.py           sop db                          transfer.py   files up and down
handling.py     deciding, pausing, rerunning    following.py  watching a run
keys.py         sop key                         texts.py      texts are UTF-8
options.py      --profile, --quiet, ...         doctor.py     sop doctor
sessions.py     sop session                     chat/         sop chat
completion.py   names that the gateway knows    explaining.py sop script outline, diagram, review
tools.py        sop tool

Data goes to stdout, everything else to stderr, so that output can be piped.
"""

from gateway.cli.application import main, run

__all__ = ["main", "run"]
