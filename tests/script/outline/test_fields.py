"""Every field of the language is told: a table of each of them, and what it adds to the outline."""

from typing import Any

import pytest

from script.outline import outline, summary
from script.source import ast
from script.source.loading import load_script

SAY = {"type": "say", "message": "x"}

COMMON: dict[str, tuple[Any, str]] = {
    "name": ("the_name", "1. the_name: "),
    "description": ("what it is for", "(what it is for)"),
    "is_async": (True, "Side by side with the next steps: "),
    "continue_on_error": (True, "- if it fails, the script goes on, with the failure in `error`"),
    "variable": ("result", "`result`"),
    "retry": ({"max_attempts": 4}, "- tried up to 4 times"),
    "timeout": ("90s", "- in at most 1 minute 30 seconds"),
    "catch": ([{"errors": ["a", "b"], "steps": [SAY]}], "If it fails with the error a or b:\n   1.1 say_1: "),
    "finally": ([SAY], "In any case, at its end:\n   1.1 say_1: "),
    "compensate": (SAY, "If the run fails or is cancelled after this step, undo it:\n   1.1 say_1: "),
    "when": ("n > 1", "When `n > 1`: "),
}
"""What any step may have (but for the database: see below), and what is told."""

NO_RESULT = ("if", "return", "fail", "break", "continue")

LOOP = {"type": "loop", "list": "rows", "iterator": "row", "steps": [SAY]}
FETCH = {"type": "fetch", "source": "btree", "resource": "users"}
CALL = {"type": "script", "script_name": "other"}

STEPS: dict[str, tuple[dict[str, Any], dict[str, tuple[Any, str]]]] = {
    "set": (
        {"type": "set", "variable": "n", "value": 1},
        {"variable": ("total", "Set `total` to 1"), "value": ("{{ a + 1 }}", "Set `n` to `a + 1`.")},
    ),
    "if": (
        {"type": "if", "condition": "a"},
        {
            "condition": ("{{ a > 2 }}", "If `a > 2`:"),
            "then": ([SAY], '\n   1.1 say_1: Say "x".\n'),
            "else": ([SAY], '\n   Otherwise:\n   1.1 say_1: Say "x".\n'),
        },
    ),
    "loop": (
        LOOP,
        {
            "list": ("{{ names }}", "For each `row` in `names`:"),
            "iterator": ("each", "For each `each` in `rows`:"),
            "index": ("i", ", counted from 0 by `i`:"),
            "while": ("n < 3", "in `rows`, as long as `n < 3`:"),
            "steps": ([SAY, SAY], "   1.2 say_2: "),
            "concurrency": (4, ", up to 4 side by side:"),
            "batch_size": (20, ", as a batch in chunks of 20, each in a transaction of its own:"),
            "tolerate_failures": ("2%", ", going on while at most 2% failed:"),
            "reduce": ({"n": {"op": "count"}}, ", bringing out `n` = the number of elements:"),
        },
    ),
    "block": ({"type": "block", "steps": []}, {"steps": ([SAY], "Together, do the steps:\n   1.1 say_1: ")}),
    "fetch": (
        FETCH,
        {
            "source": ("elsewhere", ' from the source "elsewhere"'),
            "resource": ("orders", "Fetch the rows of shop.orders."),
            "filter": ({"age": {"$gt": 30}}, "shop.users where age is more than 30."),
            "key": ("{{ id }}", "shop.users with the key `id`."),
            "fields": (["name", "a.b AS c"], ", only the fields name and a.b (as c)."),
            "order_by": (["-age", "name"], ", in the order of age (downwards), name."),
            "limit": (5, ", at most 5."),
            "single": (True, "Fetch the first row (or null) of shop.users."),
        },
    ),
    "command": (
        {"type": "command", "command": "coupon_code"},
        {"command": ("light_up", "Call light_up."), "args": ({"a": "{{ b }}", "c": [1]}, " with a = `b` and c = [1].")},
    ),
    "script": (
        CALL,
        {
            "script_name": ("third", "Run the script third."),
            "script_args": ({"x": "{{ y }}"}, " with x = `y`."),
            "version": ("0123456789ab" * 6, "other (version 0123456789ab)."),
            "transaction": ("inherit", ", in the transaction of this one."),
        },
    ),
    "ask": (
        {"type": "ask", "prompt": "why?"},
        {
            "prompt": ("{{ q }}", "Ask the language model `q`."),
            "schema": ({"type": "string"}, ', for an answer that fits `{"type": "string"}`.'),
            "model": ("big", 'the language model "big"'),
            "system": ("be short", ', told first "be short".'),
        },
    ),
    "say": (SAY, {"message": ("hello {{ who }}", 'Say "hello {{ who }}".')}),
    "wait": (
        {"type": "wait"},
        {
            "duration": ("2 days", "Wait for 2 days."),
            "until": ("{{ day }}", "Wait until `day`."),
            "approval": (
                {"by": ["ann", "bob"], "prompt": "May it?", "timeout": 60},
                'Wait for the approval of "ann" or "bob": "May it?", for at most 1 minute.',
            ),
        },
    ),
    "return": ({"type": "return"}, {"value": ({"a": "{{ b }}"}, "Return {a: `b`}.")}),
    "fail": (
        {"type": "fail"},
        {
            "code": ("gone", 'Fail with the error "gone".'),
            "message": ("it is gone", 'the error "failed": "it is gone".'),
        },
    ),
    "break": ({"type": "break"}, {}),
    "continue": ({"type": "continue"}, {}),
}

DATABASES = [
    (FETCH, "Fetch the rows of other.users.\n   - on the database other, in a transaction of its own"),
    ({"type": "command", "command": "light"}, "Call light.\n   - on the database other, in a transaction of its own"),
    (CALL, "Run the script other, on the database other, as a run of its own."),
    (
        {"type": "block", "steps": [FETCH]},
        "On the database other, in one transaction of their own, do the steps:\n   1.1 fetch_1: Fetch the rows of other.users.",
    ),
]

SCRIPT: dict[str, tuple[Any, str]] = {
    "name": ("told", "general.told\n"),
    "description": ("what it does", "\nwhat it does\n"),
    "category": ("daily", "daily.t\n"),
    "parameters": (["who"], "Takes:\n- `who`\n"),
    "database": ("shop", "Database: shop, in transactions of serializable isolation.\n"),
    "isolation": ("snapshot", "Isolation: snapshot.\n"),
    "steps": ([{"type": "return", "value": 7}], "1. return_1: Return 7.\n"),
    "output_schema": ({"type": "integer"}, "Returns a whole number.\n"),
    "on_failure": ([SAY], "\nIf the run has failed:\n2. say_1: "),
}  # fmt: skip

PARTS: dict[type[ast.Node], tuple[Any, dict[str, tuple[Any, str]]]] = {
    ast.Parameter: (
        lambda more: {"name": "t", "parameters": [{"name": "who", **more}], "steps": [SAY]},
        {
            "name": ("whom", "- `whom`"),
            "type": ("date", "- `who` (a date)"),
            "description": ("a person", "- `who`, a person"),
            "default": (None, "- `who`; without it, null"),
            "required": (False, "- `who`; it may be left out"),
        },
    ),
    ast.Retry: (
        lambda more: {"name": "t", "steps": [{**SAY, "retry": more}]},
        {
            "max_attempts": (7, "tried up to 7 times"),
            "initial_interval": (30, "with pauses of 30 seconds"),
            "backoff": (3, "each 3 times the one before"),
            "max_interval": (90, "at most 1 minute 30 seconds"),
            "jitter": (0.1, "10% of them random"),
            "only": (["busy"], "only after the error busy"),
            "never": (["gone", "lost"], "never after the error gone or lost"),
        },
    ),
    ast.Catch: (
        lambda more: {"name": "t", "steps": [{**SAY, "catch": [{"steps": [], **more}]}]},
        {"errors": (["*"], "If it fails with any error:"), "steps": ([SAY], "1.1 say_1")},
    ),
    ast.Reduce: (
        lambda more: {"name": "t", "steps": [{**LOOP, "reduce": {"r": {"op": "sum", **more}}}]},
        {
            "op": ("max", "`r` = the greatest of"),
            "value": ("row.n", "the sum of `row.n`"),
            "where": ("row.ok", " where `row.ok`"),
            "limit": (3, "(at most 3)"),
        },
    ),
    ast.Approval: (
        lambda more: {"name": "t", "steps": [{"type": "wait", "approval": {"by": "ann", "prompt": "p", **more}}]},
        {
            "by": ("bob", 'approval of "bob"'),
            "prompt": ("really?", '"really?"'),
            "timeout": ("1h 30m", "for at most 1 hour 30 minutes"),
        },
    ),
}


def told(**script: Any) -> str:
    return outline(load_script({"name": "t", "steps": [SAY], **script}).script)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        pytest.param({**base, field: value}, text, id=f"{kind}-{field}")
        for kind, (base, fields) in STEPS.items()
        for field, (value, text) in {**COMMON, **fields}.items()
        if field != "variable" or kind not in NO_RESULT
    ],
)
def test_every_field_of_every_step(step: dict[str, Any], expected: str) -> None:
    if "catch" in step or "finally" in step or "compensate" in step:
        step = {key: [] if key in ("steps", "then", "else") else value for key, value in step.items()}
    assert expected in told(database="shop", steps=[step])


@pytest.mark.parametrize(
    ("step", "expected"), DATABASES, ids=lambda found: found.get("type") if isinstance(found, dict) else ""
)
def test_a_step_on_another_database(step: dict[str, Any], expected: str) -> None:
    assert expected in told(steps=[{**step, "database": "other"}])


@pytest.mark.parametrize("field", SCRIPT)
def test_every_field_of_a_script(field: str) -> None:
    value, expected = SCRIPT[field]
    assert expected in told(**{field: value})


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param(make({field: value}), text, id=f"{model.__name__}-{field}")
        for model, (make, fields) in PARTS.items()
        for field, (value, text) in fields.items()
    ],
)
def test_every_field_of_what_stands_in_steps(script: dict[str, Any], expected: str) -> None:
    assert expected in outline(load_script(script).script)


def test_the_tables_are_complete() -> None:
    def fields(model: type[ast.Node]) -> set[str]:
        return {info.alias or name for name, info in model.model_fields.items()} - {"type"}

    assert set(STEPS) == set(ast.STEP_MODELS)
    assert fields(ast.StepBase) == {*COMMON, "database"}
    for kind, model in ast.STEP_MODELS.items():
        assert fields(model) <= {*COMMON, "database", *STEPS[kind][1]}, kind
    assert fields(ast.Script) == set(SCRIPT)
    for part, (_, told_of) in PARTS.items():
        assert {info.alias or name for name, info in part.model_fields.items()} == set(told_of)


def test_a_step_in_one_line() -> None:
    step = load_script({"name": "t", "steps": [{
        "type": "loop", "name": "each", "list": "rows", "iterator": "row", "when": "ready", "timeout": 5, "continue_on_error": True,
        "steps": [SAY]}]}).script.steps[0]  # fmt: skip
    assert summary(step) == (
        "When `ready`: for each `row` in `rows`; in at most 5 seconds; if it fails, the script goes on, with the failure in `error`"
    )
    fetch = load_script({"name": "t", "steps": [FETCH]}).script.steps[0]
    assert summary(fetch, "shop") == "Fetch the rows of shop.users"
    assert summary(fetch) == "Fetch the rows of users"
