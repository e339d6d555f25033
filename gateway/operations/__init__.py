"""What people who run the system see of it: metrics, logs, and whether it has room to work in.

addresses.py   where a server may listen
logs.py        one log for a process: text or JSON, without secrets, with the request or the step that a line belongs to
metrics.py     the figures of a process, without any user's strings
measured.py    the outermost layer of the gateway: counts and logs each request
exposed.py     the gateway's figures on a port of their own
runtime.py     Temporal's runtime: its own log lines into ours, the worker's figures on a port
steps.py       the worker's log of its steps
tracing.py     a request, its run and the run's steps as one trace of OpenTelemetry
upkeep.py      room on the disk, and the last sweep

Nothing here is a route: the figures are on ports of their own, which are off unless they are asked for, and which hold no data.
"""
