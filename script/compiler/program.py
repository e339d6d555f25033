"""A Program: a script flattened to instructions, so that a position in it is an integer.

The compiler makes it, the machine runs it, and between the two it is JSON: a saved script carries its program, a run
carries the programs that it started with, and a run that goes on for weeks keeps running what it started with.
`INSTRUCTION_SET` numbers the meaning of the instructions; a machine refuses programs of a number it does not know.

Shape of a program:

    code     a tuple of instructions {op, step, ...operands}; jumps hold absolute positions
    steps    one StepInfo for each step of the tree: its path, name, type and parent
    guards   an exception table, innermost first: who handles a failure at start <= pc < end (`machine/failures.py`); the loops are cut
             back to `depth`, and it goes on at `target`
    on_failure   where the steps for a failed run begin
    calls    which version (hash) each call means; filled in by whoever resolves names

Operations: when branch jump set enter leave alone loop next break continue call transaction script wait say return fail end,
try tried finally rethrow (handling of errors), spawn join done compensation (parts that run beside, or later).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Final

from script.expressions.expressions import Expression, compile_expression
from script.expressions.templates import Template, compile_template

INSTRUCTION_SET: Final = 2


@dataclass(frozen=True)
class StepInfo:
    """A step of the tree. `path` is unique in its script: names joined by `/`; `parent` is -1 at the top."""

    path: str
    name: str
    type: str
    parent: int
    pointer: str


@dataclass(frozen=True)
class Guard:
    """One row of the exception table. `kind` is retry, catch (of `errors`), ignore or finally."""

    start: int
    end: int
    target: int
    step: int
    depth: int
    kind: str
    errors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parameter:
    """A declared parameter. `schema` is a JSON Schema fragment; a default is a template, rendered when the run starts."""

    name: str
    required: bool
    schema: dict[str, Any] | None = None
    default: Any = None
    description: str = ""


@dataclass(frozen=True)
class Instruction:
    """An instruction with its expressions and templates compiled."""

    op: str
    step: int
    operands: Mapping[str, Any]
    conditions: Mapping[str, Expression]
    templates: Mapping[str, Template]


def call_name(script: str, version: str | None) -> str:
    """The key of a call in `Program.calls`."""
    return script if version is None else f"{script}@{version}"


@dataclass(frozen=True)
class Program:
    """A compiled script. Equality and JSON form are structural; linking (compiled expressions) is a cache."""

    hash: str
    name: str
    code: tuple[dict[str, Any], ...]
    steps: tuple[StepInfo, ...]
    guards: tuple[Guard, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    database: str | None = None
    isolation: str = "serializable"
    databases: tuple[str, ...] = ()
    calls: Mapping[str, str] | None = None
    output_schema: dict[str, Any] | None = None
    on_failure: int | None = None
    instruction_set: int = INSTRUCTION_SET

    def to_json(self) -> dict[str, Any]:
        """The JSON form; `from_json(to_json())` is the same program."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Program":
        """Read the JSON form.

        Raises ValueError for an instruction set that this release does not run.
        """
        number = data.get("instruction_set")
        if number != INSTRUCTION_SET:
            raise ValueError(
                f"program {data.get('name')!r} has instruction set {number}, this release runs {INSTRUCTION_SET}"
            )
        fields = dict(data)
        fields["code"] = tuple(data["code"])
        fields["steps"] = tuple(StepInfo(**step) for step in data["steps"])
        fields["guards"] = tuple(Guard(**guard) for guard in data["guards"])
        fields["parameters"] = tuple(Parameter(**parameter) for parameter in data["parameters"])
        fields["databases"] = tuple(data["databases"])
        return cls(**fields)

    def with_calls(self, calls: Mapping[str, str]) -> "Program":
        """The same program with its called scripts resolved: `call_name` -> hash."""
        return replace(self, calls=dict(calls))

    def script_calls(self) -> dict[str, tuple[str, str | None]]:
        """What it calls: `call_name` -> (script, version as written)."""
        found = ((code["script"], code["version"]) for code in self.code if code["op"] == "script")
        return {call_name(name, version): (name, version) for name, version in found}

    @cached_property
    def linked(self) -> tuple[Instruction, ...]:
        """The instructions with their expressions compiled, once for each program."""
        return tuple(link(instruction) for instruction in self.code)


# Which operands of an operation are CEL conditions and which are templates; the others are plain data.
_CONDITIONS: Final = {"when": ("condition",), "branch": ("condition",)}
_TEMPLATES: Final = {
    "set": ("value",),
    "loop": ("list",),
    "call": ("args",),
    "transaction": ("args",),
    "script": ("args",),
    "say": ("message",),
    "return": ("value",),
    "fail": ("code", "message"),
    "try": ("timeout",),
    "wait": ("duration", "until", "approval"),
}


def link(code: Mapping[str, Any]) -> Instruction:
    op = code["op"]
    conditions = {name: compile_expression(code[name]) for name in _CONDITIONS.get(op, ())}
    templates = {name: compile_template(code[name]) for name in _TEMPLATES.get(op, ())}
    if op == "loop":
        if code["while"] is not None:
            conditions["while"] = compile_expression(code["while"])
        for name, part in (code.get("reduce") or {}).items():
            if part.get("where") is not None:
                conditions[f"reduce/{name}/where"] = compile_expression(part["where"])
            templates[f"reduce/{name}/value"] = compile_template(part.get("value"))
    return Instruction(op, code["step"], code, conditions, templates)


def names_of(code: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Which variables some instructions read, and which they set, sorted. Of a loop that stands first, its list is not counted."""
    reads: set[str] = set()
    assigns: set[str] = set()
    for position, instruction in enumerate(code):
        linked = link(instruction)
        first_loop = position == 0 and instruction["op"] == "loop"
        for name, template in linked.templates.items():
            if not (first_loop and name == "list"):
                reads |= template.names
        for condition in linked.conditions.values():
            reads |= condition.names
        if instruction.get("variable") and not first_loop:
            assigns.add(instruction["variable"])
        if instruction["op"] == "compensation":
            reads |= set(instruction["reads"])
    return {"reads": sorted(reads), "assigns": sorted(assigns)}
