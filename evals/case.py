"""What an eval is: what the person says, over which data, and what has to come of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evals.properties import Property

Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Reply:
    """One answer of a scripted model: text, and tools that it calls."""

    text: str = ""
    calls: tuple[Call, ...] = ()


Turns = Sequence[Sequence[Reply]]
"""For each thing that the person says, the model's answers."""


@dataclass(frozen=True)
class Case:
    """An eval.

    `samples` are the databases that there are (`evals.samples`), `database` the one that is meant where none is named, `published` the
    scripts that there are already. `right` is a model that does it right, `wrong` are models that do not: the properties have to tell.
    """

    name: str
    says: tuple[str, ...]
    expect: tuple[Property, ...]
    right: Turns
    samples: tuple[str, ...] = ("company",)
    database: str | None = None
    published: tuple[Mapping[str, Any], ...] = ()
    wrong: Mapping[str, Turns] = field(default_factory=dict)
    group: str = ""


def call(tool: str, /, **args: Any) -> Reply:
    """An answer that calls one tool."""
    return Reply("", ((tool, args),))


def write(script: Mapping[str, Any]) -> Reply:
    """An answer that writes a draft as a whole."""
    first = {"name", "description", "parameters", "database", "steps"}
    made = ("create_script", {name: value for name, value in script.items() if name in first})
    rest = {name: value for name, value in script.items() if name not in first}
    return Reply("", (made, *([("set_fields", {"fields": rest})] if rest else [])))


def change(**fields: Any) -> Reply:
    """An answer that sets fields of the draft."""
    return Reply("", (("set_fields", {"fields": fields}),))


def ask(question: str) -> Reply:
    """An answer that asks the person."""
    return Reply("", (("ask_person", {"question": question}),))


def tell(text: str) -> Reply:
    """An answer that is text alone."""
    return Reply(text)
