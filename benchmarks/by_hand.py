"""The workflow that somebody would write by hand for the benchmark, with the same activities and the same options."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from script.wire import Outcome, StepCall
    from workflows.run import HEARTBEAT_TIMEOUT, RETRIES, STEP_TIMEOUT


@workflow.defn(name="HandWritten")
class HandWritten:
    """What somebody would write by hand: forty activity calls, one after the other."""

    @workflow.run
    async def run(self, count: int) -> int:
        total = 0
        for number in range(count):
            call = StepCall(
                tool="fibo",
                args={"n": 10},
                path=f"step_{number}",
                key=f"k{number}",
                run_id="hand",
                now="2026-01-01T00:00:00+00:00",
            )
            outcome: Outcome = await workflow.execute_activity(
                "fibo",
                call,
                result_type=Outcome,
                start_to_close_timeout=STEP_TIMEOUT,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                retry_policy=RETRIES,
            )
            total += outcome.value
        return total
