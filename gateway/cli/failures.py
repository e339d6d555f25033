"""Exit codes, and the one exception that ends a command.

0  done                                   5  conflict: it exists already, has ended, was changed, or the key means another run
1  the run failed or was canceled         6  it took too long
2  wrong usage, or input that is wrong    7  the gateway is not reachable, failed itself, or takes no more for now
3  there is no such thing                 130  interrupted
4  the API key is missing or not valid
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from gateway.client.errors import CutShort, GatewayError, NotConfigured, Refused, RunFailed, TimedOut

OK: Final = 0
RUN_FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
NOT_AUTHENTICATED: Final = 4
CONFLICT: Final = 5
TIMED_OUT: Final = 6
UNREACHABLE: Final = 7
INTERRUPTED: Final = 130

_BY_STATUS: Final = {
    401: NOT_AUTHENTICATED,
    403: NOT_AUTHENTICATED,
    404: NOT_FOUND,
    409: CONFLICT,
    412: CONFLICT,
    428: CONFLICT,
    408: TIMED_OUT,
    504: TIMED_OUT,
    429: UNREACHABLE,
}
_KEY_CODES: Final = ("no_key", "invalid_key", "key_exposed", "key_misdirected")


class CommandFailed(Exception):
    """A command ends with `exit_code`, after `lines` on stderr."""

    def __init__(self, exit_code: int, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.exit_code = exit_code
        self.lines = lines


def of_problem(status: int, problem: Mapping[str, Any]) -> CommandFailed:
    """The gateway's problem as the end of a command: what is wrong, where, and what to do."""
    code = _BY_STATUS.get(status, UNREACHABLE if status >= 500 else USAGE)
    if problem.get("code") == "idempotency_mismatch":
        code = CONFLICT
    places = [found for found in problem.get("errors", []) if found["detail"] != problem["detail"]]
    lines = [f"error: {problem['detail']}"]
    for found in places:
        lines.append(f"  {found['pointer'] or '/'}: {found['detail']}")
        if found.get("hint"):
            lines.append(f"    {found['hint']}")
    if problem.get("hint"):
        lines.append(f"hint: {problem['hint']}")
    if status >= 500:
        lines.append(f"request: {problem.get('request_id', 'unknown')}")
    return CommandFailed(code, *lines)


def of_error(error: GatewayError) -> CommandFailed:
    """What went wrong between the command and the gateway as the end of the command."""
    if isinstance(error, Refused):
        return of_problem(error.status, error.problem)
    code = UNREACHABLE
    if isinstance(error, NotConfigured):
        code = NOT_AUTHENTICATED if error.code in _KEY_CODES else USAGE
    elif isinstance(error, TimedOut):
        code = TIMED_OUT
    elif isinstance(error, CutShort | RunFailed):
        code = RUN_FAILED
    return CommandFailed(code, f"error: {error.message}", *([f"hint: {error.hint}"] if error.hint else []))


@contextmanager
def told() -> Iterator[None]:
    """Inside of it, what the client raises ends the command."""
    try:
        yield
    except GatewayError as error:
        raise of_error(error) from None
