"""Scopes by themselves: what is one, and which one covers which."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolbox.access import ADMIN, MOST, Access, InvalidScope, Scope, matches, parse_scope, parse_scopes

NAMES = st.text("ab_", min_size=1, max_size=6)
PATTERNS = st.text("ab*", min_size=1, max_size=6)
KINDS = st.sampled_from(
    [("scripts", action) for action in ("read", "write", "run", "call")] + [("data", "read"), ("data", "write"), ("tools", "")]
)  # fmt: skip
FIXED = st.sampled_from(
    ["admin", "keys", "mcp", "sessions", "runs:read", "runs:control", "schedules:read", "schedules:write"]
)
SCOPES = st.builds(lambda kind, names: Scope(*kind, names), KINDS, PATTERNS) | FIXED.map(parse_scope)


@given(PATTERNS, NAMES)
@settings(deadline=None)
def test_a_star_stands_for_any_characters(pattern: str, name: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) is not None
    assert matches(pattern, name) is expected


def test_no_pattern_is_slow() -> None:
    assert not matches("*a" * 50 + "b", "a" * 100_000)
    assert matches("*a" * 50, "a" * 100_000)


@given(SCOPES, SCOPES, KINDS, NAMES)
@settings(deadline=None, max_examples=300)
def test_what_is_covered_allows_no_more(one: Scope, other: Scope, kind: tuple[str, str], name: str) -> None:
    asked = Scope(*kind, name)
    if one.covers(other) and other.covers(asked):
        assert one.covers(asked)


@given(SCOPES, SCOPES, SCOPES)
@settings(deadline=None, max_examples=300)
def test_covering_is_an_order(one: Scope, two: Scope, three: Scope) -> None:
    assert one.covers(one)
    assert not (one.covers(two) and two.covers(three)) or one.covers(three)
    assert ADMIN.covers(one)
    assert one == ADMIN or not one.covers(ADMIN)


@given(SCOPES)
@settings(deadline=None)
def test_a_scope_is_its_text(scope: Scope) -> None:
    again = parse_scope(str(scope))
    assert again.covers(scope) and scope.covers(again)
    assert str(again) == str(scope)


COVERS = """
scripts:run            scripts:run:weekly_report
scripts:run:*          scripts:run
scripts:run            scripts:run:*
scripts:run:weekly_*   scripts:run:weekly_report
scripts:run:weekly_*   scripts:run:weekly_*_paid
scripts:call:weekly_*  scripts:run:weekly_report
data:*:read            data:crm:read
data:*:read            data:c*:read
data:c*m:read          data:crm:read
data:system:read       data:system:read
tools:*                tools:send_email
admin                  keys
admin                  sessions
sessions               sessions
admin                  data:system:write
"""

NOT = """
scripts:run:weekly_*   scripts:run
scripts:run:weekly_*   scripts:run:monthly_report
scripts:run:weekly_*   scripts:run:Weekly_report
scripts:run:weekly_*   scripts:run:*
scripts:run            scripts:call:weekly_report
scripts:run            scripts:read
scripts:call:a         scripts:write:a
data:crm:read          data:crm:write
data:crm:write         data:crm:read
data:crm:read          data:crm2:read
data:crm:read          data:xcrm:read
data:c*:read           data:*:read
data:*:read            data:system:read
data:sys*:read         data:system:read
data:system:read       data:*:read
runs:read              runs:control
keys                   admin
sessions               mcp
sessions               scripts:write
mcp                    sessions
keys                   data:crm:read
tools:send_email       tools:send_email_2
"""


def pairs(text: str) -> list[tuple[str, str]]:
    return [(one, other) for one, other in map(str.split, text.strip().splitlines())]


@pytest.mark.parametrize(("granted", "needed"), pairs(COVERS))
def test_covers(granted: str, needed: str) -> None:
    assert parse_scope(granted).covers(parse_scope(needed))


@pytest.mark.parametrize(("granted", "needed"), pairs(NOT))
def test_does_not_cover(granted: str, needed: str) -> None:
    assert not parse_scope(granted).covers(parse_scope(needed))


WRONG = ["", "*", "Admin", "admin:x", "admin:", "key", "keys:*", "scripts", "scripts:*", "scripts:publish", "scripts:call", "scripts:run:",
         "scripts:run:a:b", "data", "data:crm", "data:read", "data::read", "data:crm:admin", "data:crm:read:x", "runs", "runs:read:x",
         "schedules:*", "sessions:*", "sessions:read", "tools", "tools:", "tools:a:b", "tools:send email", "data:crm/../x:read", "data:{database}:read", "scripts:read:?",
         "data:crm:read ", "data:\u0441rm:read", "data:" + "a" * 101 + ":read"]  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_scope_is_refused(text: str) -> None:
    with pytest.raises(InvalidScope, match="is no scope"):
        parse_scope(text)


def test_a_key_has_a_bounded_number_of_scopes() -> None:
    texts = [f"tools:t{number}" for number in range(MOST)]
    assert len(parse_scopes([*texts, texts[0]])) == MOST
    with pytest.raises(InvalidScope, match="at most 100"):
        parse_scopes([*texts, "keys"])


def test_some() -> None:
    access = Access("k", "anna", parse_scopes(["data:crm:read", "scripts:call:a"]))
    assert access.has_some("data", "read") and access.has_some("scripts", "run")
    assert not access.has_some("data", "write") and not access.has_some("scripts", "read")
    assert Access("k", "anna", (ADMIN,)).has_some("data", "write")
    assert not Access("k", "anna", ()).has_some("data", "read")
