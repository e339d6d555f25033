"""However an answer is cut into pieces, it is the same answer."""

from types import SimpleNamespace
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import Message, Usage
from agent.assembly import Assembly

ARGUMENTS = st.dictionaries(st.text("abc", min_size=1), st.integers(0, 9) | st.text('xyz{}"', max_size=8), max_size=3)
CALLS = st.lists(st.tuples(st.sampled_from(["select", "add"]), ARGUMENTS), max_size=3)


def chunk(finish: str | None = None, **delta: Any) -> Any:
    return SimpleNamespace(choices=[SimpleNamespace(delta=SimpleNamespace(**delta), finish_reason=finish)])


def call(index: int, arguments: str, **first: str) -> Any:
    function = SimpleNamespace(arguments=arguments, name=first.get("name"))
    return SimpleNamespace(index=index, id=first.get("id"), function=function)


@settings(deadline=None)
@given(st.text("ab c", max_size=30), CALLS, st.integers(1, 7), st.booleans())
def test_pieces_of_any_size_are_the_same_answer(
    text: str, calls: list[tuple[str, dict[str, Any]]], size: int, mixed: bool
) -> None:
    found = Assembly("small")
    heard = [found.add(chunk(content=text[at : at + size])) for at in range(0, len(text), size)]
    pieces: list[list[Any]] = []
    for index, (name, arguments) in enumerate(calls):
        told = orjson.dumps(arguments).decode()
        rest = [call(index, told[at : at + size]) for at in range(0, len(told), size)]
        pieces.append([call(index, "", id=f"id{index}", name=name), *rest])
    while any(pieces):
        for left in pieces:
            for _ in range(1 if mixed else len(left)):
                if left:
                    found.add(chunk(tool_calls=[left.pop(0)]))
    found.add(chunk("stop"))
    reply = found.reply([Message("user", "x")])
    assert "".join(heard) == reply.text == text
    assert [(one.id, one.tool, one.arguments) for one in reply.calls] == [
        (f"id{index}", name, arguments) for index, (name, arguments) in enumerate(calls)
    ]
    assert reply.usage.input_tokens > 0
    assert reply.usage != Usage()
