"""The speed of runs: forty sequential light steps, as a script and as a workflow written by hand, on one server and one worker; and
the parts of it (`run_parts.py`).

The shape is the one that workflow engines publish: forty tasks, each computing fibo(10). Both workflows call the very same
activity; they run in turns, so that a slow moment of the machine hits both, and the ratio of the medians is the figure that counts.

Prints one JSON line for each figure. `python benchmarks/run.py [--rounds N]`.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from temporalio.client import Client

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "temporal-dev"))

import run_parts
from by_hand import HandWritten
from temporal_server import TemporalServer

from script.wire import WORKFLOW_TYPE, RunInput, RunOutput

STEPS = 40
QUEUE = "bench"
PUBLISHED = {"hatchet": 1.22, "windmill": 2.09, "temporal by hand": 2.97}
"""Seconds for the same forty tasks, from Windmill's benchmark page (other hardware: for orientation only)."""


def script() -> dict[str, Any]:
    """Forty commands and the sum of their results."""
    steps: list[dict[str, Any]] = [
        {
            "type": "command",
            "name": f"step_{number}",
            "command": "fibo",
            "args": {"n": 10},
            "output_variable": f"r{number}",
        }
        for number in range(STEPS)
    ]
    total = "sum([" + ", ".join(f"r{number}" for number in range(STEPS)) + "])"
    return {"name": "light", "steps": [*steps, {"type": "return", "value": "{{ " + total + " }}"}]}


async def measure(client: Client, rounds: int, programs: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Seconds of each run, `rounds` of each kind, in turns."""
    seconds: dict[str, list[float]] = {"script": [], "hand": []}
    for number in range(rounds + 1):
        for kind in seconds:
            began = time.perf_counter()
            if kind == "script":
                run_input = RunInput(script="light", version=programs[0]["hash"], programs=programs)
                output: RunOutput = await client.execute_workflow(
                    WORKFLOW_TYPE, run_input, id=f"script-{number}", task_queue=QUEUE, result_type=RunOutput
                )
                total = output.value
            else:
                total = await client.execute_workflow(HandWritten.run, STEPS, id=f"hand-{number}", task_queue=QUEUE)
            assert total == STEPS * 55, total
            if number:
                seconds[kind].append(time.perf_counter() - began)
    return seconds


async def main(rounds: int) -> int:
    """Run everything; 0 when all figures are within their bars."""
    from activities import Activities
    from activities.payloads import create_data_converter
    from script.compiler.compiler import compile_script
    from script.source.ast import Script
    from toolbox import Registry, tool
    from worker import THREADS, create_resources, create_worker

    @tool(effect="pure")
    def fibo(n: int) -> int:
        """The n-th Fibonacci number, the slow way."""
        return fibonacci(n)

    registry = Registry()
    registry.register(fibo)
    program = compile_script(Script.model_validate(script()), {"fibo": "pure"}).with_calls({}).to_json()
    with tempfile.TemporaryDirectory(prefix="sop-bench-") as folder, ThreadPoolExecutor(THREADS) as threads:
        server = TemporalServer(Path(folder))
        server.start()
        try:
            client = await Client.connect(server.address, data_converter=create_data_converter(None))
            resources = create_resources(Path(folder), registry=registry)
            activities = Activities(resources)
            async with create_worker(client, QUEUE, activities, threads, workflows=[HandWritten]):
                seconds = await measure(client, rounds, [program])
                good = report(seconds)
                good &= await run_parts.pure_in_workflow(client)
                good &= await run_parts.wide_loop(client)
                good &= await run_parts.many_runs(client)
            activities.close()
            resources.databases.close()
        finally:
            server.stop()
    good &= run_parts.pure_in_process()
    good &= await run_parts.events_over_http()
    return 0 if good else 1


def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def report(seconds: dict[str, list[float]]) -> bool:
    """One JSON line a figure; whether the ratio is within its bar."""
    medians = {kind: statistics.median(values) for kind, values in seconds.items()}
    for kind, values in seconds.items():
        spread = {"min": round(min(values), 3), "max": round(max(values), 3), "runs": len(values)}
        run_parts.figure(f"{STEPS} light steps, {kind}", "s", medians[kind], **spread)
    print(json.dumps({"figure": "published elsewhere, other hardware", "unit": "s", **PUBLISHED}))
    return run_parts.figure("script / written by hand", "ratio", medians["script"] / medians["hand"], 1.10)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    code = asyncio.run(main(parser.parse_args().rounds))
    sys.stdout.flush()
    os._exit(code)
