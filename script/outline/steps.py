"""A step in one line: what it does, without the steps inside of it."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from script.expressions.sources import condition_source
from script.outline import rows, tools
from script.outline.words import code, counted, duration, json, listed, value, visible
from script.source import ast

_REDUCED: Final = {
    "sum": "the sum of",
    "avg": "the average of",
    "min": "the smallest of",
    "max": "the greatest of",
    "collect": "a list of",
}


def sentence(node: ast.Step, database: str | None = None, *, told: str = "") -> str:
    """What a step does, as a sentence without its full stop. `database` is the one that the script (or the block around) works on;
    `told` is what is known of a loop's list."""
    text = _loop(node, told) if isinstance(node, ast.LoopStep) else _STEPS[node.type](node, node.database or database)
    if node.when is not None:
        text = f"When {condition(node.when)}: {text[:1].lower()}{text[1:]}"
    return f"Side by side with the next steps: {text[:1].lower()}{text[1:]}" if node.is_async else text


def conditions(node: ast.Step) -> list[str]:
    """What holds around a step: where it runs, how long, how often, and what comes of a failure; without the steps that handle it."""
    found = []
    if node.database is not None and not isinstance(node, ast.ScriptStep | ast.BlockStep):
        found.append(f"on the database {visible(node.database)}, in a transaction of its own")
    if node.timeout is not None:
        found.append(f"in at most {duration(node.timeout)}{' each time' if node.retry is not None else ''}")
    if node.retry is not None:
        found.append(retries(node.retry))
    if node.continue_on_error:
        found.append("if it fails, the script goes on, with the failure in `error`")
    return found


def retries(retry: ast.Retry) -> str:
    """How often, with which pauses, after which errors."""
    if retry.max_attempts == 1:
        text = "tried once"
    else:
        growing = f", each {retry.backoff:g} times the one before" if retry.backoff != 1 else ""
        most = f", at most {duration(retry.max_interval)}" if retry.backoff != 1 else ""
        jitter = f", {retry.jitter:.0%} of them random" if retry.jitter else ""
        text = f"tried up to {retry.max_attempts:,} times, with pauses of {duration(retry.initial_interval)}{growing}{most}{jitter}"
    only = f", only after {errors(retry.only)}" if retry.only else ""
    never = f", never after {errors(retry.never)}" if retry.never else ""
    return text + only + never


def errors(codes: Any) -> str:
    """Error codes in words."""
    found = list(codes)
    return "any error" if "*" in found else f"the error {listed(map(visible, found), 'or')}" if found else "no error"


def condition(text: str) -> str:
    """A condition as code, without braces around it."""
    return code(condition_source(text))


def _kept(node: ast.Step, text: str) -> str:
    return f"{text}; the result is `{node.variable}`" if node.variable is not None else text


# --- one phrase for each step type ---


def _set(node: ast.SetStep, database: str | None) -> str:
    return f"Set `{node.variable}` to {value(node.value)}"


def _if(node: ast.IfStep, database: str | None) -> str:
    return f"If {condition(node.condition)}"


def _loop(node: ast.LoopStep, told: str) -> str:
    asked = f"as long as {condition(node.while_)}" if node.while_ is not None else ""
    if node.list is None:
        named = f", with `{node.iterator}` as its number" if node.iterator is not None else ""
        text = f"Again and again, {asked}{named}"
    else:
        named = f"`{node.iterator}`" if node.iterator is not None else "element"
        text = f"For each {named} in {listing(node.list)}{f' ({told})' if told else ''}{f', {asked}' if asked else ''}"
    if node.index is not None:
        text += f", counted from 0 by `{node.index}`"
    if node.batch_size is not None or node.tolerate_failures is not None:
        text += ", as a batch in chunks of " + f"{node.batch_size or 500:,}, each in a transaction of its own"
    if node.concurrency > 1:
        text += f", up to {node.concurrency} side by side"
    if node.tolerate_failures is not None:
        text += f", going on while at most {_tolerated(node.tolerate_failures)} failed"
    if node.reduce:
        text += f", bringing out {listed(f'`{name}` = {_reduced(part)}' for name, part in node.reduce.items())}"
    return _kept(node, text)


def listing(given: Any) -> str:
    """A loop's list: text without braces is an expression."""
    if isinstance(given, str) and "{{" not in given:
        return code(given.strip())
    return value(given)


def _tolerated(tolerance: int | str) -> str:
    return tolerance if isinstance(tolerance, str) else counted(tolerance, "element")


def _reduced(part: ast.Reduce) -> str:
    if part.op == "count":
        text = "the number of elements"
    else:
        of = part.value
        text = f"{_REDUCED[part.op]} {condition(of) if isinstance(of, str) else value(of)}"
    if part.op == "count" and "value" in part.model_fields_set:
        text += f" ({value(part.value)})"
    if part.where is not None:
        text += f" where {condition(part.where)}"
    return text + (f" (at most {part.limit:,})" if part.limit is not None else "")


def _block(node: ast.BlockStep, database: str | None) -> str:
    alone = (
        f"On the database {visible(node.database)}, in one transaction of their own" if node.database else "Together"
    )
    return _kept(node, f"{alone}, do the steps")


def _fetch(node: ast.FetchStep, database: str | None) -> str:
    asked = {name: getattr(node, name) for name in ("filter", "order_by", "limit", "fields")}
    source = "" if node.source == "btree" else f" from the source {value(node.source)}"
    what = "the first row (or null)" if node.single else "the rows"
    found = rows.store(node.resource, database) + rows.keyed(node.key) + rows.query(asked)
    return _kept(node, f"Fetch {what} of {found}{source}")


def _command(node: ast.CommandStep, database: str | None) -> str:
    return _kept(node, tools.call(node.command, node.args, database))


def _script(node: ast.ScriptStep, database: str | None) -> str:
    text = f"Run the script {visible(node.script_name)}{tools.arguments(node.script_args)}"
    if node.version is not None:
        pinned = node.version if len(node.version) < 64 else node.version[:12]
        latest = "its latest version when the run starts" if pinned == "latest" else f"version {visible(pinned)}"
        text += f" ({latest})"
    if node.transaction == "inherit":
        text += ", in the transaction of this one"
    if node.database is not None:
        text += f", on the database {visible(node.database)}, as a run of its own"
    return _kept(node, text)


def _ask(node: ast.AskStep, database: str | None) -> str:
    whom = "the language model" + (f" {value(node.model)}" if node.model is not None else "")
    told = f", told first {value(node.system)}" if node.system is not None else ""
    fits = f", for an answer that fits {code(json(node.schema_))}" if node.schema_ is not None else ""
    return _kept(node, f"Ask {whom} {value(node.prompt)}{told}{fits}")


def _say(node: ast.SayStep, database: str | None) -> str:
    return _kept(node, f"Say {value(node.message)}")


def _wait(node: ast.WaitStep, database: str | None) -> str:
    found = []
    if node.duration is not None:
        found.append(f"for {duration(node.duration)}")
    if node.until is not None:
        found.append(f"until {value(node.until)}")
    if node.approval is not None:
        found.append(_approval(node.approval))
    return _kept(node, f"Wait {listed(found)}" if found else "Wait for nothing")


def _approval(approval: ast.Approval) -> str:
    people = approval.by if isinstance(approval.by, list) else [approval.by]
    within = f", for at most {duration(approval.timeout)}" if approval.timeout is not None else ""
    return f"for the approval of {listed(map(value, people), 'or')}: {value(approval.prompt)}{within}"


def _return(node: ast.ReturnStep, database: str | None) -> str:
    return f"Return {value(node.value)}"


def _fail(node: ast.FailStep, database: str | None) -> str:
    return f"Fail with the error {value(node.code)}" + (f": {value(node.message)}" if node.message else "")


def _break(node: ast.BreakStep, database: str | None) -> str:
    return "End the loop"


def _continue(node: ast.ContinueStep, database: str | None) -> str:
    return "Go on with the next element of the loop"


_STEPS: Final[Mapping[str, Callable[..., str]]] = {
    "set": _set,
    "if": _if,
    "block": _block,
    "fetch": _fetch,
    "command": _command,
    "script": _script,
    "ask": _ask,
    "say": _say,
    "wait": _wait,
    "return": _return,
    "fail": _fail,
    "break": _break,
    "continue": _continue,
}
