"""A batch over a million customers: check_churn_risk for each of them, on a real Temporal server, with a real worker process.

The example's scripts (`examples/churn`) go over generated customers whose orders are behind an index (`batch_data.py`); mails are mocked,
so each is a row of the outbox. Three runs, each on a system of its own:

    a tenth     of the customers: its peak memory is what that of all of them is compared with
    whole       all customers, undisturbed
    killed      all customers on the same data; the worker is killed (kill -9) when half of them are done, and started again

Prints one JSON line for each figure: {"figure", "value", "unit", "bar", "holds", "load"}; the exit code says whether all bars hold.

`python benchmarks/batch.py [--customers N] [--concurrency N] [--chunk N] [--together] [--folder PATH] [--no-kill]`
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from temporalio.client import Client

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "examples" / "churn" / "scripts"
sys.path.insert(0, str(ROOT))

from batch_data import AS_OF, Customers  # noqa: E402

from gateway.dev import Stack  # noqa: E402
from query import Databases, select  # noqa: E402
from settings import Settings  # noqa: E402

RATE, PEAK_MB, FLAT_MB, EVENTS = 5_000, 300, 16, 5_000
DATABASE = "customers"


@dataclass
class Ran:
    """How a run went: `seconds` from its request to its last event, its value, the mails that it left, and what it cost."""

    seconds: float = 0.0
    value: Any = None
    mails: list[str] = field(default_factory=list)
    peak_mb: float = 0.0
    cpu_seconds: float = 0.0
    executions: list[int] = field(default_factory=list)
    killed: bool = False


class Bars:
    """Figures as they are told; `ok`: all bars held so far."""

    ok = True

    def tell(self, figure: str, value: float, unit: str, bar: str = "", **more: Any) -> None:
        """`bar` is `>= 5000` or the like."""
        line: dict[str, Any] = {"figure": figure, "value": round(value, 3), "unit": unit}
        if bar:
            sign, limit = bar.split()
            holds = {">=": value >= float(limit), "<": value < float(limit), "==": value == float(limit)}[sign]
            self.ok = self.ok and holds
            line |= {"bar": bar, "holds": holds}
        print(json.dumps({**line, **more, "load": round(os.getloadavg()[0], 2)}), flush=True)


def scripts(concurrency: int, chunk: int) -> list[dict[str, Any]]:
    """Those of the example; orders are fetched through the index on customer and date."""
    check, weekly = (
        json.loads((SCRIPTS / f"{name}.json").read_text()) for name in ("check_churn_risk", "weekly_churn_prevention")
    )
    check["steps"][0]["order_by"] = "date"
    weekly["steps"][1] |= {"concurrency": concurrency, "batch_size": chunk}
    return [check, weekly]


async def run(folder: Path, concurrency: int, chunk: int, *, kill: bool = False) -> Ran:
    """One run on a system of its own over a folder."""
    stack = Stack(Settings(data_dir=folder, port=0))
    stack.start()
    try:
        key = (folder / "api-key").read_text(encoding="utf-8").strip()
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx2.AsyncClient(
            base_url=stack.gateway_url, headers=headers, timeout=600, trust_env=False
        ) as http:
            for script in scripts(concurrency, chunk):
                saved = await http.post("/v1/scripts", json=script)
                assert saved.status_code == 201, saved.text
            ran, run_id = await _followed(stack, http, kill=kill)
        ran.peak_mb, ran.cpu_seconds = _peak_mb(stack.pid("worker")), _cpu_seconds(stack.pid("worker"))
        ran.executions = await _events(stack.temporal_address, run_id)
    finally:
        stack.stop()
    ran.mails = _mails(folder, run_id)
    return ran


async def _followed(stack: Stack, http: httpx2.AsyncClient, *, kill: bool) -> tuple[Ran, str]:
    ran, run_id = Ran(), ""
    began, body = time.monotonic(), {"arguments": {"as_of": AS_OF}, "mocks": ["send_email"]}
    async with http.stream("POST", "/v1/call/weekly_churn_prevention", json=body) as answer:
        async for line in answer.aiter_lines():
            event = json.loads(line)
            run_id = event.get("run_id", run_id)
            told = event["result"] if event["type"] == "progress" else None
            if told and kill and not ran.killed and told["processed"] * 2 >= told["total"]:
                await asyncio.to_thread(stack.kill, "worker")
                ran.killed = True
    assert event["status"] == "completed", event
    ran.seconds, ran.value = time.monotonic() - began, event["result"]
    return ran, run_id


def _peak_mb(process: int) -> float:
    """Peak resident memory, in MB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"the process {process} tells no peak memory")


def _cpu_seconds(process: int) -> float:
    """Processor time of all threads."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _events(address: str, run_id: str) -> list[int]:
    """How many events each execution of the run has."""
    client = await Client.connect(address)
    found, execution = [], (await client.get_workflow_handle(run_id).describe()).raw_description
    following: str | None = execution.workflow_execution_info.first_run_id
    while following:
        count, this, following = 0, following, None
        async for event in client.get_workflow_handle(run_id, run_id=this).fetch_history_events():
            count = event.event_id
            following = event.workflow_execution_continued_as_new_event_attributes.new_execution_run_id or None
        found.append(count)
    return found


def _mails(folder: Path, run_id: str) -> list[str]:
    """To whom the run's mails in the outbox are."""
    databases = Databases(folder / "databases")
    try:
        view = databases.open(DATABASE).snapshot()
        return [row["args"]["to"] for row in select(view, "_outbox", filter={"run_id": run_id})]
    finally:
        databases.close()


def prepare(folder: Path, count: int, *, together: bool) -> set[str]:
    """Fill a new data directory; who is at risk."""
    customers = Customers(count, together=together)
    began = time.monotonic()
    databases = Databases(folder / "databases")
    customers.load(databases.ensure(DATABASE))
    databases.close()
    seconds = round(time.monotonic() - began, 1)
    print(json.dumps({"prepared": count, "orders": customers.orders, "seconds": seconds}), flush=True)
    return customers.at_risk()


def check(bars: Bars, name: str, ran: Ran, count: int, at_risk: set[str]) -> None:
    """Every customer once, and every mail once: counted from what the database has."""
    bars.tell(f"{name}: customers gone through", ran.value["customers"], "customers", f"== {count}")
    bars.tell(f"{name}: customers at risk", ran.value["at_risk"], "customers", f"== {len(at_risk)}")
    bars.tell(f"{name}: mails in the outbox", len(ran.mails), "mails", f"== {len(at_risk)}")
    wrong = len(set(ran.mails) ^ at_risk)
    bars.tell(f"{name}: customers with a mail too many or too few", wrong, "customers", "== 0")
    events = {"executions": len(ran.executions)}
    bars.tell(f"{name}: most events in a history", max(ran.executions), "events", f"< {EVENTS}", **events)


async def main(count: int, concurrency: int, chunk: int, folder: Path, *, kill: bool, together: bool) -> int:
    bars, tenth = Bars(), folder / "tenth"
    prepare(tenth, count // 10, together=together)
    small = await run(tenth, concurrency, chunk)
    shutil.rmtree(tenth)
    bars.tell("peak memory of the worker, a tenth of the customers", small.peak_mb, "MB")
    at_risk = prepare(folder / "whole", count, together=together)
    ran = await run(folder / "whole", concurrency, chunk)
    bars.tell("customers a second, one worker process", count / ran.seconds, "1/s", f">= {RATE}", seconds=ran.seconds)
    bars.tell("processor time of the worker for each customer", ran.cpu_seconds / count * 1e6, "us")
    bars.tell("peak memory of the worker", ran.peak_mb, "MB", f"< {PEAK_MB}")
    bars.tell("peak memory beyond that of a tenth", ran.peak_mb - small.peak_mb, "MB", f"< {FLAT_MB}")
    check(bars, "undisturbed", ran, count, at_risk)
    if kill:
        killed = await run(folder / "whole", concurrency, chunk, kill=True)
        assert killed.killed
        bars.tell("after kill -9 of the worker in the middle", count / killed.seconds, "1/s", seconds=killed.seconds)
        check(bars, "killed", killed, count, at_risk)
        bars.tell("killed: the same result as undisturbed", float(killed.value == ran.value), "yes", "== 1")
    return 0 if bars.ok else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--concurrency", type=int, default=1, help="chunks side by side")
    parser.add_argument("--chunk", type=int, default=5000, help="customers in a chunk")
    parser.add_argument("--folder", type=Path, help="where the data goes (about 1 GB for a million customers)")
    parser.add_argument("--together", action="store_true", help="the orders of a customer side by side")
    parser.add_argument("--no-kill", dest="kill", action="store_false", help="without the run whose worker is killed")
    options = parser.parse_args()
    if options.customers < 1000:
        parser.error("--customers is 1000 or more")
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sop-batch-", dir=options.folder) as temporary:
        wanted = options.customers, options.concurrency, options.chunk
        code = asyncio.run(main(*wanted, Path(temporary), kill=options.kill, together=options.together))
    sys.stdout.flush()
    os._exit(code)
