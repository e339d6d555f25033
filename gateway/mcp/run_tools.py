"""Tools for scripts and runs: start and watch, decide, cancel; check a script and save it."""

import uuid
from typing import Any, Final, Literal

from mcp_types import ToolAnnotations
from pydantic import Field

from gateway.client.following import address
from gateway.client.transport import given as without_none
from gateway.client.transport import part
from gateway.mcp.data_tools import Limit
from gateway.mcp.following import PATIENCE, Run, Wait, follow
from gateway.mcp.paging import DEFAULT_ROWS
from gateway.mcp.run_rows import some_rows
from gateway.mcp.tools import Arguments, BuiltIn, Call, by_name

_STARTS: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True
)
_ENDS: Final = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)
_ADDS: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)


class StartRun(Arguments):
    """A run."""

    script: str = Field(description="the script's name")
    arguments: dict[str, Any] = Field(default={}, description="a value for each parameter")
    version: str | int | None = Field(default=None, description="default: the latest")
    dry_run: bool = Field(default=False, description="read for real, write nothing, call nothing outside")
    idempotency_key: str | None = Field(default=None, description="the run's id: starting twice gives the same run")
    wait_seconds: Wait = PATIENCE


class GetRun(Arguments):
    """A run that was started."""

    run_id: str
    wait_seconds: Wait = 0


class GetRunRows(Arguments):
    """Rows of a run."""

    run_id: str
    step: str | None = Field(default=None, description="a step's path; default the rows of the run's result")
    limit: Limit = DEFAULT_ROWS
    cursor: int = Field(default=0, ge=0, description="next_cursor of the page before")


class ListRuns(Arguments):
    """Which runs."""

    script: str | None = None
    state: Literal["running", "completed", "failed", "canceled", "terminated", "timed_out"] | None = None
    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = None


class OfRun(Arguments):
    """A run."""

    run_id: str


class ListApprovals(Arguments):
    """Which approvals."""

    mine: bool = Field(default=True, description="only those that you are asked for")
    limit: int = Field(default=20, ge=1, le=100)
    cursor: str | None = None


class Decide(Arguments):
    """A decision."""

    run_id: str
    approved: bool
    step: str | None = Field(default=None, description="which, where a run waits for several")
    comment: str = ""


class OfScript(Arguments):
    """A script."""

    name: str
    version: str | int | None = Field(default=None, description="default: the latest")


class ScriptText(Arguments):
    """A script's text."""

    script: dict[str, Any] = Field(description="the script as JSON: {name, description, parameters, steps, ...}")


class NoArguments(Arguments):
    """Nothing."""


async def start_run(call: Call, given: StartRun) -> dict[str, Any]:
    """Run any script, also dry (dry_run), an older version, or under an idempotency key. The scripts that you may run are tools of their
    own too: run_NAME."""
    body = given.model_dump(include={"arguments", "version", "dry_run"}, exclude_none=True)
    return await started(call, given.script, body, given.idempotency_key, given.wait_seconds)


async def started(
    call: Call, script: str, body: dict[str, Any], key: str | None, wait: float = PATIENCE
) -> dict[str, Any]:
    """Start a run and follow it."""
    return await follow(Run.to_start(call, script, body, key or f"mcp-{uuid.uuid4()}"), wait)


async def get_run(call: Call, given: GetRun) -> dict[str, Any]:
    """Tell how a run stands: its state, where it is, what it waits for; its result or its error when it has ended. wait_seconds
    waits for the end."""
    found = await call.api.get(address(given.run_id))
    if found["state"] != "running" or given.wait_seconds > 0:
        ended = await follow(Run.of(call, given.run_id), given.wait_seconds or PATIENCE)
        if ended["state"] != "running":
            return ended
    kept = ("script", "version", "started_at", "dry_run", "paused", "where")
    return {"run_id": given.run_id, "state": found["state"]} | {name: found[name] for name in kept if name in found}


async def get_run_rows(call: Call, given: GetRunRows) -> dict[str, Any]:
    """Read the rows of a run's result, or of a step's, page by page, as CSV with a header line."""
    asked = {"format": "csv", "guard": "false"} | without_none({"step": given.step})
    async with Run.of(call, given.run_id).open(**asked) as lines:
        return await some_rows(lines, given.limit, given.cursor)


async def list_runs(call: Call, given: ListRuns) -> dict[str, Any]:
    """List runs, newest first."""
    return await _listed(call, "/v1/runs", "runs", given)


async def cancel_run(call: Call, given: OfRun) -> dict[str, Any]:
    """Ask a run to end; it rolls its open transaction back first, and undoes what its compensations undo."""
    found = await call.api.post(address(given.run_id, "/cancel"))
    return {"run_id": found["id"], "state": found["state"]}


async def list_approvals(call: Call, given: ListApprovals) -> dict[str, Any]:
    """List the decisions that runs wait for."""
    return await _listed(call, "/v1/approvals", "runs", given)


async def decide_approval(call: Call, given: Decide) -> dict[str, Any]:
    """Approve or reject what a run waits for. Only do this if a person has told you their decision."""
    body = given.model_dump(exclude={"run_id"}, exclude_none=True)
    found: dict[str, Any] = await call.api.post(address(given.run_id, ":decide"), json=body)
    return found


async def get_script(call: Call, given: OfScript) -> dict[str, Any]:
    """Read a script: what it does, step by step, as JSON."""
    found: dict[str, Any] = await call.api.get(
        f"/v1/scripts/{part(given.name)}", params=without_none({"version": given.version})
    )
    return found


async def list_script_tools(call: Call, given: NoArguments) -> dict[str, Any]:
    """List the tools that command steps of scripts can call: name, effect, and the first line of the description."""
    found = (await call.api.get("/v1/tools"))["data"]
    return {
        "tools": [
            {"name": tool["name"], "effect": tool["effect"], "description": tool["description"].partition("\n")[0]}
            for tool in found
            if tool["effect"] != "session"
        ]
    }


async def check_script(call: Call, given: ScriptText) -> dict[str, Any]:
    """Check a script without saving it: all problems at once, each with a pointer into the script, a code and a hint."""
    found: dict[str, Any] = await call.api.post("/v1/scripts:check", json=given.script)
    return found


async def save_script(call: Call, given: ScriptText) -> dict[str, Any]:
    """Check a script and save it as an immutable version, which calls of its name run from then on. The same text is the same version."""
    found: dict[str, Any] = await call.api.post("/v1/scripts", json=given.script)
    return found


async def _listed(call: Call, path: str, name: str, given: ListRuns | ListApprovals) -> dict[str, Any]:
    params = {key: value for key, value in given.model_dump(exclude_none=True).items() if value is not False}
    found = await call.api.get(path, params=params)
    return {name: found["data"], "has_more": found["has_more"], "next_cursor": found["next_cursor"]}


TOOLS: Final = by_name(
    [
        BuiltIn("start_run", "Run a script", "scripts:run:?", StartRun, start_run, _STARTS),
        BuiltIn("get_run", "Get a run", "runs:read", GetRun, get_run),
        BuiltIn("get_run_rows", "Get rows of a run", "runs:read", GetRunRows, get_run_rows),
        BuiltIn("list_runs", "List runs", "runs:read", ListRuns, list_runs),
        BuiltIn("cancel_run", "Cancel a run", "runs:control", OfRun, cancel_run, _ENDS),
        BuiltIn("list_approvals", "List approvals", "runs:read", ListApprovals, list_approvals),
        BuiltIn("decide_approval", "Decide an approval", "runs:control", Decide, decide_approval, _ENDS),
        BuiltIn("get_script", "Get a script", "scripts:read:?", OfScript, get_script),
        BuiltIn("list_script_tools", "List the tools of scripts", "scripts:read:?", NoArguments, list_script_tools),
        BuiltIn("check_script", "Check a script", "scripts:read:?", ScriptText, check_script),
        BuiltIn("save_script", "Save a script", "scripts:write:?", ScriptText, save_script, _ADDS),
    ]
)
