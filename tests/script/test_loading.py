"""The way in: the documents' examples as they are written there, older spellings, comments, limits, problems with pointers."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from script.compiler.compiler import compile_script
from script.errors import ScriptInvalid
from script.source.ast import STEP_MODELS, Script
from script.source.goforms import to_cel
from script.source.loading import canonical_json, load_script, script_hash, strip_comments
from script.source.schema import schema_text

SEEDS = Path(__file__).parent / "fixtures" / "seeds"
TOOLS = dict.fromkeys(("heavy_computation", "update_record", "insert_log", "process_item"), "write")


@pytest.mark.parametrize("path", sorted(SEEDS.glob("*.json")), ids=lambda path: path.stem)
def test_the_documents_examples_parse_as_written(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("[ ... ]", "[]")
    script = load_script(text).script
    assert script.name in path.stem
    compile_script(script, TOOLS)


def test_there_are_twelve_examples() -> None:
    assert len(list(SEEDS.glob("*.json"))) == 12


def test_macros_and_scripts_are_the_same_tree() -> None:
    old = load_script((SEEDS / "macros_user_update_saga.json").read_text(encoding="utf-8"))
    new = load_script((SEEDS / "scripts_user_update_saga.json").read_text(encoding="utf-8"))
    assert old.script == new.script
    assert [notice.pointer for notice in old.notices] == ["/steps/0/type", "/steps/1/type"]
    assert new.notices == []


@pytest.mark.parametrize(
    ("old", "new"),
    [("macro", "script"), ("call_script", "script"), ("tool", "command"), ("assignment", "set"), ("condition", "if")],
)
def test_older_type_names(old: str, new: str) -> None:
    fields: dict[str, dict[str, Any]] = {
        "script": {"macro_name" if old == "macro" else "script_name": "x"},
        "command": {"tool" if old == "tool" else "command": "get"},
        "set": {"variable": "v", "value": 1},
        "if": {"condition": "true"},
    }
    loaded = load_script({"name": "t", "steps": [{"type": old, **fields[new]}]})
    assert loaded.script.steps[0].type == new
    assert [notice.pointer for notice in loaded.notices] == ["/steps/0/type"]


@pytest.mark.parametrize(
    ("form", "cel"),
    [
        ('eq .a "x"', 'a == "x"'),
        ("gt .n 5", "n > 5"),
        ("and (gt .n 5) (not .done)", "(n > 5) && (!done)"),
        ("or .a .b .c", "a || b || c"),
        ("len .rows", "size(rows)"),
        ('index .m "k"', 'm["k"]'),
        ("eq .a `x`", 'a == "x"'),
        ("eq .a 1 2", "a in [1, 2]"),
        ("n > 5", None),
        ("eq", None),
        ("eq .a", None),
        ("gt (.n 5", None),
        ("not", None),
    ],
)
def test_go_forms(form: str, cel: str | None) -> None:
    assert to_cel(form) == cel


def problems(source: Any) -> list[tuple[str, str]]:
    with pytest.raises(ScriptInvalid) as raised:
        load_script(source)
    return [(problem.code, problem.pointer) for problem in raised.value.problems]


def test_all_problems_at_once_with_pointers() -> None:
    script = {
        "name": "t", "stps": 1, "parameters": ["a", {"name": "b", "typ": "string"}],
        "steps": [{"type": "sett"}, {"type": "if", "cond": "a"}, {"typ": "x"}, {"type": "loop", "steps": [{"type": "say"}]},
                  {"type": "set", "variable": "v", "value": 1, "output_variable": "w"}],
    }  # fmt: skip
    assert sorted(problems(script)) == sorted(
        [
            ("unknown_field", "/stps"),
            ("unknown_field", "/parameters/1/typ"),
            ("unknown_step_type", "/steps/0/type"),
            ("missing_field", "/steps/1/condition"),
            ("unknown_field", "/steps/1/cond"),
            ("missing_field", "/steps/2"),
            ("missing_field", "/steps/3/steps/0/message"),
            ("invalid_value", "/steps/4"),
        ]
    )


def test_hints_name_the_nearest() -> None:
    with pytest.raises(ScriptInvalid) as raised:
        load_script({"name": "t", "steps": [{"type": "lop"}, {"type": "say", "mesage": "x", "message": "y"}]})
    assert [problem.hint for problem in raised.value.problems] == ["did you mean 'loop'?", "did you mean 'message'?"]


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("{", "not_json"),
        ("[1]", "not_an_object"),
        ('{"a": 1, "a": 2}', "duplicate_key"),
        ('{"name": "' + "x" * 300_000 + '"}', "too_large"),
        ("[" * 5000 + "]" * 5000, "too_deep"),
        ({"name": "t", "steps": [{"type": "say", "message": "x"}] * 10_001}, "too_many_steps"),
    ],
)
def test_what_is_no_script(source: Any, code: str) -> None:
    assert problems(source)[0][0] == code


def test_comments_keep_lines_and_strings() -> None:
    text = '{ // one\n "a": "http://x", // two "q"\n "b": "\\"//" }'
    assert json.loads(strip_comments(text)) == {"a": "http://x", "b": '"//'}
    assert strip_comments(text).count("\n") == text.count("\n")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_anything_else_is_a_problem_and_never_a_crash(value: Any) -> None:
    try:
        load_script({"name": "t", "steps": value})
    except ScriptInvalid as invalid:
        assert invalid.problems


def test_the_hash_is_that_of_the_meaning() -> None:
    one = load_script('{"name": "t", "steps": [{"type": "say", "message": "x"}]} // comment').script
    two = load_script({"steps": [{"message": "x", "type": "say"}], "name": "t"}).script
    other = load_script({"steps": [{"message": "y", "type": "say"}], "name": "t"}).script
    assert script_hash(one) == script_hash(two) != script_hash(other)
    assert load_script(json.loads(canonical_json(one))).script == one


def test_the_published_schema_is_that_of_the_models() -> None:
    published = Path(__file__).parents[2] / "docs" / "script.schema.json"
    assert published.read_text(encoding="utf-8") == schema_text(), "run: make docs"


def test_every_step_type_has_a_model_of_its_own() -> None:
    kinds = {model.model_fields["type"].annotation.__args__[0] for model in STEP_MODELS.values()}  # type: ignore[union-attr]
    assert kinds == set(STEP_MODELS)
    assert "steps" in Script.model_fields
