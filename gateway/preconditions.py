"""Conditional requests (RFC 9110): entity tags, If-Match before a change, If-None-Match before a read.

A draft's strong tag is its revision: `"7"`. A change says with If-Match which revision it means (a list of them, or `*` for whichever there
is), so nobody writes over what they have not seen: without the header it is 428, with another revision 412. A version's tag is its hash.
"""

import re
from typing import Annotated, Any, Final

from fastapi import Header, Request, Response

from gateway.problems import ApiError

IfMatch = Annotated[
    str | None, Header(alias="If-Match", description='the ETag of the revision that is meant, as "7"; * for any')
]
IfNoneMatch = Annotated[
    str | None,
    Header(alias="If-None-Match", description="the ETag of what the client has: 304 if it is still the same"),
]
FOREVER: Final = "private, max-age=31536000, immutable"
"""The Cache-Control of what never changes."""
BY_KEY: Final = "Authorization, Cookie"
"""The Vary of what is kept for so long: a browser may log out, or somebody else in."""
NOT_MODIFIED: Final[dict[int | str, dict[str, Any]]] = {304: {"description": "it is what If-None-Match says"}}
_TAG: Final = re.compile(r'\s*((?:W/)?"[^"]*")\s*(?:,|$)')
_REVISION: Final = re.compile(r'"([1-9][0-9]{0,14})"')


def tag(value: str | int) -> str:
    """A strong entity tag."""
    return f'"{value}"'


def expected_revisions(if_match: str | None) -> frozenset[int] | None:
    """The revisions that a change is for; None for any. Tags that are none of ours match nothing. Raises ApiError 428."""
    if if_match is None:
        raise ApiError(
            "precondition_required",
            "a change says which revision it is for",
            pointer="If-Match",
            hint='read it first, and send its ETag as If-Match: "7"',
        )
    if if_match.strip() == "*":
        return None
    return frozenset(int(found[1]) for text in _TAG.findall(if_match) if (found := _REVISION.fullmatch(text)))


def is_unchanged(if_none_match: str | None, current: str) -> bool:
    """Whether a client has what there is."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or current in (text.removeprefix("W/") for text in _TAG.findall(if_none_match))


def is_meant(if_match: str, current: str | None) -> bool:
    """Whether a change is for what there is (None: nothing). Weak tags match nothing."""
    return current is not None and (if_match.strip() == "*" or current in _TAG.findall(if_match))


def not_modified(request: Request, current: str, cache: str | None = None) -> Response | None:
    """The answer 304 to a client that has what there is; None for one that has not."""
    if not is_unchanged(",".join(request.headers.getlist("if-none-match")) or None, current):
        return None
    headers = {"ETag": current, **({"Cache-Control": cache, "Vary": BY_KEY} if cache else {})}
    return Response(status_code=304, headers=headers)
