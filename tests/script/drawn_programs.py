"""Small random programs that hypothesis draws and shrinks, and answers to their effects, drawn with them.

They use every step type that runs, also steps that ask a model and blocks on another database.
"""

from typing import Any

from hypothesis import strategies as st

from script.machine.effects import TIMERS
from script.wire import Outcome
from tests.script.machine_driver import Table

CANCEL = 9
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
        st.just({"type": "ask", "prompt": "{{ a }}?", "output_variable": "b"}),
        st.just({"type": "wait", "duration": 60}),
        st.just({"type": "fail", "code": "drawn", "message": "a is {{ a }}"}),
        st.builds(lambda e: {"type": "return", "value": "{{ " + e + " }}"}, expressions),
    ]
    if inside_loop:
        steps.append(st.sampled_from([{"type": "break"}, {"type": "continue"}]))
    return st.one_of(steps)


HANDLER: list[dict[str, Any]] = [{"type": "set", "variable": "a", "value": 5}]
AROUND: dict[str, Any] = {
    "continue_on_error": True,
    "retry": {"max_attempts": 2},
    "timeout": 10,
    "catch": [{"errors": ["failed", "drawn"], "steps": HANDLER}],
    "finally": [{"type": "command", "command": "light", "args": {}}],
    "compensate": {"type": "command", "command": "update", "args": {"b": "{{ b }}"}},
    "is_async": True,
}


def decorated(step: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    def decorate(node: dict[str, Any], around: list[str], guard: str | None) -> dict[str, Any]:
        if _leaves(node):
            around = [name for name in around if name != "is_async"]
        return {**node, **{name: AROUND[name] for name in around}, **({"when": guard} if guard else {})}

    around = st.lists(st.sampled_from(sorted(AROUND)), max_size=2, unique=True)
    return st.builds(decorate, step, st.just([]) | around, st.none() | conditions)


def _leaves(node: Any) -> bool:
    """Whether a part of a script ends something around it: then the checker would refuse it as an async step."""
    if isinstance(node, list):
        return any(map(_leaves, node))
    return isinstance(node, dict) and (
        node.get("type") in ("return", "break", "continue") or any(map(_leaves, node.values()))
    )


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
                lambda s: {"type": "block", "database": "far", "steps": s, "output_variable": "b"},
                inner.filter(lambda found: not _leaves(found)),
            ),
            st.builds(
                lambda s: {
                    "type": "loop",
                    "list": "[1, 2, 3]",
                    "iterator": f"p{depth}",
                    "concurrency": 2,
                    "steps": s,
                    "output_variable": "c",
                },
                inner.filter(lambda found: not _leaves(found)),
            ),
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
    """Answers effects as drawn, whatever they are, and in a drawn order; timers fire in between."""

    def __init__(self, drawn: list[str], picks: list[int]) -> None:
        super().__init__([])
        self._drawn = list(drawn)
        self._picks = list(picks)

    def next(self, waiting: dict[str, Any]) -> str:
        pick = self._picks.pop(0) if self._picks else 0
        name = list(waiting)[pick % len(waiting)]
        if pick == CANCEL:
            self.cancel_at = name
        return name

    def __call__(self, effect: Any) -> Outcome:
        outcome = super().__call__(effect)
        kind = self._drawn.pop(0) if self._drawn else "value"
        if effect.kind in TIMERS:
            return outcome
        if kind == "value":
            value = [1, 2] if effect.call.get("tool") == "select" else 3
            return Outcome(value, None, outcome.at)
        return Outcome(None, {"code": kind, "message": kind, "retryable": False}, outcome.at)
