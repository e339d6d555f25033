"""Steps in their places: the paths and pointers are those that the compiler gives."""

import pytest
from hypothesis import given, settings

from script.compiler.compiler import compile_script
from script.source.ast import Script
from script.source.loading import load_script
from script.source.tree import place, walk
from tests.script.machine_driver import EFFECTS
from tests.script.outline.texts import EXAMPLES, drawn, example, golden_scripts

TOOLS = {**EFFECTS, "aggregate": "read"}
GOLDEN = golden_scripts()


def same(script: Script) -> None:
    compiled = [(step.path, step.name, step.type, step.pointer) for step in compile_script(script, TOOLS).steps]
    placed = list(walk(place(script)))
    assert [(each.path, each.name, each.node.type, each.pointer) for each in placed] == compiled
    assert len({each.number for each in placed}) == len(placed)


@pytest.mark.parametrize("name", GOLDEN)
def test_places_are_those_of_the_compiler(name: str) -> None:
    same(GOLDEN[name])


@pytest.mark.parametrize("name", EXAMPLES)
def test_places_in_the_examples(name: str) -> None:
    same(example(name))


@settings(deadline=None, max_examples=60)
@given(drawn)
def test_places_in_random_scripts(script: Script) -> None:
    same(script)


def test_numbers_and_paths() -> None:
    say = {"type": "say", "message": "x"}
    text = {
        "name": "t",
        "steps": [
            {"type": "if", "name": "a", "condition": "true", "then": [say], "else": [say, say], "finally": [say]},
            {
                "type": "script",
                "name": "b",
                "script_name": "other",
                "compensate": {"type": "say", "message": "x"},
                "catch": [{"errors": ["e"], "steps": [say]}],
            },
        ],
        "on_failure": [say],
    }
    placed = list(walk(place(load_script(text).script)))
    assert [(each.number, each.path, each.pointer) for each in placed] == [
        ("1", "a", "/steps/0"),
        ("1.1", "a/say_1", "/steps/0/then/0"),
        ("1.2", "a/say_1_", "/steps/0/else/0"),
        ("1.3", "a/say_2", "/steps/0/else/1"),
        ("1.4", "a/say_1__", "/steps/0/finally/0"),
        ("2", "b", "/steps/1"),
        ("2.1", "b.compensate/say_1", "/steps/1/compensate"),
        ("2.2", "b.catch/say_1", "/steps/1/catch/0/steps/0"),
        ("3", "say_1", "/on_failure/0"),
    ]
    assert [each.name for each in placed[5].part("catch")] == ["say_1"]
    assert placed[5].part("steps") == ()
