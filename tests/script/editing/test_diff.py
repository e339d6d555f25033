"""Differences of scripts: one change is told as one, and nothing is left out."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from script.editing import Change, diff_scripts
from script.editing.matching import match, moved


def step(name: str | None, kind: str = "set", **fields: Any) -> dict[str, Any]:
    return {"type": kind, **({"name": name} if name else {}), **fields}


def script(*steps: Any, **fields: Any) -> dict[str, Any]:
    return {"name": "pay", "steps": list(steps), **fields}


def told(old: Any, new: Any) -> list[str]:
    return [change.text for change in diff_scripts(old, new)]


def test_steps() -> None:
    a, b, c = step("a"), step("b", "command", args={"amount": 5, "to": "x"}), step("c")
    assert told(script(a, b, c), script(a, b, c)) == []
    assert told(script(a, c), script(a, b, c)) == ["step 'b' (command) is new, after step 'a' (set)"]
    assert told(script(a, b), script(c, a, b)) == ["step 'c' (set) is new, at the beginning"]
    assert told(script(a, b, c), script(a, c)) == ["step 'b' (command) is gone"]
    assert told(script(a, b, c), script(c, a, b)) == ["step 'c' (set) stands at the beginning now"]
    assert told(script(a, b, c), script(b, c, a)) == ["step 'a' (set) stands after step 'c' (set) now"]
    other = step("b", "command", args={"amount": 6, "by": "y"}, timeout=5)
    assert told(script(a, b), script(a, other)) == [
        "step 'b' (command): args.amount is 6, and was 5",
        "step 'b' (command): args.by is \"y\", and was not set",
        "step 'b' (command): args.to is not set any more, and was \"x\"",
        "step 'b' (command): timeout is 5, and was not set",
    ]
    assert told(script(a), script({**a, "name": "z"})) == ['step \'z\' (set): name is "z", and was "a"']


def test_steps_without_names_are_followed_too() -> None:
    old = script(step(None, value=1), step(None, value=2), step(None, "say", message="x"))
    new = script(step(None, "say", message="x"), step(None, value=1), step(None, value=3))
    assert told(old, new) == ["step 1 (say) stands at the beginning now", "step 3 (set): value is 3, and was 2"]


def test_lists_within_steps() -> None:
    loop = step("each", "loop", steps=[step("a")], catch=[{"errors": ["*"], "steps": [step("b")]}])
    new = step("each", "loop", steps=[step("a"), step("n")], catch=[{"errors": ["*"], "steps": [step("b", value=1)]}])
    assert told(script(loop), script(new)) == [
        "step 'n' (set) is new in step 'each' (loop), after step 'a' (set)",
        "step 'b' (set): value is 1, and was not set",
    ]
    branch = step("if", "if", then=[step("a")], **{"else": []})
    assert told(script(branch), script({**branch, "then": [], "else": [step("a")]})) == [
        "step 'a' (set) is gone from then of step 'if' (if)",
        "step 'a' (set) is new in else of step 'if' (if), at the beginning",
    ]


def test_parameters_and_fields_of_the_script() -> None:
    old = script(parameters=["who", {"name": "n", "type": "integer"}], description="x")
    new = script(parameters=[{"name": "n", "type": "string"}, "who", "more"], database="crm")
    assert told(old, new) == [
        "parameter 'n' stands at the beginning now",
        'parameter \'n\': type is "string", and was "integer"',
        "parameter 'more' is new, after parameter 'who'",
        'the script: database is "crm", and was not set',
        'the script: description is not set any more, and was "x"',
    ]


def test_the_json_of_a_change() -> None:
    moves, changes = diff_scripts(script(step("a"), step("b")), script(step("b"), step("a", value=1)))
    assert moves.to_dict().keys() == {"kind", "pointer", "was", "text"}
    assert (changes.kind, changes.pointer, changes.was) == ("added", "/steps/1/value", None)
    assert changes.to_dict() == {
        "kind": "added", "pointer": "/steps/1/value", "after": 1, "text": "step 'a' (set): value is 1, and was not set"}  # fmt: skip


VALUES = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([1.0, "a", "b~/", [], {}, [1, {"a": 1}]])
STEPS = st.recursive(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["set", "say"])},
        optional={
            "name": st.sampled_from("abcd"),
            "value": VALUES,
            "args": st.dictionaries(st.sampled_from("x/~"), VALUES),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {"type": st.just("loop"), "steps": st.lists(inner | st.just(7), max_size=4)},
        optional={"name": st.sampled_from("ab")},
    ),
    max_leaves=6,
)
SCRIPTS = st.fixed_dictionaries(
    {"steps": st.lists(STEPS, max_size=5) | VALUES},
    optional={"parameters": st.lists(st.sampled_from(["p", "q", {"name": "p"}, 3]), max_size=3), "name": VALUES},
)


def at(document: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        document = document[int(name) if isinstance(document, list) else name]
    return document


def same(left: Any, right: Any) -> bool:
    """Equality that tells 1, 1.0 and true apart, as the text of a script does."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and bool(left == right)


def rebuilt(old: Any, changes: list[Change]) -> Any:
    """The new script, made of the old one and the changes alone, from the outside in."""

    def build(value: Any, was: str, pointer: str) -> Any:
        here = [change for change in changes if change.kind == "changed" and change.pointer == pointer]
        if here:
            return here[0].after
        if isinstance(value, dict):
            gone = {change.was for change in changes if change.kind == "removed"}
            kept = {name: build(inner, f"{was}/{escaped(name)}", f"{pointer}/{escaped(name)}")
                    for name, inner in value.items() if f"{was}/{escaped(name)}" not in gone}  # fmt: skip
            return kept | {name: change.after for change in changes if change.kind == "added"
                           for name in [last(change.pointer, pointer)] if name is not None}  # fmt: skip
        return build_list(value, was, pointer) if isinstance(value, list) else value

    def build_list(value: list[Any], was: str, pointer: str) -> list[Any]:
        gone = {change.was for change in changes if change.kind == "removed"}
        moving = {
            change.was: change.pointer
            for change in changes
            if change.kind == "moved" and last(change.was, was) is not None
        }
        placed: dict[int, Any] = {}
        for change in changes:
            name = last(change.pointer, pointer)
            if change.kind == "added" and name is not None:
                placed[int(name)] = change.after
        staying = []
        for position, element in enumerate(value):
            place = f"{was}/{position}"
            if place in moving:
                to = moving[place]
                assert to is not None
                placed[int(to.rpartition("/")[2])] = build(element, place, to)
            elif place not in gone:
                staying.append((place, element))
        made: list[Any] = []
        while staying or len(made) in placed:
            if len(made) in placed:
                made.append(placed[len(made)])
            else:
                place, element = staying.pop(0)
                made.append(build(element, place, f"{pointer}/{len(made)}"))
        return made

    return build(old, "", "")


def escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def last(pointer: str | None, parent: str) -> str | None:
    """The name of a child of a place."""
    if pointer is None or not pointer.startswith(parent + "/") or "/" in pointer[len(parent) + 1 :]:
        return None
    return pointer[len(parent) + 1 :].replace("~1", "/").replace("~0", "~")


@settings(deadline=None, max_examples=300)
@given(SCRIPTS, SCRIPTS)
def test_a_difference_tells_everything(old: Any, new: Any) -> None:
    changes = diff_scripts(old, new)
    assert (changes == []) == same(old, new)
    for change in changes:
        assert change.text and change.to_dict()["kind"] == change.kind
        if change.was is not None and change.kind != "moved":
            assert same(at(old, change.was), change.before)
        if change.pointer is not None and change.kind != "moved":
            assert same(at(new, change.pointer), change.after)
    assert same(rebuilt(old, changes), new)


@settings(deadline=None)
@given(st.permutations(range(6)))
def test_as_few_moves_as_possible(order: list[int]) -> None:
    old, new = [{"name": str(number)} for number in range(6)], [{"name": str(number)} for number in order]
    matched = match(old, new)
    assert [matched[position] for position in range(6)] == order
    staying = [order[position] for position in range(6) if position not in moved(matched)]
    assert staying == sorted(staying)
    longest = max(bin(mask).count("1") for mask in range(64)
                  if (run := [order[at] for at in range(6) if mask >> at & 1]) == sorted(run))  # fmt: skip
    assert len(staying) == longest
