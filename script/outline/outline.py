"""The outline of a script: what it does, step by step, in English. Made from the tree alone, so it says what will be run.

    1. all_customers: Fetch the rows of customers.customers; the result is `customers`.
    2. each_customer: For each `customer` in `customers` (the rows of customers.customers):
       2.1 check: Run the script check_churn_risk ...
       2.2 is_at_risk: If `risk.is_risk`:
           2.2.1 ...

Numbers and names are those of the step paths (`script/source/tree.py`).
"""

from collections.abc import Iterable, Iterator
from typing import Final

from script.outline.steps import conditions, errors, sentence
from script.outline.words import json_type, value, visible
from script.source import ast
from script.source.tree import Part, Placed, place, walk

_INDENT: Final = "   "
_HEADS: Final = {
    "then": "",
    "steps": "",
    "else": "Otherwise:",
    "compensate": "If the run fails or is cancelled after this step, undo it:",
    "finally": "In any case, at its end:",
    "on_failure": "If the run has failed:",
}


def outline(script: ast.Script) -> str:
    """The whole script as text; each line ends in a line feed."""
    parts = place(script)
    lines = [*_head(script), "", *_Outline(script, parts).lines(parts)]
    return "".join(f"{line}\n" for line in lines)


def summary(step: ast.Step, database: str | None = None) -> str:
    """A step in one line, without the steps inside of it. `database` is the one that its script, or the block around it, works on."""
    return "; ".join([sentence(step, database), *conditions(step)])


def _head(script: ast.Script) -> Iterator[str]:
    yield f"{script.category}.{script.name}"
    if script.description:
        yield visible(script.description)
    if script.database is not None:
        yield f"Database: {script.database}, in transactions of {script.isolation} isolation."
    elif "isolation" in script.model_fields_set:
        yield f"Isolation: {script.isolation}."
    if script.parameters:
        yield "Takes:"
    for parameter in script.parameters:
        yield f"- {_parameter(parameter)}"
    if script.output_schema is not None:
        yield f"Returns {json_type(script.output_schema) or 'any value'}."


def _parameter(parameter: ast.Parameter) -> str:
    kind = json_type(parameter.json_schema())
    text = f"`{parameter.name}`" + (f" ({kind})" if kind is not None else "")
    if parameter.description:
        text += f", {visible(parameter.description)}"
    if "default" in parameter.model_fields_set:
        text += f"; without it, {value(parameter.default)}"
    if parameter.required is not None:
        text += "; it has to be given" if parameter.required else "; it may be left out"
    return text


class _Outline:
    def __init__(self, script: ast.Script, parts: Iterable[Part]) -> None:
        parameters = {parameter.name for parameter in script.parameters}
        self._rows = {name: told for name, told in _rows_by_name(parts).items() if name not in parameters}

    def lines(self, parts: Iterable[Part], depth: int = 0) -> Iterator[str]:
        indent = _INDENT * depth
        for part in parts:
            head = f"If it fails with {errors(part.errors)}:" if part.name == "catch" else _HEADS[part.name]
            if head and (part.steps or part.name != "else"):
                yield indent + head
            for placed in part.steps:
                yield from self._step(placed, depth)
            if not part.steps and part.name != "else":
                yield f"{indent}(no steps)"

    def _step(self, placed: Placed, depth: int) -> Iterator[str]:
        node, indent = placed.node, _INDENT * depth
        own = [part for part in placed.parts if part.name in ("then", "else", "steps")]
        text = sentence(node, placed.database, told=self._told(node))
        yield f"{indent}{placed.number}{'' if depth else '.'} {placed.name}: {text}{':' if own else '.'}"
        indent += _INDENT
        if node.description:
            yield f"{indent}({visible(node.description)})"
        for condition in conditions(node):
            yield f"{indent}- {condition}"
        yield from self.lines(placed.parts, depth + 1)

    def _told(self, node: ast.Step) -> str:
        """Of a loop over rows: which ones."""
        return (
            self._rows.get(node.list.strip(), "")
            if isinstance(node, ast.LoopStep) and isinstance(node.list, str)
            else ""
        )


def _rows_by_name(parts: Iterable[Part]) -> dict[str, str]:
    """Variables that are surely the rows of a fetch: those that one fetch sets, and nothing else anywhere."""
    setting: dict[str, list[Placed]] = {}
    for placed in walk(parts):
        node = placed.node
        for name in (node.variable, getattr(node, "iterator", None), getattr(node, "index", None)):
            if name is not None:
                setting.setdefault(name, []).append(placed)
    return {
        name: told
        for name, places in setting.items()
        if len(places) == 1 and (told := _rows_of(places[0].node, places[0].database)) is not None
    }


def _rows_of(node: ast.Step, database: str | None) -> str | None:
    """The rows that a fetch surely gives, in words."""
    if not isinstance(node, ast.FetchStep) or node.single or node.when is not None or node.catch:
        return None
    plain = node.model_copy(update={"variable": None, "is_async": False})
    return sentence(plain, database).removeprefix("Fetch ")
