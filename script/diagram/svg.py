"""A script as an SVG 1.1 picture: nested boxes from top to bottom, arrows between the steps of a list.

The picture stands for itself: no scripts, no styles or fonts from elsewhere, no ids (several may stand in one page). Texts are escaped,
and what cannot be seen in them, or cannot stand in XML, comes as its escape. The tooltip of a box is its whole sentence.
"""

from collections.abc import Iterable
from typing import Final
from xml.sax.saxutils import escape

from script.diagram.labels import ENDING, part_title
from script.diagram.layout import (
    ARROW,
    CHARACTER,
    LINE,
    PAD,
    TITLE,
    Box,
    Column,
    Group,
    column,
    columns_of,
    group,
    wrapped,
)
from script.outline.words import visible
from script.source import ast
from script.source.tree import place

_FONT: Final = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"
_COLORS: Final = {
    "if": ("#fff6dd", "#c98a00"),
    "loop": ("#eaf6ec", "#3d8b4e"),
    "block": ("#f7f7f7", "#8a8a8a"),
    "fetch": ("#e8f1fb", "#3a74b5"),
    "command": ("#e8f1fb", "#3a74b5"),
    "script": ("#e6f5f5", "#2b8585"),
    "ask": ("#f3ebfa", "#7d4fb0"),
    "wait": ("#f3ebfa", "#7d4fb0"),
    "return": ("#eeeeee", "#555555"),
    "fail": ("#fdeaea", "#b93a3a"),
}
_PLAIN: Final = ("#ffffff", "#777777")


def svg(script: ast.Script) -> str:
    """The picture as text."""
    steps, *failed = place(script)
    groups = [group(None, [column("", steps)]), *(group(part_title(part), [column("", part)]) for part in failed)]
    title = f"{script.category}.{script.name}"
    room = int(max(each.width for each in groups) / CHARACTER)
    about = wrapped(visible(script.description), room) if script.description else []
    texts = max(columns_of(line) * CHARACTER for line in (title, *about))
    width = max([texts, *(each.width for each in groups)]) + 2 * PAD
    drawing = _Drawing()
    y = PAD
    for line in (title, *about):
        drawing.text(PAD, y, line, bold=line is title)
        y += LINE
    for each in groups:
        drawing.group(each, PAD, y + PAD, width - 2 * PAD)
        y += each.height + PAD
    height = y + PAD
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img"'
        f' font-family="{_FONT}" font-size="12" fill="#222222">'
    )
    ground = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return "\n".join([head, f"<title>{_text(title)}</title>", ground, *drawing.lines, "</svg>"]) + "\n"


def _text(text: str) -> str:
    return escape(visible(text))


class _Drawing:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def text(self, x: float, y: float, text: str, *, bold: bool = False, color: str = "") -> None:
        """A line of text whose upper edge is at `y`."""
        weight = ' font-weight="bold"' if bold else ""
        fill = f' fill="{color}"' if color else ""
        self.lines.append(
            f'<text x="{x:g}" y="{y + LINE - 4:g}"{weight}{fill} xml:space="preserve">{_text(text)}</text>'
        )

    def rectangle(self, x: float, y: float, width: float, height: float, look: str) -> None:
        self.lines.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5" {look}/>')

    def group(self, found: Group, x: float, y: float, width: float) -> None:
        """Columns side by side; the room that is left is shared among them."""
        if found.title is not None:
            self.rectangle(x, y, width, found.height, 'fill="none" stroke="#b93a3a" stroke-dasharray="5 4"')
            self.text(x + PAD, y + 3, found.title, color="#b93a3a")
            x, y, width = x + PAD, y + TITLE + PAD, width - 2 * PAD
        needed = sum(each.width for each in found.columns) + PAD * (len(found.columns) - 1)
        more = max(0.0, width - needed) / len(found.columns)
        for each in found.columns:
            self._column(each, x, y, each.width + more)
            x += each.width + more + PAD

    def _column(self, found: Column, x: float, y: float, width: float) -> None:
        if found.title:
            self.text(x, y, found.title, bold=True)
            y += TITLE
        for position, each in enumerate(found.boxes):
            if position:
                before = found.boxes[position - 1].placed.node
                if before.type not in ENDING or before.when is not None:
                    self._arrow(x + min(width, 160) / 2, y - ARROW, dashed=before.is_async)
            self._box(each, x, y, width)
            y += each.height + ARROW

    def _arrow(self, x: float, y: float, *, dashed: bool) -> None:
        dashes = ' stroke-dasharray="3 3"' if dashed else ""
        self.lines.append(f'<path d="M{x:g} {y:g}v{ARROW - 2:g}" stroke="#555555" fill="none"{dashes}/>')
        tip = y + ARROW - 1
        self.lines.append(f'<path d="M{x - 4:g} {tip - 7:g}h8l-4 7z" fill="#555555"/>')

    def _box(self, found: Box, x: float, y: float, width: float) -> None:
        fill, stroke = _COLORS.get(found.placed.node.type, _PLAIN)
        self.lines.append(f"<g><title>{_text(f'{found.placed.path}: {found.told}')}</title>")
        self.rectangle(x, y, width, found.height, f'fill="{fill}" stroke="{stroke}"')
        names = len(wrapped(f"{found.placed.number} {found.placed.name}"))
        top = y + PAD - 2
        for position, line in enumerate(found.lines):
            self.text(x + PAD, top, line, bold=position < names)
            top += LINE
        self.lines.append("</g>")
        self._groups(found.groups, x + PAD, top + 2 + PAD, width - 2 * PAD)

    def _groups(self, groups: Iterable[Group], x: float, y: float, width: float) -> None:
        for each in groups:
            self.group(each, x, y, width)
            y += each.height + PAD
