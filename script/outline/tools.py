"""Calls of the language's tools in words.

A tool that is not here, or that misses an argument, is told as a call with its arguments. Every argument is told: what a phrase does
not use is added behind it, by name.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from script.outline import rows, schedules
from script.outline.words import code, json, listed, value, visible

_Args = Mapping[str, Any]
_Phrase = Callable[[_Args, str | None], str]
_SIDE: Final = ("store", "as", "filter", "key", "database")
_JOIN: Final = ("left", "right", "on", "type", "filter")
_TYPES: Final = {
    "inner": "{left} joined with {right} by {on}",
    "left": "{left} joined with {right} by {on} (left rows without a partner, too)",
    "right": "{left} joined with {right} by {on} (right rows without a partner, too)",
    "full": "{left} joined with {right} by {on} (rows of both sides without a partner, too)",
    "semi": "{left} that have a partner in {right} by {on}",
    "anti": "{left} that have no partner in {right} by {on}",
}
_VALUES: Final = {
    "count": "the number of {of}",
    "sum": "the sum of {of}",
    "avg": "the average of {of}",
    "min": "the smallest {of}",
    "max": "the greatest {of}",
    "distinct": "the different values of {of}",
    "count_distinct": "the number of different values of {of}",
}


def call(tool: str, args: _Args, database: str | None) -> str:
    """A call of a tool, as the beginning of a sentence."""
    known = _TOOLS.get(tool)
    if known is None:
        return f"Call {visible(tool)}{arguments(args)}"
    phrase, told = known
    missing = [name for name in _NEEDED.get(tool, ()) if name not in args]
    if missing or (tool == "schedule_script" and not schedules.says_when(args)):
        return f"Call {visible(tool)}{arguments(args)}"
    return phrase(args, database) + arguments({name: args[name] for name in args if name not in told})


def arguments(args: _Args) -> str:
    """` with a = 1 and b = `x``."""
    return f" with {listed(f'{visible(name)} = {value(given)}' for name, given in args.items())}" if args else ""


# --- rows ---


def _acting(args: _Args, what: str, rows_of: str) -> str:
    """An action on many rows, and what it is held by: a preview, a token, a limit."""
    action = args["action"]
    if action in ("delete", "delete_left"):
        sentence = f"Delete {what} of {rows_of}{_rest(args, 'update_values')}"
    elif action in ("update", "update_left"):
        sentence = f"Update {what} of {rows_of}: {rows.change(args.get('update_values'))}"
    else:
        sentence = f"Do {value(action)} with {what} of {rows_of}{_rest(args, 'update_values')}"
    dry_run = args.get("dry_run")
    if dry_run not in (None, False):
        condition = "" if dry_run is True else f" (if {value(dry_run)})"
        sentence = f"Preview{condition}, changing nothing: {sentence[:1].lower()}{sentence[1:]}"
    if args.get("max_affected") is not None:
        sentence += f", refusing more than {value(args['max_affected'])} rows"
    if args.get("expect") is not None:
        sentence += f", only if they are those of the preview with the token {value(args['expect'])}"
    return sentence


def _rest(args: _Args, *names: str) -> str:
    """Those of some arguments that there are, for what has no words for them."""
    return arguments({name: args[name] for name in names if name in args})


def _select(args: _Args, database: str | None) -> str:
    found = f"{rows.store(args['store'], database)}{rows.keyed(args.get('key'))}{rows.query(args)}"
    if args.get("action") is None:
        return f"Read {_first(args.get('single'))} of {found}{_rest(args, *_ACTION)}"
    return _acting(args, "the rows", found) + _rest(args, "single")


def _first(single: Any) -> str:
    if single in (None, False):
        return "the rows"
    return "the first row (or null)" if single is True else f"the rows (only the first if {value(single)})"


def _join(args: _Args, database: str | None) -> str:
    found = f"{_joined(args, database)}{rows.query(args)}"
    if args.get("action") is None:
        return f"Read the rows of {found}{_rest(args, *_ACTION)}"
    return _acting(args, "the left rows", found)


def _joined(join: _Args, database: str | None) -> str:
    """The two sides of a join, without what is asked of the joined rows."""
    kind = join.get("type", "inner")
    sides = {"left": _side(join.get("left"), database), "right": _side(join.get("right"), database)}
    pattern = _TYPES.get(kind) if isinstance(kind, str) else None
    if pattern is None:
        return f"{sides['left']} joined with {sides['right']} by {_on(join.get('on'))} (type {value(kind)})"
    return pattern.format(**sides, on=_on(join.get("on")))


def _on(on: Any) -> str:
    if isinstance(on, Mapping) and on and all(isinstance(right, str) for right in on.values()):
        return listed(f"{visible(left)} = {visible(right)}" for left, right in on.items())
    if isinstance(on, str) and "{{" not in on:
        return visible(on)
    if isinstance(on, list) and on and all(isinstance(name, str) for name in on):
        return listed(map(visible, on))
    return value(on)


def _side(side: Any, database: str | None) -> str:
    if isinstance(side, str):
        return rows.store(side, database)
    if not isinstance(side, Mapping):
        return value(side)
    if "store" not in side and "left" in side and set(side) <= set(_JOIN):
        return f"({_joined(side, database)}{rows.where(side.get('filter'))})"
    if "store" not in side or not set(side) <= set(_SIDE):
        return code(json(side))
    text = rows.store(side["store"], side.get("database") or database) + rows.keyed(side.get("key"))
    text += rows.where(side.get("filter"))
    text = f"({text})" if side.get("filter") or side.get("key") is not None else text
    return f"{text} (as {visible(str(side['as']))})" if side.get("as") else text


def _aggregate(args: _Args, database: str | None) -> str:
    join = args.get("join")
    if isinstance(join, Mapping) and set(join) <= set(_JOIN):
        of = f"the rows of {_joined(join, database)}{rows.where(join.get('filter'))}"
    else:
        of = f"the rows of {rows.store(args.get('store'), database)}" if join is None else f"the join {value(join)}"
    groups = args.get("group_by")
    if isinstance(groups, list) and groups:
        each = f" for each {listed(map(rows.named, groups))}"
    else:
        each = f" for each {value(groups)}" if groups not in (None, []) else ""
    return f"Compute {_computed(args['values'])}{each}, over {of}{rows.query(args)}"


def _computed(values: Any) -> str:
    if not isinstance(values, Mapping) or not values:
        return value(values)
    return listed(f"{visible(name)} (as {_reduced(how)})" for name, how in values.items())


def _reduced(how: Any) -> str:
    given = {"op": how} if isinstance(how, str) else how
    op = given.get("op") if isinstance(given, Mapping) else None
    if not isinstance(op, str) or op not in _VALUES or not set(given) <= {"op", "value", "where"}:
        return value(how)
    of = given.get("value")
    text = _VALUES[op].format(of="rows" if of is None else visible(of) if isinstance(of, str) else value(of))
    return text + rows.where(given.get("where"), called="where" if of is None else "over rows where")


def _explain(args: _Args, database: str | None) -> str:
    join = args.get("join")
    if isinstance(join, Mapping) and set(join) <= set(_JOIN):
        of = f"the rows of {_joined(join, database)}{rows.where(join.get('filter'))}"
    else:
        of = f"the rows of {rows.store(args.get('store'), database)}" if join is None else f"the join {value(join)}"
    return f"Explain how {of}{rows.keyed(args.get('key'))}{rows.query(args)} would be read"


# --- records ---


def _get(args: _Args, database: str | None) -> str:
    return f"Read the record{rows.keyed(args['key'])} of {rows.store(args['store'], database)} (or null)"


def _add(args: _Args, database: str | None) -> str:
    return f"Add the record {value(args['record'])} to {rows.store(args['store'], database)}"


def _upsert(args: _Args, database: str | None) -> str:
    return f"Add or replace the record {value(args['record'])} in {rows.store(args['store'], database)}"


def _update(args: _Args, database: str | None) -> str:
    where = f"In the record{rows.keyed(args['key'])} of {rows.store(args['store'], database)}"
    return f"{where}, {rows.change(args['values'])}"


def _delete(args: _Args, database: str | None) -> str:
    return f"Delete the record{rows.keyed(args['key'])} from {rows.store(args['store'], database)}"


def _transaction(args: _Args, database: str | None) -> str:
    words = {
        "begin": "Begin a transaction",
        "commit": "Commit the transaction",
        "rollback": "Roll the transaction back",
    }
    action = args["action"]
    return words.get(str(action)) or f"Manage the transaction: {value(action)}"


# --- outside ---


def _mail(args: _Args, database: str | None) -> str:
    to = args["to"]
    whom = listed(map(value, to)) if isinstance(to, list) else value(to)
    return f"Send a mail to {whom}: subject {value(args['subject'])}, text {value(args['body'])}"


def _request(args: _Args, database: str | None) -> str:
    method = args.get("method", "GET")
    verb = visible(method) if isinstance(method, str) and "{{" not in method else value(method)
    return f"Send the HTTP request {verb} {value(args['url'])}"


def _notify(args: _Args, database: str | None) -> str:
    return f"Notify: {value(args['message'])}"


_QUERY: Final = ("filter", "order_by", "limit", "offset", "fields")
_ACTION: Final = ("action", "update_values", "dry_run", "max_affected", "expect")
_TOOLS: Final[Mapping[str, tuple[_Phrase, tuple[str, ...]]]] = {
    "select": (_select, ("store", "key", "single", *_QUERY, *_ACTION)),
    "join": (_join, ("left", "right", "on", "type", *_QUERY, *_ACTION)),
    "aggregate": (_aggregate, ("values", "store", "join", "group_by", *_QUERY)),
    "explain": (_explain, ("store", "join", "key", *_QUERY)),
    "get": (_get, ("store", "key")),
    "add": (_add, ("store", "record")),
    "upsert": (_upsert, ("store", "record")),
    "update": (_update, ("store", "key", "values")),
    "delete": (_delete, ("store", "key")),
    "manage_transaction": (_transaction, ("action",)),
    "send_email": (_mail, ("to", "subject", "body")),
    "http_request": (_request, ("method", "url")),
    "notify": (_notify, ("message",)),
    "schedule_script": (schedules.schedule, ("script", "time_zone", *schedules.WHEN)),
    "trigger_schedule": (lambda args, _: f"Run the script of the schedule {value(args['id'])} now", ("id",)),
    "delete_schedule": (lambda args, _: f"Remove the schedule {value(args['id'])}", ("id",)),
}
"""Tool -> its phrase, and the arguments that the phrase tells."""

_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "select": ("store",),
    "join": ("left", "right", "on"),
    "aggregate": ("values",),
    "get": ("store", "key"),
    "add": ("store", "record"),
    "upsert": ("store", "record"),
    "update": ("store", "key", "values"),
    "delete": ("store", "key"),
    "manage_transaction": ("action",),
    "send_email": ("to", "subject", "body"),
    "http_request": ("url",),
    "notify": ("message",),
    "schedule_script": ("script",),
    "trigger_schedule": ("id",),
    "delete_schedule": ("id",),
}
"""Without these there is no phrase."""
