"""Completion of names that only the gateway knows: of scripts, runs, schedules, databases, stores. It has a fifth of a second for it."""

import threading
from collections.abc import Callable
from typing import Any, Final

import typer

from gateway.cli.failures import CommandFailed
from gateway.cli.options import Options, take
from gateway.client.transport import part

SECONDS: Final = 0.2


def script_names(ctx: typer.Context, incomplete: str) -> list[str]:
    return _beginning(incomplete, ctx, lambda gateway: [found["name"] for found in gateway.get("/v1/scripts")["data"]])


def draft_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    return _beginning(incomplete, ctx, lambda gateway: [found["id"] for found in gateway.pages("/v1/drafts", None)])


def run_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """The last fifty runs."""
    return _beginning(incomplete, ctx, lambda gateway: [found["id"] for found in gateway.get("/v1/runs")["data"]])


def session_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """The last fifty sessions that are open."""
    path = "/v1/sessions?status=open"
    return _beginning(incomplete, ctx, lambda gateway: [found["id"] for found in gateway.get(path)["data"]])


def schedule_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    return _beginning(incomplete, ctx, lambda gateway: [found["id"] for found in gateway.get("/v1/schedules")["data"]])


def tool_names(ctx: typer.Context, incomplete: str) -> list[str]:
    return _beginning(incomplete, ctx, lambda gateway: [found["name"] for found in gateway.get("/v1/tools")["data"]])


def database_names(ctx: typer.Context, incomplete: str) -> list[str]:
    return _beginning(
        incomplete, ctx, lambda gateway: [found["name"] for found in gateway.get("/v1/databases")["data"]]
    )


def store_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """`DB/`, and behind it the stores."""
    database, slash, _ = incomplete.partition("/")
    if not slash:
        return [f"{name}/" for name in database_names(ctx, incomplete)]

    def stores(gateway: Any) -> list[str]:
        found = gateway.get(f"/v1/databases/{part(database)}/stores")["data"]
        return [f"{database}/{store['name']}" for store in found]

    return _beginning(incomplete, ctx, stores)


def _beginning(incomplete: str, context: typer.Context, ask: Callable[[Any], list[str]]) -> list[str]:
    """What `ask` finds that begins so, if it finds it in time."""
    leaf, root = context.params, context.find_root().params
    given = Options(leaf.get("sop_profile") or root.get("profile"), leaf.get("sop_url") or root.get("url"))
    found: list[str] = []

    def work() -> None:
        from gateway.cli.connection import Connection

        take(given)
        try:
            with Connection(timeout=SECONDS) as gateway:
                found.extend(ask(gateway))
        except CommandFailed:
            return

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(SECONDS)
    return [name for name in list(found) if name.startswith(incomplete)]
