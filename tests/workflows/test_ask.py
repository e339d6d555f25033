"""`ask` steps on a real Temporal server, with a scripted model."""

import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest_asyncio
from temporalio.client import Client

from activities import Activities
from agent import ModelRefused, ModelUnavailable, ScriptedModel
from gateway.runs.watch import watch_run
from tests.conftest import System
from worker import THREADS, create_resources, create_worker

SCHEMA = {"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}}, "required": ["mood"]}
ASK: dict[str, Any] = {
    "type": "ask", "name": "judge", "prompt": "Judge: {{ text }}", "schema": SCHEMA, "output_variable": "judged"
}  # fmt: skip
SCRIPT: dict[str, Any] = {
    "name": "judging", "parameters": ["text"], "steps": [ASK, {"type": "return", "value": "{{ judged.mood }}"}]
}  # fmt: skip


@pytest_asyncio.fixture(loop_scope="session")
async def asking(client: Client, tmp_path: Path) -> AsyncIterator[tuple[System, ScriptedModel]]:
    model = ScriptedModel([])
    resources = create_resources(tmp_path, model=model)
    activities = Activities(resources)
    queue = f"ask-{uuid.uuid4().hex[:8]}"
    with ThreadPoolExecutor(THREADS) as threads:
        async with create_worker(client, queue, activities, threads):
            yield System(client, resources, queue, tmp_path), model
    activities.close()
    resources.databases.close()


def answering(model: ScriptedModel, *answers: str | Exception) -> None:
    model._answers[:] = answers
    model.requests.clear()


async def test_an_answer_is_recorded_and_its_cost_is_told(asking: tuple[System, ScriptedModel]) -> None:
    system, model = asking
    answering(model, '{"mood": "fine"}', '{"mood": "good"}')
    events = await system.run(SCRIPT, {"text": "what a day"})
    assert events[-1]["result"] == "good"
    step = next(event for event in events if event["type"] == "ask")
    assert step["result"] == {"mood": "good"}
    assert (step["model"], step["asked"]) == ("scripted", 2)
    assert step["usage"]["output_tokens"] == 4
    assert "Judge: what a day" in model.requests[0][0][-1].content
    assert [event async for event in watch_run(system.client, events[0]["run_id"])] == events
    assert len(model.requests) == 2, "a finished ask is never asked again"


async def test_what_may_pass_is_tried_again_and_a_refusal_fails_the_step(asking: tuple[System, ScriptedModel]) -> None:
    system, model = asking
    answering(model, ModelUnavailable("busy"), '{"mood": "bad"}')
    assert (await system.run(SCRIPT, {"text": "x"}))[-1]["result"] == "bad"
    answering(model, ModelRefused("I will not"))
    events = await system.run(SCRIPT, {"text": "x"})
    assert events[-1]["error"]["code"] == "model_refused"
    assert len(model.requests) == 1


async def test_an_answer_that_cannot_be_used_fails_with_what_it_was(asking: tuple[System, ScriptedModel]) -> None:
    system, model = asking
    answering(model, *["very good"] * 4)
    error = (await system.run(SCRIPT, {"text": "x"}))[-1]["error"]
    assert (error["code"], error["details"]["answer"]) == ("invalid_answer", "very good")


async def test_a_dry_run_and_a_mock_ask_nobody(asking: tuple[System, ScriptedModel]) -> None:
    system, model = asking
    answering(model)
    for options in ({"dry_run": True}, {"mocks": ["ask_model"]}):
        events = await system.run(SCRIPT, {"text": "x"}, **options)
        assert events[-1]["result"] == "good"
        assert "was not asked" in next(event for event in events if event["type"] == "ask")["notice"]
    assert model.requests == []


async def test_the_body_of_a_batch_gets_its_answers(asking: tuple[System, ScriptedModel]) -> None:
    system, model = asking
    system.store("shop", "items", ["id"], [{"id": n} for n in range(3)])
    answering(model, *['{"mood": "good"}', '{"mood": "bad"}', '{"mood": "good"}'])
    events = await system.run(
        {"name": "sorting", "database": "shop", "steps": [
            {"type": "fetch", "name": "all", "source": "btree", "resource": "items", "variable": "rows"},
            {"type": "loop", "name": "each", "list": "rows", "iterator": "r", "batch_size": 2, "output_variable": "done",
             "reduce": {"good": {"op": "count", "where": "judged.mood == 'good'"}},
             "steps": [{**ASK, "prompt": "Judge {{ r.id }}"},
                       {"type": "command", "command": "update", "args": {"store": "items", "key": "{{ r.id }}", "values": {"mood": "{{ judged.mood }}"}}}]},
            {"type": "fetch", "name": "after", "source": "btree", "resource": "items", "variable": "after"},
            {"type": "return", "value": "{{ [done.reduced.good, after] }}"}]},
    )  # fmt: skip
    moods = ["good", "bad", "good"]
    assert events[-1]["result"] == [2, [{"id": n, "mood": mood} for n, mood in enumerate(moods)]]


async def test_without_a_model_the_step_says_which_settings_are_missing(system: System) -> None:
    events = await system.run(SCRIPT, {"text": "x"})
    assert events[-1]["error"]["code"] == "model_not_configured"
    assert "SOP_OPENAI_MODEL" in events[-1]["error"]["hint"]
    _, problems = system.resources.library.check(SCRIPT)
    assert [(problem.code, problem.severity) for problem in problems] == [("model_not_configured", "warning")]
