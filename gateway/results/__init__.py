"""One result, its forms: what a run tells, as the client wants to read it.

negotiation.py   which form: `?format=`, else what `Accept` likes best
asking.py        the parameters and headers of a request for a result
forms.py         records as NDJSON, server-sent events, or a JSON array
tables.py        the rows of a result as CSV or Arrow
waiting.py       `Prefer: wait=N`: the end of a run as one answer
single_flight.py what many watchers want to know at once, asked once
ahead.py         all records that have come, taken at a time

The records themselves, and the response that sends them, are in `gateway.runs.streams`.
"""
