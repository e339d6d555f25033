"""The main job on real data, from an empty folder to a scheduled weekly run. `make demo` runs it.

It starts a Temporal server, a worker and the gateway over the folder `.demo`, imports CDNOW's customers and orders, saves the
two scripts, judges one customer in a dry run, then all of them (and kills the worker in the middle), counts the coupons,
creates the schedule, and stops everything. Everything goes through the `sop` command, as a user would do it. Exit code 0
means that every figure was as expected.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT), str(HERE)]

import prepare  # noqa: E402

from gateway.dev import Stack  # noqa: E402
from settings import Settings  # noqa: E402

DATA = ROOT / ".demo"
BIN = Path(sys.executable).parent
CUSTOMERS, AT_RISK = 23_570, 282
AS_OF = "1998-07-01"


def title(text: str) -> None:
    print(f"\n--- {text}", flush=True)


def sop(*words: str, show: bool = True) -> str:
    """Run a `sop` command the way a user does; its standard output."""
    if show:
        print("$ sop", *words, flush=True)
    done = subprocess.run([str(BIN / "sop"), *words], stdout=subprocess.PIPE, text=True, check=True, env=environment())
    if show:
        print(done.stdout, end="", flush=True)
    return done.stdout


def environment() -> dict[str, str]:
    return {**os.environ, "SOP_DATA_DIR": str(DATA)}


def expect(what: str, found: Any, wanted: Any) -> None:
    if found != wanted:
        raise SystemExit(f"{what}: {found}, and {wanted} was expected")
    print(f"ok: {what}: {found}")


def import_data() -> None:
    customers, orders = prepare.write(DATA / "import")
    sop("data", "import", "customers/customers", str(customers), "--create", "--key", "customer_id")
    sop("data", "import", "customers/orders", str(orders), "--create", "--key", "customer_id,date,sequence")
    sop("data", "ls", "customers")


def weekly(stack: Stack) -> None:
    """Run the batch, follow its stream, and kill the worker at half of the customers."""
    words = ["run", "weekly_churn_prevention", "--arg", f"as_of={AS_OF}", "--mock", "send_email", "-o", "ndjson"]
    print("$ sop", *words)
    began, killed = time.monotonic(), False
    last: dict[str, Any] = {}
    with subprocess.Popen([str(BIN / "sop"), *words], stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        for line in process.stdout:
            last = json.loads(line)
            progress = last.get("result") if last["type"] == "progress" else None
            if progress and progress["chunk"] % 8 == 0:
                print(
                    f"  {time.monotonic() - began:5.1f} s  {progress['processed']:>6} of {progress['total']}",
                    flush=True,
                )
            if progress and not killed and progress["processed"] * 2 >= progress["total"]:
                stack.kill("worker")
                killed = True
                print(f"  {time.monotonic() - began:5.1f} s  kill -9 of the worker; it is started again", flush=True)
    seconds = time.monotonic() - began
    print(json.dumps(last["result"], indent=2))
    expect("the run ended", last["status"], "completed")
    expect("the worker was killed in the middle", killed, True)
    expect("customers", last["result"]["customers"], CUSTOMERS)
    expect("customers at risk", last["result"]["at_risk"], AT_RISK)
    expect("the job took less than 60 s", seconds < 60, True)
    print(f"the job took {seconds:.1f} s, the kill and the wait for the lost worker's heartbeat included")


def check_outbox() -> None:
    rows = [
        json.loads(line)
        for line in sop("data", "ls", "customers/_outbox", "--limit", "1000", "-o", "ndjson", show=False).splitlines()
    ]
    expect("mocked mails in the outbox", len(rows), AT_RISK)
    expect("different recipients", len({row["args"]["to"] for row in rows}), AT_RISK)
    expect("different coupons", len({row["args"]["body"].splitlines()[2] for row in rows}), AT_RISK)
    print("one of them:", json.dumps(rows[0]["args"], indent=2))


def schedule(stack: Stack) -> None:
    words = ["--on", "monday", "--at", "09:00", "--tz", "America/New_York", "--mock", "send_email"]
    sop("schedule", "create", "weekly_churn_prevention", *words)
    command = [str(BIN / "temporal"), "schedule", "list", "--address", stack.temporal_address]
    print("$ temporal schedule list")
    listed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    print(listed, end="")
    expect("the schedule is Temporal's own", "weekly_churn_prevention" in listed, True)


def main() -> int:
    shutil.rmtree(DATA, ignore_errors=True)
    stack = Stack(Settings(data_dir=DATA, port=0), say=lambda line: print(f"  [{line}]", flush=True))
    title("starting Temporal, a worker and the gateway")
    stack.start()
    try:
        print(
            f"API docs     {stack.gateway_url}/docs\nTemporal UI  {stack.temporal_ui}\nAPI key      in {DATA / 'api-key'}"
        )
        title("real data: CDNOW's customers and orders, 1997 to 1998")
        import_data()
        title("saving the two scripts")
        sop(
            "script",
            "save",
            *(str(HERE / "scripts" / f"{name}.json") for name in ("check_churn_risk", "weekly_churn_prevention")),
        )
        title("a dry run for one customer, with its trace")
        sop("run", "check_churn_risk", "--arg", "customer_id=00020", "--arg", f"as_of={AS_OF}", "--dry-run")
        title("all customers, with the worker killed in the middle")
        weekly(stack)
        check_outbox()
        title('the schedule "every Monday 9 AM", with its next five times')
        schedule(stack)
        title("done")
        print(f"API docs     {stack.gateway_url}/docs\nTemporal UI  {stack.temporal_ui}")
        print("look around later, on the same data:  SOP_DATA_DIR=.demo make dev")
    finally:
        stack.stop()
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
