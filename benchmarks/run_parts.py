"""Parts of the speed of runs: pure steps, a wide loop, many small runs at once, and how soon an event is at its reader.

`run.py` prints what is measured here, one JSON line a figure, each with the machine's load at the time.
"""

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
from by_hand import HandWritten
from temporalio.client import Client

from gateway.dev import Stack
from script.compiler.compiler import compile_script
from script.machine.effects import Done
from script.machine.machine import Machine
from script.source.ast import Script
from script.wire import WORKFLOW_TYPE, RunInput, RunOutput
from settings import Settings

QUEUE = "bench"
PURE = 10_000
RATE = 50
Programs = list[dict[str, Any]]


def figure(name: str, unit: str, value: float, bar: float | None = None, **more: Any) -> bool:
    """Print one figure; whether it is within its bar."""
    line: dict[str, Any] = {"figure": name, "unit": unit, "value": round(value, 3)}
    if bar is not None:
        line |= {"bar": bar, "ok": value <= bar}
    print(json.dumps({**line, **more, "load": round(os.getloadavg()[0], 2)}), flush=True)
    return bar is None or value <= bar


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def compiled(steps: list[dict[str, Any]]) -> Programs:
    """A script of the benchmark's own tool."""
    script = Script.model_validate({"name": "part", "steps": steps})
    return [compile_script(script, {"fibo": "pure"}).with_calls({}).to_json()]


def light(name: str) -> dict[str, Any]:
    return {"type": "command", "name": name, "command": "fibo", "args": {"n": 10}, "output_variable": name}


def pure_loop(count: int) -> list[dict[str, Any]]:
    """`count` pure steps: a set and an if in turns."""
    body = [
        {"type": "set", "variable": "x", "value": "{{ x + n }}"},
        {"type": "if", "condition": "x > 10", "then": [], "else": []},
    ]
    return [
        {"type": "set", "variable": "x", "value": 0},
        {"type": "loop", "while": f"n < {count // 2}", "iterator": "n", "steps": body},
    ]


WIDE = [
    {"type": "set", "variable": "numbers", "value": list(range(100))},
    {"type": "loop", "list": "numbers", "iterator": "i", "concurrency": 100, "steps": [light("r")]},
]
TWO = [light("a"), light("b"), {"type": "return", "value": "{{ a + b }}"}]


async def run(client: Client, programs: Programs, run_id: str) -> Any:
    """Run a script to its end; its value."""
    begin = RunInput(script="part", version=programs[0]["hash"], programs=programs)
    output: RunOutput = await client.execute_workflow(
        WORKFLOW_TYPE, begin, id=run_id, task_queue=QUEUE, result_type=RunOutput
    )
    return output.value


def pure_in_process() -> bool:
    """The machine by itself, as the workflow runs it and as a watch does."""
    program = compile_script(Script.model_validate({"name": "p", "steps": pure_loop(PURE)}), {}).with_calls({})
    good = True
    for name, trace in (("as in a workflow", False), ("with its events", True)):
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            machine = Machine.start(
                {program.hash: program},
                program.hash,
                run_id="r",
                key_id="r",
                arguments={},
                clock="2026-01-01T00:00:00.000+00:00",
            )
            machine.trace = trace
            while not isinstance(machine.step(), Done):
                machine.drain()
            seconds.append(time.perf_counter() - began)
        good &= figure(f"pure step, {name}", "us", statistics.median(seconds) / PURE * 1e6, 60)
    return good


async def pure_in_workflow(client: Client) -> bool:
    """A whole run of pure steps, its start, its pauses and its end included."""
    programs = compiled(pure_loop(PURE))
    seconds = [await _timed(lambda number=number: run(client, programs, f"pure-{number}")) for number in range(5)]
    return figure("pure step, whole run", "us", statistics.median(seconds[1:]) / PURE * 1e6, 60)


async def wide_loop(client: Client) -> bool:
    programs = compiled(WIDE)
    seconds = [await _timed(lambda number=number: run(client, programs, f"wide-{number}")) for number in range(6)]
    return figure("loop of 100 side by side", "s", statistics.median(seconds[1:]), 1)


async def _timed(work: Callable[[], Awaitable[Any]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def many_runs(client: Client, seconds: int = 3, rounds: int = 6) -> bool:
    """Two-step runs as a script and by hand in turns, the one and the other first: how many end in a second when thirty are always
    under way; and, at a fixed rate, how long each takes from when it was due."""
    programs = compiled(TWO)
    kinds: dict[str, Callable[[str], Awaitable[Any]]] = {
        "script": lambda name: run(client, programs, f"s-{name}"),
        "hand": lambda name: client.execute_workflow(HandWritten.run, 2, id=f"h-{name}", task_queue=QUEUE),
    }
    late: dict[str, list[float]] = {kind: [] for kind in kinds}
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(rounds):
        for kind in sorted(kinds, reverse=number % 2 == 1):
            rates[kind].append(await _as_fast_as_it_goes(kinds[kind], f"fast-{number}", 100))
    for number in range(2):
        for kind, begin in kinds.items():
            late[kind] += await _at_a_rate(begin, f"rate-{number}", seconds)
    medians = {kind: statistics.median(found) for kind, found in rates.items()}
    p95 = {kind: percentile(found, 0.95) for kind, found in late.items()}
    share = medians["script"] / medians["hand"]
    good = figure(
        f"two-step runs, {RATE} a second, p95", "s", p95["script"], 1, by_hand=round(p95["hand"], 3), runs=len(late["script"])
    )  # fmt: skip
    figure("two-step runs a second", "1/s", medians["script"], by_hand=round(medians["hand"], 1))
    figure("two-step runs, share of those by hand", "ratio", share, at_least=0.95, ok=share >= 0.95)
    return good or share >= 0.95


async def _at_a_rate(begin: Callable[[str], Awaitable[Any]], name: str, seconds: int) -> list[float]:
    async def one(number: int, due: float) -> float:
        await asyncio.sleep(due - time.perf_counter())
        await begin(f"{name}-{number}")
        return time.perf_counter() - due

    start = time.perf_counter() + 0.2
    return list(await asyncio.gather(*(one(number, start + number / RATE) for number in range(RATE * seconds))))


async def _as_fast_as_it_goes(begin: Callable[[str], Awaitable[Any]], name: str, count: int, width: int = 30) -> float:
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            await begin(f"{name}-{number}")

    return count / await _timed(lambda: asyncio.gather(*(some() for _ in range(width))))


async def events_over_http(watchers: tuple[int, ...] = (1, 100)) -> bool:
    """From a step's end (on the worker's clock) to its event in the hands of an HTTP client, in the processes of production."""
    steps = [
        {"type": "loop", "list": str(list(range(30))), "iterator": "i", "steps": [
            {"type": "wait", "name": "pause", "duration": "150ms"},
            {"type": "command", "name": "step", "command": "describe_tool", "args": {"name": "get"}}]}
    ]  # fmt: skip
    good = True
    with tempfile.TemporaryDirectory(prefix="sop-bench-") as folder:
        stack = Stack(Settings(data_dir=Path(folder), port=0))
        stack.start()
        key = (Path(folder) / "api-key").read_text(encoding="utf-8").strip()
        try:
            limits = httpx2.Limits(max_connections=200)
            headers = {"Authorization": f"Bearer {key}"}
            async with httpx2.AsyncClient(
                base_url=stack.gateway_url, headers=headers, timeout=60, limits=limits, trust_env=False
            ) as http:
                saved = await http.post("/v1/scripts", json={"name": "told", "steps": steps})
                assert saved.status_code == 201, saved.text
                for count in watchers:
                    run_id = (await http.post("/v1/scripts/told/runs", json={})).json()["id"]
                    found = await asyncio.gather(*(_delays(http, run_id) for _ in range(count)))
                    delays = [delay for of_one in found for delay in of_one]
                    good &= figure(
                        f"event at the HTTP client, {count} watching, p95", "ms", percentile(delays, 0.95),
                        30 if count == 1 else 100, median=round(statistics.median(delays), 1),
                    )  # fmt: skip
        finally:
            stack.stop()
    return good


async def _delays(http: httpx2.AsyncClient, run_id: str) -> list[float]:
    found = []
    async with http.stream("GET", f"/v1/runs/{run_id}/events") as answer:
        async for line in answer.aiter_lines():
            now, event = time.time(), json.loads(line)
            if event.get("name") == "step":
                ended = datetime.fromisoformat(event["started_at"]) + timedelta(milliseconds=event["duration_ms"])
                found.append((now - ended.timestamp()) * 1000)
    assert len(found) == 30, len(found)
    return found[3:]
