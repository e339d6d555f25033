"""Patches: the RFCs' rules, nothing half done, nothing shared, nothing that fills the memory."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from script.editing import apply_merge_patch, apply_patch
from script.editing.patches import MAX_OPERATIONS
from script.errors import PatchFailed

SCRIPT = {"name": "pay", "steps": [{"name": "a"}, {"name": "b", "args": {"x/y": 1, "~": 2}}, {"name": "c"}]}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab~/", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab~/", max_size=2), inner, max_size=3),
    max_leaves=8,
)


def steps(*operations: dict[str, Any]) -> Any:
    return apply_patch(SCRIPT, list(operations))["steps"]


def test_operations() -> None:
    assert steps({"op": "add", "path": "/steps/1", "value": {"name": "n"}})[1] == {"name": "n"}
    assert steps({"op": "add", "path": "/steps/-", "value": 1})[3] == 1
    assert steps({"op": "add", "path": "/steps/3", "value": 1})[3] == 1
    assert steps({"op": "replace", "path": "/steps/1/args/x~1y", "value": 5})[1]["args"] == {"x/y": 5, "~": 2}
    assert steps({"op": "remove", "path": "/steps/1/args/~0"})[1]["args"] == {"x/y": 1}
    assert [step["name"] for step in steps({"op": "move", "from": "/steps/2", "path": "/steps/0"})] == ["c", "a", "b"]
    assert steps({"op": "move", "from": "/steps/1", "path": "/steps/1"}) == SCRIPT["steps"]
    assert steps({"op": "copy", "from": "/steps/0", "path": "/steps/-"})[3] == {"name": "a"}
    assert (
        steps({"op": "test", "path": "/steps/0/name", "value": "a"}, {"op": "remove", "path": "/steps/0"})[0]["name"]
        == "b"
    )
    assert apply_patch(SCRIPT, [{"op": "replace", "path": "", "value": 1}]) == 1


@pytest.mark.parametrize(
    ("operation", "pointer"),
    [
        (7, "/0"),
        ({"op": "put", "path": ""}, "/0/op"),
        ({"op": ["add"], "path": ""}, "/0/op"),
        ({"op": "add", "path": "/steps/0"}, "/0"),
        ({"op": "remove", "path": "/steps/0", "value": 1}, "/0/value"),
        ({"op": "remove", "path": "steps"}, "/0/path"),
        ({"op": "remove", "path": ""}, "/0/path"),
        ({"op": "remove", "path": "/steps/3"}, "/0/path"),
        ({"op": "remove", "path": "/steps/-"}, "/0/path"),
        ({"op": "remove", "path": "/steps/01"}, "/0/path"),
        ({"op": "remove", "path": "/steps/-1"}, "/0/path"),
        ({"op": "remove", "path": "/steps/²"}, "/0/path"),
        ({"op": "replace", "path": "/nothing", "value": 1}, "/0/path"),
        ({"op": "add", "path": "/name/x", "value": 1}, "/0/path"),
        ({"op": "add", "path": "/steps/4", "value": 1}, "/0/path"),
        ({"op": "copy", "from": "/nothing", "path": "/x"}, "/0/from"),
        ({"op": "move", "from": "/steps", "path": "/steps/0"}, "/0/path"),
        ({"op": "test", "path": "/name", "value": "other"}, "/0/value"),
    ],
)
def test_what_cannot_be_done_is_told_with_its_place(operation: Any, pointer: str) -> None:
    before = copy.deepcopy(SCRIPT)
    with pytest.raises(PatchFailed) as failed:
        apply_patch(SCRIPT, [operation])
    assert failed.value.pointer == pointer
    with pytest.raises(PatchFailed) as failed:
        apply_patch(SCRIPT, [{"op": "remove", "path": "/steps/0"}, {"op": "put", "path": ""}])
    assert failed.value.pointer == "/1/op"
    assert before == SCRIPT


def test_limits() -> None:
    with pytest.raises(PatchFailed, match="at most 1000 operations"):
        apply_patch({}, [{"op": "test", "path": "", "value": {}}] * (MAX_OPERATIONS + 1))
    with pytest.raises(PatchFailed, match="copies at most"):
        apply_patch({"a": "x"}, [{"op": "copy", "from": "", "path": f"/{number}"} for number in range(60)])
    with pytest.raises(PatchFailed, match="too deep"):
        apply_patch({"a": "x"}, [{"op": "copy", "from": "", "path": "/a" * (2**number)} for number in range(10)])
    with pytest.raises(PatchFailed, match="a list of operations"):
        apply_patch({}, {"op": "test"})  # type: ignore[arg-type]


@settings(deadline=None)
@given(JSON, JSON)
def test_a_merge_patch_is_idempotent_and_changes_nothing_given(document: Any, patch: Any) -> None:
    before = copy.deepcopy((document, patch))
    merged = apply_merge_patch(document, patch)
    assert apply_merge_patch(merged, patch) == merged
    assert (document, patch) == before


def test_a_merge_patch_of_the_rfc() -> None:
    old = {"title": "Goodbye!", "author": {"given": "John", "family": "Doe"}, "tags": ["a", "b"], "content": "x"}
    patch = {"title": "Hello!", "phone": "+01", "author": {"family": None}, "tags": ["a"]}
    assert apply_merge_patch(old, patch) == {
        "title": "Hello!", "author": {"given": "John"}, "tags": ["a"], "content": "x", "phone": "+01"}  # fmt: skip


@settings(deadline=None)
@given(JSON, JSON)
def test_replacing_the_whole_and_adding_a_field_share_nothing_with_the_patch(document: Any, value: Any) -> None:
    patch = [{"op": "add", "path": "", "value": {"v": [value]}}, {"op": "add", "path": "/v/-", "value": document}]
    before = copy.deepcopy(patch)
    made = apply_patch(document, patch)
    assert made == {"v": [value, document]}
    made["v"].append(1)
    assert patch == before
