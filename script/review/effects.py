"""What a script does to the world, step by step: the effect classes are those of the tools' signatures."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from script.environment import CheckEnvironment, ScriptSignature, ToolSignature
from script.source import ast
from script.source.tree import Placed, place, walk

Called = Callable[[str, str | None], ast.Script | None]
"""The text of a called script, by name and version; None where nobody knows it."""

_KINDS: Final = {
    "http_request": "http",
    "send_email": "mail",
    "notify": "notification",
    "save_script": "scripts",
    "schedule_script": "schedules",
    "pause_schedule": "schedules",
    "trigger_schedule": "schedules",
    "backfill_schedule": "schedules",
    "delete_schedule": "schedules",
}
_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_IDEMPOTENT: Final = (*_SAFE, "PUT", "DELETE")
"""Methods of HTTP that may be repeated (RFC 9110, section 9.2.2)."""
_SIDES: Final = ("left", "right", "join")


@dataclass(frozen=True)
class Effect:
    """What one step does. `kind` is read, write, outside, script, ask or approval; `via` are the scripts through which it is reached.

    `database` is None for that of the caller; `name` is the store, the tool or the script.
    """

    kind: str
    placed: Placed
    name: str
    database: str | None = None
    via: tuple[str, ...] = ()


def effects(script: ast.Script, environment: CheckEnvironment, called: Called) -> Iterator[Effect]:
    """The effects of a script, and of the scripts that it calls as far as they are known."""
    yield from _effects(script, environment.tools(), called, (), {script.name}, None)


def _effects(
    script: ast.Script,
    tools: Mapping[str, ToolSignature],
    called: Called,
    via: tuple[str, ...],
    seen: set[str],
    outer: str | None,
) -> Iterator[Effect]:
    """`outer` is the caller's database, which a script without one works on."""
    for placed in walk(place(script)):
        for kind, name, database in _of_step(placed, tools):
            inherited = outer if kind in ("read", "write") else None
            yield Effect(kind, placed, name, database or inherited, via)
        node = placed.node
        if isinstance(node, ast.ScriptStep) and node.script_name not in seen:
            seen.add(node.script_name)
            inner = called(node.script_name, node.version)
            if inner is not None:
                yield from _effects(inner, tools, called, (*via, node.script_name), seen, placed.database or outer)


def _of_step(placed: Placed, tools: Mapping[str, ToolSignature]) -> Iterator[tuple[str, str, str | None]]:
    node = placed.node
    if isinstance(node, ast.FetchStep):
        yield "read", node.resource, placed.database
    elif isinstance(node, ast.CommandStep):
        effect = effect_of(node, tools)
        if effect == "external":
            yield "outside", node.command, None
        elif effect in ("read", "write"):
            yield from _stores(node, effect, placed.database)
    elif isinstance(node, ast.ScriptStep):
        yield "script", node.script_name, node.database
    elif isinstance(node, ast.AskStep):
        yield "ask", node.model or "", None
    elif isinstance(node, ast.WaitStep) and node.approval is not None:
        people = node.approval.by if isinstance(node.approval.by, list) else [node.approval.by]
        yield "approval", ", ".join(people), None


def effect_of(node: ast.CommandStep, tools: Mapping[str, ToolSignature]) -> str | None:
    """The effect class of a call; None for a tool that is not known."""
    tool = tools.get(node.command)
    return tool.effect_of(node.args) if tool is not None else None


def _stores(node: ast.CommandStep, effect: str, database: str | None) -> Iterator[tuple[str, str, str | None]]:
    """What a call reads and writes. Of a join it is the left side that an action changes."""
    store = node.args.get("store", node.args.get("name") if node.command == "create_store" else None)
    if isinstance(store, str):
        yield effect, store, database
    for position, (name, where) in enumerate(_sides(node.args, database)):
        yield effect if position == 0 else "read", name, where


def _sides(args: Mapping[str, Any], database: str | None) -> Iterator[tuple[str, str | None]]:
    """The stores of a join, the leftmost first, each with its database."""
    for name in _SIDES:
        side = args.get(name)
        if isinstance(side, str) and name != "join":
            yield side, database
        elif isinstance(side, Mapping):
            if isinstance(side.get("store"), str):
                where = side.get("database")
                yield side["store"], where if isinstance(where, str) else database
            yield from _sides(side, database)


def outside_kind(tool: str) -> str:
    return _KINDS.get(tool, "tool")


def is_safe(node: ast.CommandStep) -> bool:
    """Whether an outside call changes nothing there."""
    return node.command == "http_request" and node.args.get("method", "GET") in _SAFE


def is_idempotent(node: ast.CommandStep) -> bool:
    """Whether an outside call may be made twice as well as once. Calls of our own schedules and scripts carry a key."""
    if outside_kind(node.command) in ("scripts", "schedules"):
        return True
    return node.command == "http_request" and node.args.get("method", "GET") in _IDEMPOTENT


def stands_alone(node: ast.ScriptStep, callee: ScriptSignature | None) -> bool:
    """Whether a called script has a transaction of its own, which has committed when the step is done."""
    if node.database is not None:
        return True
    return callee is not None and callee.database is not None and node.transaction == "own"


def secrets(placed: Placed) -> Iterator[str]:
    """The names of the secrets that a step uses: those that sign a webhook."""
    node = placed.node
    if isinstance(node, ast.CommandStep) and node.command == "notify":
        name = node.args.get("secret", "default")
        if node.args.get("url") is not None or node.args.get("channel") == "webhook":
            yield name if isinstance(name, str) else "default"
