"""A client of the gateway for Python programs: typed, synchronous, and nothing but HTTP.

client.py      Client                                runs.py       start, call, follow, handle; approvals
errors.py      what goes wrong, as exceptions        following.py  events to a run's end, whatever is cut
models.py      what the gateway tells, typed         data.py       rows out and in
transport.py   HTTP                                  scripts.py    save, check, get, explain
addresses.py   where the gateway is, and the key     schedules.py  by the calendar
drafts.py      scripts that are being written        sessions.py   conversations in which they are written
profiles.py    gateways by name

It imports nothing of the server's (`pyproject.toml` has the contract): a program needs httpx2 only. `docs/client.md` tells how.
"""

from gateway.client.client import Client
from gateway.client.data import Rows
from gateway.client.errors import (
    Conflict,
    CutShort,
    ErrorPlace,
    GatewayError,
    GatewayFailed,
    InvalidRequest,
    NotAllowed,
    NotAuthenticated,
    NotConfigured,
    NotFound,
    Refused,
    RunFailed,
    TimedOut,
    TooMany,
    Unreachable,
)
from gateway.client.following import RunEvents
from gateway.client.models import (
    Approval,
    Draft,
    DueTime,
    Event,
    Failure,
    ImportReport,
    Pending,
    Reject,
    Run,
    Said,
    Schedule,
    ScriptProblem,
    ScriptReview,
    ScriptVersion,
    Session,
    Started,
)
from gateway.client.sessions import Turn

__all__ = [
    "Approval",
    "Client",
    "Conflict",
    "CutShort",
    "Draft",
    "DueTime",
    "ErrorPlace",
    "Event",
    "Failure",
    "GatewayError",
    "GatewayFailed",
    "ImportReport",
    "InvalidRequest",
    "NotAllowed",
    "NotAuthenticated",
    "NotConfigured",
    "NotFound",
    "Pending",
    "Refused",
    "Reject",
    "Rows",
    "Run",
    "RunEvents",
    "RunFailed",
    "Said",
    "Schedule",
    "ScriptProblem",
    "ScriptReview",
    "ScriptVersion",
    "Session",
    "Started",
    "TimedOut",
    "TooMany",
    "Turn",
    "Unreachable",
]
