"""python -m evals: which cases, which model, what it prints; and a model behind a real socket."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from evals.__main__ import main
from tests.agent.endpoint import Endpoint, calls


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()


def test_the_baseline_is_scored_and_written_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = tmp_path / "out.jsonl"
    assert main(["--scripted", "--case", "high_salaries", "--case", "every_monday", "--json", str(lines)]) == 0
    written = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    assert [(line["group"], line["case"], line["passed"]) for line in written] == [
        ("questions", "high_salaries", True),
        ("schedules", "every_monday", True),
    ]
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in table] == [
        ["group", "cases", "passed", "properties"],
        ["questions", "1", "1", "3/3"],
        ["schedules", "1", "1", "3/3"],
        ["all", "2", "2", "6/6"],
    ]


def test_a_model_is_asked_with_the_products_prompt_and_tools(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-evals")
    wanted = {"store": "employees", "filter": {"department": "Engineering", "salary": {"$gt": 100000}}}
    endpoint.streams(calls(0, "a", "select", json.dumps(wanted)), finish="tool_calls")
    endpoint.streams({"content": "Ada and Eve."})
    asked = ["--model", "small", "--endpoint", endpoint.url, "--key-variable", "MY_KEY", "--tool-calling", "native"]
    assert main([*asked, "--case", "high_salaries"]) == 0
    assert endpoint.keys == ["Bearer sk-evals"] * 2
    first, second = endpoint.requests
    assert {"select", "create_script", "ask_person"} <= {tool["function"]["name"] for tool in first["tools"]}
    assert any("high-salary" in str(message["content"]) for message in first["messages"])
    assert "Ada" in str(second["messages"][-1]["content"])
    assert "questions      1       1         3/3      50" in capsys.readouterr().out


def test_a_model_that_does_not_answer_fails_the_case(endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    endpoint.refuses(401, "no such key")
    assert main(["--model", "small", "--endpoint", endpoint.url, "--case", "high_salaries"]) == 1
    told = capsys.readouterr().out
    assert "questions/high_salaries\n  Turn: failed: " in told
    assert "  Rows: nothing was read" in told


def test_the_cases_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "--case", "dialogue"]) == 0
    assert "dialogue/seeds_dialogue: I want to create a script called check_churn_risk." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--case", "nothing"], "there is no case and no group nothing"),
        (["--endpoint", "http://127.0.0.1:9/v1"], "an endpoint belongs to --model"),
        (["--scripted", "--model", "m"], "an endpoint belongs to --model"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options) == 2
    assert told in capsys.readouterr().err
