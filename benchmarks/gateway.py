"""The gateway under load: watchers of one run, starts, rows through HTTP, small reads, slow readers and those that vanish.

Everything runs in the processes of production on free ports: Temporal's server, a worker, a gateway, and as a peer a bare FastAPI
application under uvicorn. Prints one JSON line for each figure: {"figure", "ours", "unit", "peers", "ratio", "bar", "holds", "load"}, all
peers measured in the same run; the exit code says whether all bars hold.

`python benchmarks/gateway.py [--records N] [--watchers N] [--starts N] [--rounds N] [--only NAME] [--folder PATH]`. It takes about two
minutes; the figures mean something only where nothing else runs.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from btree_bench import timed
from gateway_bench import (
    MB,
    ROWS,
    STORE,
    GatewayBench,
    body_of,
    download,
    load,
    percentile,
    round_trips,
    stream,
    watching,
)
from temporalio.client import Client

from activities.payloads import create_data_converter
from btree import Database
from query import Query, export, select
from script.wire import WORKFLOW_TYPE, RunInput

STEPS = 100
GETS = 2_000
FIRST_BYTES = 50
LIVEZ_MS = 100.0
GROWTH_MB = 30.0
SLOW_SECONDS = 15


def told(bench: GatewayBench, figure: str, unit: str, ours: float, **more: Any) -> None:
    """A figure; `bar` is the most it may be, or with `at_least` the least."""
    at_least = more.pop("at_least", None)
    bar = more.pop("bar", None)
    holds = (bar is None or ours <= bar) and (at_least is None or ours >= at_least) and more.pop("good", True)
    bench.ok = bench.ok and holds
    line = {"figure": figure, "ours": round(ours, 3), "unit": unit, "peers": more.pop("peers", {}), **more}
    if bar is not None or at_least is not None:
        line["bar"] = f"<= {bar}" if bar is not None else f">= {at_least}"
    print(json.dumps({**line, "holds": holds, "load": load()}), flush=True)


def get_by_key(bench: GatewayBench, options: argparse.Namespace) -> None:
    """One record by its key, one request after the other on one connection."""
    keys = [bench.random.randrange(bench.records) for _ in range(GETS)]
    ours = [bench.request("GET", f"{ROWS}/rows/{key}") for key in keys]
    bare = [bench.request("GET", f"/rows/{key % 1000}") for key in keys]
    sides = {"ours": (bench.at(), ours), "bare FastAPI": (bench.at(bench.peer_url), bare)}
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, (url, requests) in sides.items():
            found[name] += round_trips(url, requests[: GETS // options.rounds])
    p95 = {name: round(percentile(times, 0.95), 3) for name, times in found.items()}
    median = {name: round(statistics.median(times), 3) for name, times in found.items()}
    told(
        bench,
        "GET of a row by key, p95",
        "ms",
        p95["ours"],
        bar=3.0,
        peers={"bare FastAPI": p95["bare FastAPI"]},
        ratio={"bare FastAPI": round(p95["ours"] / p95["bare FastAPI"], 2)},
        median=median,
    )


def rows(bench: GatewayBench, options: argparse.Namespace) -> None:
    """All rows through HTTP, as an array and as lines, against the engine without HTTP: its scan, and its making of the same text.

    The engine has rows as a JSON array, so that goes to the socket as it is. Lines have to be made of it; that is not HTTP's time, so
    the bar for lines is the engine's own rate for lines.
    """
    sizes: dict[str, int] = {}

    def over_http(form: str) -> float:
        got = download(bench, bench.request("POST", f"{ROWS}:select?format={form}", {}))
        assert got.complete
        sizes[form] = got.bytes
        return got.bytes / MB / got.whole

    def engine(pieces: Callable[[Database], Iterable[bytes]]) -> float:
        with Database.open(bench.file) as database, Path(os.devnull).open("wb") as sink:
            size = 0

            def work() -> None:
                nonlocal size
                size = sum(map(sink.write, pieces(database)))

            seconds = timed(work)
            return size / MB / seconds

    def lines(database: Database) -> Iterator[bytes]:
        with export(database, Query(STORE), "ndjson") as made:
            yield from made

    rates: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for name, measured in (
            ("scan", lambda: engine(lambda database: select(database.snapshot(), STORE).json_chunks())),
            ("lines", lambda: engine(lines)),
            ("json", lambda: over_http("json")),
            ("ndjson", lambda: over_http("ndjson")),
        ):
            rates.setdefault(name, []).append(measured())
    found = {name: statistics.median(values) for name, values in rates.items()}
    for form, peer in (("json", "scan"), ("ndjson", "lines")):
        ratio = {f"engine's {name}": round(found[form] / found[name], 3) for name in ("scan", "lines")}
        told(
            bench,
            f"select of {bench.records} rows through HTTP as {form}",
            "MB/s",
            found[form],
            peers={f"engine's {name}": round(found[name], 1) for name in ("scan", "lines")},
            ratio=ratio,
            bar_ratio={f"engine's {peer}": ">= 0.6"},
            good=ratio[f"engine's {peer}"] >= 0.6,
            mb=round(sizes[form] / MB, 1),
        )


def first_byte(bench: GatewayBench, options: argparse.Namespace) -> None:
    """From the request to the first rows of a stream of all rows; the client vanishes then."""
    request = bench.request("POST", f"{ROWS}:select?format=ndjson", {})
    found = [download(bench, request, upto=1).first * 1e3 for _ in range(FIRST_BYTES)]
    told(
        bench,
        "first byte of a stream of all rows, p95",
        "ms",
        percentile(found, 0.95),
        median=round(statistics.median(found), 2),
    )


def slow_reader(bench: GatewayBench, options: argparse.Namespace) -> None:
    """A client that reads all rows slowly, and one that vanishes in the middle: what the gateway holds, and whether it answers."""
    request = bench.request("POST", f"{ROWS}:select?format=ndjson&end=true", {})
    size = download(bench, request).bytes
    for name, upto in (("slowly", None), ("slowly, and vanishes in the middle", size // 2)):
        with watching(bench) as seen:
            got = download(bench, request, rate=size / SLOW_SECONDS, upto=upto, small=True)
        assert got.complete == (upto is None)
        after = _settled(bench, seen.before.files)
        told(
            bench,
            f"memory growth while a client reads {bench.records} rows {name}",
            "MB",
            seen.peak_mb - seen.before.mb,
            bar=GROWTH_MB,
            seconds=round(got.whole, 1),
            left={
                "files": after.files - seen.before.files,
                "threads": after.threads - seen.before.threads,
                "pins": bench.pins(),
            },
            good=after.files <= seen.before.files and not bench.pins(),
        )
        told(
            bench,
            f"/livez while a client reads {name}, slowest of {len(seen.livez)}",
            "ms",
            max(seen.livez),
            bar=LIVEZ_MS,
            p95=round(percentile(seen.livez, 0.95), 2),
        )


def _settled(bench: GatewayBench, files: int) -> Any:
    """What the gateway holds when it has noticed that its client is gone."""
    deadline = time.monotonic() + 10
    while (bench.held().files > files or bench.pins()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return bench.held()


async def watchers(bench: GatewayBench, options: argparse.Namespace) -> None:
    """Many watchers of one run: it waits until all have its first records, and goes on then."""
    steps: list[dict[str, Any]] = [
        {"type": "wait", "name": "all_here", "approval": {"by": ["bootstrap"], "prompt": "are all here?"}},
        {"type": "loop", "name": "each", "list": list(range(STEPS)), "iterator": "n", "steps": [
            {"type": "say", "name": "tell", "message": "{{ n }}: a step of a run that many are watching"}]},
    ]  # fmt: skip
    bench.ask("POST", "/v1/scripts", {"name": "watched", "steps": steps})
    run = bench.ask("POST", "/v1/scripts/watched/runs", {})["id"]
    request = bench.request("GET", f"/v1/runs/{run}/events", Connection="close")
    seen = [asyncio.Event() for _ in range(options.watchers)]
    streams = [asyncio.ensure_future(stream(bench, request, event)) for event in seen]
    with watching(bench) as meanwhile:
        await asyncio.gather(*(event.wait() for event in seen))
        began = time.perf_counter()
        await asyncio.to_thread(bench.ask, "POST", f"/v1/runs/{run}:decide", {"approved": True})
        found = await asyncio.gather(*streams)
        seconds = time.perf_counter() - began
    numbers = [[json.loads(line).get("seq") for line in body_of(body).splitlines()] for _, body in found]
    count = len(numbers[0])
    assert count > STEPS, count
    whole = all(one == list(range(1, count + 1)) for one in numbers)
    first = [done.first * 1e3 for done, _ in found]
    name = f"{options.watchers} watchers of one run"
    told(bench, f"{name}, first byte, p95", "ms", percentile(first, 0.95), p50=round(statistics.median(first), 1))
    told(bench, f"{name}, records for each", "1/s", count / seconds, records=count, all_have_all=whole, good=whole,
         together=round(count * options.watchers / seconds))  # fmt: skip
    told(bench, f"/livez with {name}, slowest of {len(meanwhile.livez)}", "ms", max(meanwhile.livez), growth_mb=round(
        meanwhile.peak_mb - meanwhile.before.mb, 1), p95=round(percentile(meanwhile.livez, 0.95), 2))  # fmt: skip


async def starts(bench: GatewayBench, options: argparse.Namespace) -> None:
    """Runs that are started all at once, each on a connection of its own; beside the same by Temporal's own client."""
    steps = [{"type": "return", "value": 1}]
    bench.ask("POST", "/v1/scripts", {"name": "small", "steps": steps})
    request = bench.request("POST", "/v1/scripts/small/runs", {}, Connection="close")
    found = await asyncio.gather(*(stream(bench, request) for _ in range(options.starts)))
    ids = {json.loads(body_of(body))["id"] for _, body in found}
    accepted = all(body.startswith(b"HTTP/1.1 202") for _, body in found)
    ours = [done.whole * 1e3 for done, _ in found]
    client = await Client.connect(bench.stack.temporal_address, data_converter=create_data_converter(None))
    version = bench.ask("GET", "/v1/scripts/small")["version"]

    async def by_client(number: int) -> float:
        began = time.perf_counter()
        begin = RunInput(script="small", version=version)
        await client.start_workflow(WORKFLOW_TYPE, begin, id=f"bare-{number}", task_queue="nobody")
        return (time.perf_counter() - began) * 1e3

    bare = await asyncio.gather(*(by_client(number) for number in range(options.starts)))
    p95 = {"ours": percentile(ours, 0.95), "Temporal's client": percentile(bare, 0.95)}
    told(
        bench,
        f"{options.starts} runs started at once, p95",
        "ms",
        p95["ours"],
        peers={"Temporal's client": round(p95["Temporal's client"], 1)},
        ratio={"Temporal's client": round(p95["ours"] / p95["Temporal's client"], 2)},
        started=len(ids),
        good=accepted and len(ids) == options.starts,
    )


FIGURES = [get_by_key, rows, first_byte, slow_reader, watchers, starts]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--watchers", type=int, default=1_000)
    parser.add_argument("--starts", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=[figure.__name__ for figure in FIGURES])
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="sop-bench-") as folder:
        bench = GatewayBench(Path(folder), options.records, options.rounds)
        try:
            for figure in FIGURES:
                if options.only in (None, figure.__name__):
                    done = figure(bench, options)
                    if isinstance(done, Coroutine):
                        asyncio.run(done)
        finally:
            bench.stop()
    return 0 if bench.ok else 1


if __name__ == "__main__":
    sys.exit(main())
