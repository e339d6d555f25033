"""Access: what is left of a key where less was granted, and its way as JSON."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.toolbox.test_scopes import KINDS, NAMES, SCOPES
from toolbox.access import ADMIN, Access, InvalidScope, Scope, parse_scopes
from toolbox.errors import Forbidden

SETS = st.lists(SCOPES, max_size=4).map(tuple)
GRANTS = st.lists(SCOPES.map(str), max_size=4)
NEEDED = st.builds(lambda kind, name: Scope(*kind, name), KINDS, NAMES) | SCOPES


def key(*scopes: str) -> Access:
    return Access("k", "anna", parse_scopes(scopes))


def covered(grants: list[str], needed: Scope) -> bool:
    return not grants or any(scope.covers(needed) for scope in parse_scopes(grants))


@given(SETS, GRANTS, GRANTS, NEEDED)
@settings(deadline=None, max_examples=300)
def test_it_is_what_the_key_may_and_all_grants_cover(
    scopes: tuple[Scope, ...], one: list[str], two: list[str], needed: Scope
) -> None:
    whole = Access("k", "anna", scopes)
    expected = whole.has(needed) and covered(one, needed) and covered(two, needed)
    for left in (whole.within(one).within(two), whole.within(two).within(one)):
        assert left.has(needed) is expected
        assert Access.from_json(json.loads(json.dumps(left.to_json()))).has(needed) is expected


@given(SETS, GRANTS, NEEDED)
@settings(deadline=None, max_examples=300)
def test_some_is_never_denied_where_there_is_one(scopes: tuple[Scope, ...], grants: list[str], needed: Scope) -> None:
    whole = Access("k", "anna", scopes)
    left = whole.within(grants)
    assert left.has_some(needed.area, needed.action) or not left.has(needed)
    assert whole.has_some(needed.area, needed.action) or not left.has_some(needed.area, needed.action)


def test_patterns_that_meet_leave_what_both_mean() -> None:
    left = key("data:c*:read").within(["data:*m:read"])
    assert left.has(Scope("data", "read", "crm")) and left.has_some("data", "read")
    assert not left.has(Scope("data", "read", "cr")) and not left.has(Scope("data", "read", "rm"))
    assert not left.has(Scope("data", "read", "*"))


def test_admin_is_no_way_around_grants() -> None:
    left = Access("k", "anna", (ADMIN,)).within(["data:crm:read", "scripts:write"])
    assert left.has(Scope("data", "read", "crm"))
    for scope in (ADMIN, Scope("data", "write", "crm"), Scope("data", "read", "system"), Scope("sessions")):
        assert not left.has(scope)
    assert key("data:crm:read").within(["admin"]).has(Scope("data", "read", "crm"))
    assert not key("data:crm:read").within(["admin"]).has(Scope("data", "write", "crm"))


def test_no_grants_take_nothing_away() -> None:
    assert key("data:crm:read").within([]) == key("data:crm:read")


@pytest.mark.parametrize("wrong", ["everything", "data:crm", ""])
def test_a_grant_that_is_no_scope_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidScope, match="is no scope"):
        key("admin").within([wrong])


@given(SETS, st.none() | st.just("2026-05-01T00:00:00+00:00"), st.booleans(), st.lists(GRANTS, max_size=3))
@settings(deadline=None)
def test_json_and_back(scopes: tuple[Scope, ...], end: str | None, by_token: bool, groups: list[list[str]]) -> None:
    access = Access("k", "anna", parse_scopes(map(str, scopes)), end, by_token)
    for group in groups:
        access = access.within(group)
    assert Access.from_json(json.loads(json.dumps(access.to_json()))) == access


def test_the_form_of_a_key_without_grants() -> None:
    assert key("data:crm:read", "scripts:run").to_json() == {
        "key_id": "k",
        "name": "anna",
        "scopes": ["data:crm:read", "scripts:run"],
        "expires_at": None,
        "by_token": False,
    }


def test_a_refusal_names_what_is_missing() -> None:
    with pytest.raises(Forbidden) as refused:
        key("mcp").require(Scope("tools", names="send_email"), Scope("mcp"), ADMIN, what="running x")
    assert refused.value.message == ("running x takes the scopes admin, tools:send_email, which the key does not have")
    assert refused.value.scopes == ("admin", "tools:send_email")
    assert not refused.value.retryable
    assert refused.value.places[0] == {
        "pointer": "Authorization", "detail": "running x takes the scope admin", "code": "forbidden", "scope": "admin"
    }  # fmt: skip
    told = refused.value.to_dict()
    assert (told["code"], told["details"]["scopes"]) == ("forbidden", ["admin", "tools:send_email"])


def test_a_refusal_tells_whether_it_is_the_key_or_the_grant() -> None:
    with pytest.raises(Forbidden, match="takes the scope mcp, which is not granted here"):
        key("mcp").within(["scripts:read"]).require(Scope("mcp"))
