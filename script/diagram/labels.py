"""What stands in the box of a step, for every form of a picture: its number and name, and its sentence, which is cut when it is long.

The whole sentence is in the outline; a text that was cut ends in an ellipsis.
"""

from typing import Final

from script.outline.steps import conditions, errors, sentence
from script.source.tree import Part, Placed

LONGEST: Final = 160
"""Characters of a sentence."""

ENDING: Final = frozenset({"return", "fail", "break", "continue"})
"""Step types that nothing comes after."""

_PARTS: Final = {
    "then": "yes",
    "else": "no",
    "steps": "",
    "compensate": "undone later by",
    "finally": "in any case",
    "on_failure": "if the run has failed",
}


def heading(placed: Placed) -> str:
    return f"{placed.number} {placed.name}"


def label(placed: Placed) -> str:
    """The sentence of a step with what holds around it, cut."""
    return shortened(whole(placed))


def whole(placed: Placed) -> str:
    """The sentence of a step with what holds around it."""
    return "; ".join([sentence(placed.node, placed.database), *conditions(placed.node)])


def shortened(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def part_title(part: Part) -> str:
    """What the way to a part is called."""
    return shortened(f"if it fails with {errors(part.errors)}", 80) if part.name == "catch" else _PARTS[part.name]
