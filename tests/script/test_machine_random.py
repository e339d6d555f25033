"""Random programs: a machine whose state is written down and taken up elsewhere at every stop tells the same story.

The programs use every step type that runs; effects answer, fail and conflict as a table drawn with the program says.
"""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from script.effects import Done
from script.wire import Outcome
from tests.script.machine_driver import Table, compile_all, drive, start

VARIABLES = ("a", "b", "c")
expressions = st.sampled_from(["a + b", "a * 2", "size(c) + a", "b", "c + [a]", "a == b ? 1 : 2", "missing", "7"])
conditions = st.sampled_from(["a < b", "size(c) > 1", "true", "a + b > 5", "a == 1 || b == 2", "b"])


def leaf(inside_loop: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Steps without steps inside."""
    steps = [
        st.builds(
            lambda v, e: {"type": "set", "variable": v, "value": "{{ " + e + " }}"},
            st.sampled_from(VARIABLES[:2]),
            expressions,
        ),
        st.builds(lambda e: {"type": "say", "message": "it is {{ " + e + " }}"}, expressions),
        st.builds(
            lambda c: {"type": "command", "command": c, "args": {"x": "{{ a }}"}, "output_variable": "b"},
            st.sampled_from(["add", "get", "send_email", "light"]),
        ),
        st.just({"type": "fetch", "source": "btree", "resource": "s", "variable": "c"}),
        st.builds(
            lambda a: {"type": "command", "command": "manage_transaction", "args": {"action": a}},
            st.sampled_from(["begin", "commit", "rollback"]),
        ),
        st.just({"type": "script", "script_name": "helper", "script_args": {"a": "{{ a }}"}, "output_variable": "a"}),
        st.just({"type": "script", "script_name": "other", "script_args": {}, "output_variable": "b"}),
        st.just({"type": "fail", "code": "drawn", "message": "a is {{ a }}"}),
        st.builds(lambda e: {"type": "return", "value": "{{ " + e + " }}"}, expressions),
    ]
    if inside_loop:
        steps.append(st.sampled_from([{"type": "break"}, {"type": "continue"}]))
    return st.one_of(steps)


def decorated(step: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def decorate(node: dict[str, Any], ignore: bool, guard: str | None) -> dict[str, Any]:
        more: dict[str, Any] = {"continue_on_error": True} if ignore else {}
        return {**node, **more, **({"when": guard} if guard else {})}

    return st.builds(decorate, step, st.booleans(), st.none() | conditions)


def steps(depth: int, inside_loop: bool) -> st.SearchStrategy[list[dict[str, Any]]]:
    node = leaf(inside_loop)
    if depth:
        inner = steps(depth - 1, inside_loop)
        in_loop = steps(depth - 1, True)
        node = st.one_of(
            node,
            st.builds(lambda c, t, e: {"type": "if", "condition": c, "then": t, "else": e}, conditions, inner, inner),
            st.builds(lambda s: {"type": "block", "steps": s, "output_variable": "b"}, inner),
            st.builds(
                lambda s, n: {
                    "type": "loop",
                    "list": str(list(range(n))),
                    "iterator": f"i{depth}",
                    "steps": s,
                    "output_variable": "c",
                },
                in_loop,
                st.integers(0, 3),
            ),
        )
    return st.lists(decorated(node), min_size=1, max_size=4)


HELPER = {
    "name": "helper",
    "parameters": ["a"],
    "steps": [{"type": "command", "command": "add", "args": {}}, {"type": "return", "value": "{{ a + 1 }}"}],
}
OTHER = {"name": "other", "database": "elsewhere", "steps": [{"type": "say", "message": "hello"}]}
FIRST = [{"type": "set", "variable": name, "value": value} for name, value in zip(VARIABLES, (1, 2, [3]), strict=True)]

answers = st.lists(st.sampled_from(["value", "value", "value", "value", "failed", "conflict"]), max_size=30)


class Drawn(Table):
    """Answers effects in the drawn order, whatever they are."""

    def __init__(self, drawn: list[str]) -> None:
        super().__init__([])
        self._drawn = list(drawn)

    def __call__(self, effect: Any) -> Outcome:
        outcome = super().__call__(effect)
        kind = self._drawn.pop(0) if self._drawn else "value"
        if effect.kind == "sleep":
            return outcome
        if kind == "value":
            value = [1, 2] if effect.call.get("tool") == "select" else 3
            return Outcome(value, None, outcome.at)
        return Outcome(None, {"code": kind, "message": kind, "retryable": False}, outcome.at)


@settings(max_examples=200, deadline=None)
@given(steps(2, False), answers, st.sampled_from([None, "shop"]), st.integers(1, 7), st.booleans())
def test_random_programs_survive_any_stop(
    body: list[dict[str, Any]], drawn: list[str], database: str | None, fuel: int, dry_run: bool
) -> None:
    script = {"name": "t", "steps": FIRST + body, **({"database": database} if database else {})}
    programs = compile_all([script, HELPER, OTHER])
    tables = [Drawn(drawn) for _ in range(2)]
    for table in tables:
        table.settings["dry_run"] = dry_run
    here, done = drive(start(programs, tables[0]), tables[0])
    elsewhere, again = drive(start(programs, tables[1]), tables[1], elsewhere=True, fuel=fuel)
    assert elsewhere == here
    assert again == done
    assert isinstance(done, Done)
    _numbered_without_gaps(here)


def _numbered_without_gaps(lines: list[str]) -> None:
    numbers = [int(line.split()[0]) for line in lines if not line.startswith("    ->")]
    assert numbers == list(range(1, len(numbers) + 1))
