"""Nested boxes, top down: how large each is, from the inside out, before anything is drawn.

    Box       a step: lines of text, and below them its groups
    Group     columns side by side; one of a handler has a frame and a title
    Column    boxes one below the other, with room for an arrow between two of them

Everything is measured in pixels. The font has a fixed width, so that a text's width is known without a font: wide characters (Unicode
Standard Annex 11) take two columns.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from textwrap import wrap
from typing import Final
from unicodedata import combining, east_asian_width

from script.diagram.labels import heading, label, part_title, whole
from script.source.tree import Part, Placed

CHARACTER: Final = 7.3
LINE: Final = 17.0
PAD: Final = 10.0
ARROW: Final = 20.0
TITLE: Final = 18.0
COLUMNS: Final = 56
"""Characters of a line."""


@dataclass(frozen=True)
class Box:
    """A step. `told` is its whole sentence."""

    placed: Placed
    lines: tuple[str, ...]
    told: str
    groups: "tuple[Group, ...]"
    width: float
    height: float


@dataclass(frozen=True)
class Column:
    title: str
    boxes: tuple[Box, ...]
    width: float
    height: float


@dataclass(frozen=True)
class Group:
    """`title` is None for the steps of a loop, a block or an if."""

    title: str | None
    columns: tuple[Column, ...]
    width: float
    height: float


def columns_of(text: str) -> int:
    """How many columns of a fixed-width font a text takes."""
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def wrapped(text: str, columns: int = COLUMNS) -> list[str]:
    """The lines of a text. Only words that are longer than a line are broken."""
    lines = wrap(text, columns, break_on_hyphens=False) or [""]
    return [part for line in lines for part in _narrow(line, columns)]


def _narrow(line: str, columns: int) -> list[str]:
    """A line of wide characters is broken again."""
    if columns_of(line) <= columns:
        return [line]
    half = len(line) // 2
    return [*_narrow(line[:half], columns), *_narrow(line[half:], columns)]


def box(placed: Placed) -> Box:
    """The box of a step, with everything in it."""
    lines = (*wrapped(heading(placed)), *wrapped(label(placed)))
    groups = tuple(_groups(placed))
    width = max([max(map(columns_of, lines)) * CHARACTER, *(group.width for group in groups)]) + 2 * PAD
    height = len(lines) * LINE + 2 * PAD + sum(group.height + PAD for group in groups)
    return Box(placed, lines, whole(placed), groups, width, height)


def _groups(placed: Placed) -> Iterable[Group]:
    ways = [part for part in placed.parts if part.name in ("then", "else") and part.steps]
    if ways:
        yield group(None, [column(part_title(part), part) for part in ways])
    for part in placed.parts:
        if part.name == "steps" and part.steps:
            yield group(None, [column("", part)])
        elif part.name in ("compensate", "catch", "finally"):
            yield group(part_title(part), [column("", part)])


def column(title: str, part: Part) -> Column:
    boxes = tuple(map(box, part.steps))
    width = max([columns_of(title) * CHARACTER, *(each.width for each in boxes)])
    height = sum(each.height for each in boxes) + ARROW * max(0, len(boxes) - 1) + (TITLE if title else 0)
    return Column(title, boxes, width, height)


def group(title: str | None, columns: list[Column]) -> Group:
    width = sum(each.width for each in columns) + PAD * (len(columns) - 1)
    height = max(each.height for each in columns)
    if title is None:
        return Group(None, tuple(columns), width, height)
    return Group(title, tuple(columns), max(width, columns_of(title) * CHARACTER) + 2 * PAD, height + TITLE + 2 * PAD)
