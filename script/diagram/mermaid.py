"""A script as a Mermaid flowchart (mermaid.js.org, syntax of version 10 and later).

    step            a box                    if       a rhombus with the ways yes and no
    loop, block     a subgraph               handlers a subgraph at the end of a dotted way

Labels are quoted, and whatever is no letter, digit or harmless sign in them is an entity (`#34;`): so no text of a script can end a label,
or be taken for HTML, Markdown, a comment or a directive.
"""

from collections.abc import Iterable
from typing import Final

from script.diagram.labels import ENDING, heading, label, part_title, shortened
from script.outline.words import visible
from script.source import ast
from script.source.tree import Part, Placed, place

_HARMLESS: Final = frozenset(" .,_-=/+*'()")
_SHAPES: Final = {
    "if": ("{", "}"),
    "return": ("([", "])"),
    "fail": ("([", "])"),
    "break": ("([", "])"),
    "continue": ("([", "])"),
    "fetch": ("[(", ")]"),
    "script": ("[[", "]]"),
    "wait": ("{{", "}}"),
    "ask": ("[/", "/]"),
}
_BOX: Final = ("[", "]")

_Ends = list[tuple[str, str]]
"""Steps that the next one comes after, each with what the way is called."""


def mermaid(script: ast.Script) -> str:
    """The flowchart as text; each line ends in a line feed."""
    steps, *failed = place(script)
    drawing = _Drawing()
    title = f"{script.category}.{script.name}"
    drawing.line(f'start(["{_text(title)}"])')
    drawing.list(steps.steps, [("start", "")])
    for part in failed:
        drawing.handler("start", part, 0)
    return "".join(f"{line}\n" for line in ("flowchart TD", *drawing.lines))


def _text(text: str) -> str:
    """A text for a quoted label."""
    return "".join(char if char.isalnum() or char in _HARMLESS else f"#{ord(char)};" for char in visible(text))


class _Drawing:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self._indent = "  "

    def line(self, text: str) -> None:
        self.lines.append(self._indent + text)

    def list(self, steps: Iterable[Placed], ends: _Ends) -> _Ends:
        """Draw steps one after the other; gives what the next one comes after."""
        for placed in steps:
            ends = self._step(placed, ends)
        return ends

    def handler(self, of: str, part: Part, position: int) -> str:
        """Steps that run only in some case, or later."""
        name = f"{of}_{part.name}_{position}"
        self._group(name, part_title(part), part.steps)
        self.line(f'{of} -. "{_text(part_title(part))}" .-> {name}')
        return name

    def _step(self, placed: Placed, ends: _Ends) -> _Ends:
        name = f"s{placed.number.replace('.', '_')}"
        node = placed.node
        if isinstance(node, ast.LoopStep | ast.BlockStep):
            self._group(name, f"{heading(placed)}: {label(placed)}", placed.part("steps"))
        else:
            before, behind = _SHAPES.get(node.type, _BOX)
            self.line(f'{name}{before}"{_text(heading(placed))}<br>{_text(label(placed))}"{behind}')
        self._ways(ends, name)
        left = self._branches(placed, name) if isinstance(node, ast.IfStep) else [(name, "")]
        if node.type in ENDING:
            left = [(name, "otherwise")] if node.when is not None else []
        return self._around(placed, name, left)

    def _branches(self, placed: Placed, name: str) -> _Ends:
        left: _Ends = []
        for title, part in (("yes", "then"), ("no", "else")):
            left += self.list(placed.part(part), [(name, title)])
        return left

    def _around(self, placed: Placed, name: str, left: _Ends) -> _Ends:
        for position, part in enumerate(placed.parts):
            if part.name not in ("compensate", "catch", "finally"):
                continue
            handler = self.handler(name, part, position)
            if part.name == "catch":
                left = [*left, (handler, "")]
            elif part.name == "finally":
                self._ways(left, handler)
                left = [(handler, "")] if left else []
        return left

    def _ways(self, ends: _Ends, to: str) -> None:
        for name, title in ends:
            self.line(f'{name} -->|"{_text(title)}"| {to}' if title else f"{name} --> {to}")

    def _group(self, name: str, title: str, steps: Iterable[Placed]) -> None:
        self.line(f'subgraph {name}["{_text(shortened(title, 200))}"]')
        outside, self._indent = self._indent, self._indent + "  "
        if not (inside := list(steps)):
            self.line(f'{name}_empty["no steps"]')
        self.list(inside, [])
        self._indent = outside
        self.line("end")
