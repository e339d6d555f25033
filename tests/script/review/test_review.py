"""The static review: each rule with a script that it is for and one that it is not for, effects of scripts and of those that they call."""

from typing import Any

import pytest
from hypothesis import given, settings

from script.checker.checker import check_script
from script.environment import ScriptSignature, StaticEnvironment
from script.review import Review, review_script
from script.review.rules import RULES
from script.source.ast import Script
from script.source.loading import load_script
from tests.script.outline.texts import drawn, example
from tests.script.random_programs import ENVIRONMENT as RANDOM
from toolbox.registry import builtin_registry

TOOLS = builtin_registry().signatures()
CALLED: dict[str, dict[str, Any]] = {
    "writer": {"name": "writer", "database": "far", "steps": [
        {"type": "command", "command": "add", "args": {"store": "log", "record": {}}}]},
    "reader": {"name": "reader", "database": "far", "steps": [{"type": "fetch", "resource": "log"}]},
    "helper": {"name": "helper", "steps": [
        {"type": "command", "command": "add", "args": {"store": "log", "record": {}}},
        {"type": "script", "script_name": "reader"}]},
}  # fmt: skip
ENVIRONMENT = StaticEnvironment(
    known_tools=TOOLS,
    known_scripts={
        **{name: ScriptSignature((), text.get("database")) for name, text in CALLED.items()},
        "unknown": ScriptSignature((), "far"),
    },
)

Step = dict[str, Any]

SAY: Step = {"type": "say", "message": "x"}
MAIL: Step = {
    "type": "command",
    "name": "mail",
    "command": "send_email",
    "args": {"to": "a@b.c", "subject": "s", "body": "b"},
}
POST: Step = {
    "type": "command",
    "name": "post",
    "command": "http_request",
    "args": {"url": "http://x", "method": "POST"},
}
GET: Step = {"type": "command", "name": "get", "command": "http_request", "args": {"url": "http://x"}}
ADD: Step = {"type": "command", "name": "add", "command": "add", "args": {"store": "s", "record": {}}}
THERE: Step = {**ADD, "name": "there", "database": "far"}
BLOCK: Step = {"type": "block", "name": "block", "database": "far", "steps": [ADD]}
RUN: Step = {"type": "script", "name": "run", "script_name": "writer"}
FETCH: Step = {"type": "fetch", "name": "rows", "resource": "s", "variable": "rows"}
ASK: Step = {"type": "ask", "name": "ask", "prompt": "why?"}
APPROVAL: Step = {"type": "wait", "name": "boss", "approval": {"by": "ann", "prompt": "p"}}
NOTIFY: Step = {"type": "command", "name": "tell", "command": "notify", "args": {"message": "m", "url": "https://x"}}


def again(**more: Any) -> Step:
    return {"type": "loop", "name": "again", "while": "n < 3", "steps": [SAY], **more}


def call(args: dict[str, Any], command: str = "select") -> Step:
    return {"type": "command", "name": "act", "command": command, "args": args}


def each(*steps: Step) -> Step:
    return {"type": "loop", "name": "each", "list": "[1]", "iterator": "i", "steps": list(steps)}


def branch(then: list[Step], otherwise: list[Step]) -> Step:
    return {"type": "if", "name": "branch", "condition": "n > 1", "then": then, "else": otherwise}


UNDO = {"compensate": {**SAY, "name": "undo"}}
RETRY = {"retry": {"max_attempts": 3}}
IGNORE = {"continue_on_error": True}
ERROR: Step = {"type": "say", "message": "{{ error.code }}"}
COUNT: Step = {"type": "set", "variable": "n", "value": "{{ n + 1 }}"}

CASES: dict[str, tuple[list[tuple[list[Step], str]], list[list[Step]]]] = {
    "outside_call": ([([MAIL], "/steps/0")], [[ADD]]),
    "ask_at_run_time": ([([ASK], "/steps/0")], [[SAY]]),
    "ask_without_schema": (
        [([{**ASK, "variable": "a"}], "/steps/0")],
        [[ASK], [{**ASK, "variable": "a", "schema": {"type": "string"}}]],
    ),
    "approval_without_timeout": (
        [([APPROVAL], "/steps/0")],
        [[{**APPROVAL, "approval": {"by": "ann", "prompt": "p", "timeout": 5}}], [{**APPROVAL, "timeout": 5}]],
    ),
    "unbounded_loop": (
        [
            ([again(steps=[COUNT])], "/steps/0/while"),
            ([again(**{"while": "i < 9 || n < 3", "index": "i"}, steps=[COUNT])], "/steps/0/while"),
            ([again(**{"while": "!(i < 9)", "index": "i"})], "/steps/0/while"),
            ([again(steps=[{"type": "break"}])], "/steps/0/while"),
        ],
        [
            [again(**{"while": "i < 9 && n < 3", "index": "i"}, steps=[COUNT])],
            [again(**{"while": "{{ i <= n }}", "iterator": "i"})],
            [again(list="[1, 2]", iterator="x", steps=[COUNT])],
            [again(timeout="1h", steps=[COUNT])],
            [{"type": "block", "timeout": "1h", "steps": [again(steps=[COUNT])]}],
            [each(SAY)],
        ],
    ),
    "endless_loop": (
        [([again()], "/steps/0/while"), ([again(**{"while": "true"}, timeout="1h")], "/steps/0/while")],
        [[again(steps=[COUNT])], [again(index="n")], [again(steps=[{"type": "break"}])], [again(list="[1]", iterator="i")]],
    ),
    "secret_used": (
        [([NOTIFY], "/steps/0"), ([call({"message": "m", "channel": "webhook", "secret": "crm"}, "notify")], "/steps/0")],
        [[call({"message": "m", "to": "a@b.c"}, "notify")], [MAIL]],
    ),
    "literal_secret": (
        [
            ([call({"url": "http://x", "headers": {"Authorization": "Bearer abc"}}, "http_request")], "/steps/0/args/headers/Authorization"),
            ([call({"url": "http://x", "json": [{"api/key": 1, "a/api_key": "k"}]}, "http_request")], "/steps/0/args/json/0/a~1api_key"),
            ([call({"url": "https://me:secret@x/"}, "http_request")], "/steps/0/args/url"),
        ],
        [
            [call({"url": "https://x/a:b@c", "headers": {"Authorization": "{{ key }}", "Accept": "x"}}, "http_request")],
            [call({"message": "m", "url": "https://x", "secret": "crm"}, "notify")],
        ],
    ),
    "whole_store_changed": (
        [
            ([call({"store": "s", "action": "delete"})], "/steps/0/args/action"),
            ([call({"left": "a", "right": "b", "on": "k", "type": "left", "action": "delete_left"}, "join")], "/steps/0/args/action"),
        ],
        [
            [call({"store": "s", "action": "delete", "filter": {"a": 1}})],
            [call({"store": "s", "action": "delete", "max_affected": 5})],
            [call({"store": "s", "action": "delete", "dry_run": True})],
            [call({"store": "s"})],
            [call({"left": "a", "right": "b", "on": "k", "type": "anti", "action": "delete_left"}, "join")],
        ],
    ),
    "not_pinned": ([([{**RUN, "version": "latest"}], "/steps/0/version")], [[RUN], [{**RUN, "version": "12345678"}]]),
    "recursion": ([([{**RUN, "script_name": "t"}], "/steps/0/script_name")], [[RUN]]),
    "missing_compensation": (
        [
            ([{**FETCH, **UNDO}, MAIL, ADD], "/steps/1"),
            ([{**SAY, **UNDO}, POST, {**SAY, "name": "x"}, FETCH, {**SAY, "name": "y"}], "/steps/1"),
            ([{**SAY, **UNDO}, {**RUN, "script_name": "helper", "database": "far"}, FETCH], "/steps/1"),
            ([{**SAY, **UNDO}, POST, {**FETCH, "catch": [{"errors": ["x"], "steps": [SAY]}]}], "/steps/1"),
            ([each(POST), {**FETCH, **UNDO}], "/steps/0/steps/0"),
            ([{**ADD, **UNDO}, each(POST)], "/steps/1/steps/0"),
            ([{**SAY, **UNDO}, RUN, FETCH], "/steps/1"),
            ([RUN, {**RUN, "name": "second"}], "/steps/0"),
            ([{**RUN, "script_name": "unknown"}, BLOCK], "/steps/0"),
            ([{**SAY, **UNDO}, branch([POST], [SAY]), APPROVAL], "/steps/1/then/0"),
            ([{**SAY, **UNDO}, {**SAY, "catch": [{"errors": ["*"], "steps": [POST]}], "name": "s"}, FETCH], "/steps/1/catch/0/steps/0"),
            ([{**SAY, **UNDO}, {"type": "block", "steps": [POST], "finally": [FETCH]}], "/steps/1/steps/0"),
            ([{**SAY, **UNDO}, POST, {**FETCH, "catch": [{"errors": ["*"], "steps": [{"type": "fail"}]}]}], "/steps/1"),
        ],
        [
            [MAIL, ADD],
            [{**FETCH, **UNDO}, MAIL],
            [{**FETCH, **UNDO}, GET, ADD],
            [{**MAIL, **UNDO}, ADD],
            [{"type": "block", "steps": [POST], **UNDO}, ADD],
            [{**SAY, **UNDO}, {**RUN, "script_name": "reader"}, FETCH],
            [{**SAY, **UNDO}, {**RUN, "transaction": "inherit"}, FETCH],
            [{**SAY, **UNDO}, {**BLOCK, "steps": [FETCH]}, {**FETCH, "name": "f"}],
            [{**SAY, **UNDO}, {"type": "block", "steps": [ADD]}, FETCH],
            [{**SAY, **UNDO}, {"type": "block", "steps": [FETCH, POST]}],
            [{**SAY, **UNDO}, each({**POST, **IGNORE})],
            [{**SAY, **UNDO}, {**each(FETCH), "finally": [POST]}],
            [{**SAY, **UNDO}, POST, SAY, {"type": "wait", "duration": 5}],
            [{**SAY, **UNDO}, POST, {**FETCH, **IGNORE}],
            [{**SAY, **UNDO}, POST, {**FETCH, "catch": [{"errors": ["*"], "steps": [SAY]}]}],
            [{**SAY, **UNDO}, POST, {"type": "block", "steps": [FETCH], **IGNORE}],
            [{**SAY, **UNDO}, branch([POST], [FETCH])],
            [{**FETCH, "compensate": [POST, ADD]}, SAY],
        ],
    ),
    "write_outside_transaction": (
        [([THERE, FETCH], "/steps/0"), ([each(THERE)], "/steps/0/steps/0")],
        [[THERE], [{**call({"store": "s", "key": 1}, "get"), "database": "far"}, FETCH], [ADD, FETCH], [{**THERE, **UNDO}, FETCH], [BLOCK, FETCH], [{**FETCH, "database": "far"}, ADD]],
    ),
    "retried_outside_call": (
        [
            ([{**POST, **RETRY}], "/steps/0/retry"),
            ([{"type": "block", "steps": [MAIL], **RETRY}], "/steps/0/retry"),
            ([{**each(MAIL), "retry": {"never": ["x"]}}], "/steps/0/retry"),
            ([{**call({"url": "http://x", "method": "{{ m }}"}, "http_request"), **RETRY}], "/steps/0/retry"),
        ],
        [
            [POST],
            [{**GET, **RETRY}],
            [{**call({"url": "http://x", "method": "PUT"}, "http_request"), **RETRY}],
            [{**POST, "retry": {"max_attempts": 1}}],
            [{**POST, "retry": {"only": ["http_unavailable"]}}],
            [{**FETCH, **RETRY, "finally": [POST]}],
            [{**ADD, **RETRY}],
            [{**call({"id": "x"}, "trigger_schedule"), **RETRY}],
        ],
    ),
    "swallowed_error": (
        [
            ([{**MAIL, **IGNORE}], "/steps/0/continue_on_error"),
            ([ERROR, {**MAIL, **IGNORE}], "/steps/1/continue_on_error"),
            ([{"type": "block", "steps": [ERROR, {**MAIL, **IGNORE}]}], "/steps/0/steps/1/continue_on_error"),
            ([{**MAIL, **IGNORE}, {**SAY, "compensate": ERROR}], "/steps/0/continue_on_error"),
            ([{**MAIL, **IGNORE}, {**SAY, "catch": [{"errors": ["x"], "steps": [ERROR]}]}], "/steps/0/continue_on_error"),
            ([{**MAIL, "catch": [{"errors": ["x"], "steps": []}]}], "/steps/0/catch/0"),
        ],
        [
            [{**MAIL, **IGNORE}, ERROR],
            [{**MAIL, **IGNORE}, {**SAY, "when": "error.code == 'x'"}],
            [each(ERROR, {**MAIL, **IGNORE})],
            [{**MAIL, "catch": [{"errors": ["x"], "steps": [SAY]}]}],
            [MAIL],
        ],
    ),
}  # fmt: skip


def review(steps: list[Step], **script: Any) -> Review:
    text = {"name": "t", "parameters": ["n", "m", "key"], "database": "shop", "steps": steps, **script}
    return review_script(load_script(text).script, ENVIRONMENT, called)


def called(name: str, version: str | None) -> Script | None:
    return load_script(CALLED[name]).script if name in CALLED else None


def places(found: Review, code: str) -> list[str]:
    return [finding.problem.pointer for finding in found.findings if finding.problem.code == code]


@pytest.mark.parametrize(
    ("code", "steps", "pointer"),
    [
        pytest.param(code, *case, id=f"{code}-{at}")
        for code, (cases, _) in CASES.items()
        for at, case in enumerate(cases)
    ],
)
def test_a_rule_tells_it(code: str, steps: list[Step], pointer: str) -> None:
    found = review(steps)
    assert places(found, code) == [pointer]
    (told,) = [finding.problem for finding in found.findings if finding.problem.code == code]
    assert told.message and told.hint and told.severity in ("warning", "notice")


@pytest.mark.parametrize(
    ("code", "steps"),
    [
        pytest.param(code, steps, id=f"{code}-{at}")
        for code, (_, cases) in CASES.items()
        for at, steps in enumerate(cases)
    ],
)
def test_a_rule_does_not_tell_it(code: str, steps: list[Step]) -> None:
    assert places(review(steps), code) == []


def test_a_script_without_a_database() -> None:
    assert places(review([ADD, FETCH], database=None), "callers_database") == ["/steps/0", "/steps/1"]
    assert places(review([ADD, FETCH]), "callers_database") == []
    alone = [THERE, BLOCK, SAY, call({"action": "commit"}, "manage_transaction")]
    assert places(review(alone, database=None), "callers_database") == []


def test_every_rule_has_its_cases() -> None:
    told = {code for code, (cases, _) in CASES.items() for steps, _ in cases for code in codes(review(steps))}
    told |= codes(review([ADD], database=None))
    assert {*CASES, "callers_database"} <= told
    assert len(RULES) == 12


def codes(found: Review) -> set[str]:
    return {finding.problem.code for finding in found.findings}


def test_the_checkers_problems_come_first() -> None:
    found = review([MAIL, {"type": "set", "variable": "x", "value": "{{ nobody }}"}, {**GET, "name": "mail"}])
    severities = [finding.problem.severity for finding in found.findings]
    assert severities == sorted(severities, key=["error", "warning", "notice"].index)
    assert [(finding.problem.code, finding.step) for finding in found.findings][:2] == [
        ("undefined_variable", "set_2"),
        ("duplicate_name", "mail_"),
    ]


def test_findings_of_one_severity_come_in_the_order_of_the_script() -> None:
    steps = [{**GET, **IGNORE}, again(), {**POST, **RETRY}, call({"store": "s", "action": "delete"})]
    found = review(steps, parameters=[{"name": "n", "default": "{{ n }}"}])
    assert [
        (finding.step, finding.problem.code) for finding in found.findings if finding.problem.severity != "notice"
    ] == [
        (None, "undefined_variable"),
        ("get", "swallowed_error"),
        ("again", "endless_loop"),
        ("post", "retried_outside_call"),
        ("act", "whole_store_changed"),
    ]


def test_what_a_script_does() -> None:
    join = {
        "left": "users",
        "right": {"store": "orders", "database": "far"},
        "on": "id",
        "action": "delete_left",
        "filter": {"right": None},
    }
    found = review([
        FETCH, THERE, call(join, "join"), {"type": "script", "name": "help", "script_name": "helper"},
        call({"name": "fresh", "primary_key": ["id"]}, "create_store") | {"name": "make"}, MAIL, ASK, NOTIFY, APPROVAL,
        {**FETCH, "name": "any", "resource": "{{ key }}"},
    ]).to_dict()  # fmt: skip
    assert found["databases"] == [
        {"database": "far", "reads": ["log", "orders"], "writes": ["s"]},
        {"database": "shop", "reads": ["s", "{{ key }}"], "writes": ["fresh", "log", "users"]},
    ]
    assert [(each["tool"], each["kind"], each["step"]) for each in found["outside"]] == [
        ("send_email", "mail", "mail"),
        ("notify", "notification", "tell"),
    ]
    assert [(each["script"], each["via"]) for each in found["scripts"]] == [("helper", []), ("reader", ["helper"])]
    assert [each["step"] for each in found["asks"]] == ["ask"]
    assert found["approvals"] == [{"by": "ann", "step": "boss", "pointer": "/steps/8", "via": []}]
    assert found["secrets"] == [{"name": "default", "step": "tell"}]
    assert found["script"] == "t"


def test_the_examples_have_no_warnings() -> None:
    texts = {
        name: example(name)
        for name in ("check_churn_risk", "weekly_churn_prevention", "update_user", "log_audit", "user_update_saga")
    }
    known = {name: ScriptSignature(tuple(text.parameters), text.database) for name, text in texts.items()}
    environment = StaticEnvironment(known_tools=TOOLS, known_scripts=known)
    for text in texts.values():
        found = review_script(text, environment, lambda name, version: texts.get(name))
        assert [finding for finding in found.findings if finding.problem.severity != "notice"] == []
    saga = texts["user_update_saga"]
    text = saga.model_copy(update={"steps": [saga.steps[1], *saga.steps[:1], saga.steps[2]]})
    assert places(review_script(text, environment, lambda name, version: texts.get(name)), "missing_compensation") == [
        "/steps/0"
    ]


@settings(deadline=None, max_examples=60)
@given(drawn)
def test_random_scripts_are_reviewed(script: Script) -> None:
    found = review_script(script, RANDOM)
    assert review_script(script, RANDOM).to_dict() == found.to_dict()
    told = [finding.problem for finding in found.findings]
    assert not [problem for problem in check_script(script, RANDOM) if problem not in told]
    pointers = {finding.problem.pointer for finding in found.findings if finding.step is None}
    assert not [pointer for pointer in pointers if pointer.startswith(("/steps/", "/on_failure/"))]


def test_a_long_script_is_reviewed_in_no_time_to_speak_of() -> None:
    """Not in time that grows with the square of its length: the number of looks at a step is counted, not the time."""
    steps = [{**POST, "name": f"p{at}"} for at in range(400)]
    looks = 0

    class Counting(dict):  # type: ignore[type-arg]
        def get(self, *args: Any) -> Any:
            nonlocal looks
            looks += 1
            return super().get(*args)

    class Environment(StaticEnvironment):
        def tools(self) -> Any:
            return Counting(TOOLS)

    text = {"name": "t", "steps": [{**SAY, **UNDO}, branch(steps[:200], steps[200:])], "parameters": ["n"]}
    found = review_script(load_script(text).script, Environment())
    assert len(places(found, "missing_compensation")) == 398
    assert looks < 400 * 20
