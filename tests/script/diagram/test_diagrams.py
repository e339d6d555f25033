"""Pictures of scripts: well-formed whatever stands in a script, complete, and nothing lies on anything else."""

import re
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings

from script.diagram import mermaid, svg
from script.diagram.layout import CHARACTER, COLUMNS, columns_of, wrapped
from script.source.ast import Script
from script.source.loading import load_script
from script.source.tree import place, walk
from tests.script.outline.texts import EXAMPLES, drawn, example, golden_scripts

GOLDEN = golden_scripts()
SVG = "{http://www.w3.org/2000/svg}"
STRANGE = 'x`"]<script>alert(1)</script>-->%%{init: {}}%% style: #quot; end | ;\n\x00\u2028 classDef a:#f; ]]> <![CDATA[ &amp; \u202e'
NAME = "s[0-9_]+"
LABEL = r'"(?:[^\W_]|[ .,_\-=/+*\'()]|#\d+;|<br>)*"'
ID = rf"(?:start|{NAME}|(?:start|{NAME})_(?:compensate|catch|finally|on_failure)_\d+|{NAME}(?:_[a-z]+_\d+)?_empty|start_on_failure_0_empty)"
SHAPE = (
    rf"(?:\[{LABEL}\]|\{{{LABEL}\}}|\(\[{LABEL}\]\)|\[\({LABEL}\)\]|\[\[{LABEL}\]\]|\{{\{{{LABEL}\}}\}}|\[/{LABEL}/\])"
)
LINES = [
    re.compile(rf"(?P<defined>{ID}){SHAPE}"),
    re.compile(rf"subgraph (?P<defined>{ID})\[{LABEL}\]"),
    re.compile(rf"(?P<from>{ID}) --> (?P<to>{ID})"),
    re.compile(rf"(?P<from>{ID}) -->\|{LABEL}\| (?P<to>{ID})"),
    re.compile(rf"(?P<from>{ID}) -\. {LABEL} \.-> (?P<to>{ID})"),
    re.compile("end"),
]
"""The whole grammar of a chart: a text that got out of its label would be on a line of another form."""

say = {"type": "say", "message": STRANGE}
ATTACK = load_script({
    "name": "t", "description": STRANGE,
    "steps": [
        {**say, "description": STRANGE},
        {"type": "loop", "name": "end", "list": "[1]", "iterator": "i", "steps": [],
         "catch": [{"errors": [STRANGE], "steps": [say]}], "finally": [say], "compensate": say},
        {"type": "fetch", "resource": STRANGE, "filter": {STRANGE: STRANGE}},
        {"type": "command", "command": STRANGE, "args": {STRANGE: STRANGE}},
        {"type": "if", "condition": "a == '\"]<script>'", "then": [say], "else": [{"type": "return", "value": STRANGE}]},
        {"type": "wait", "approval": {"by": STRANGE, "prompt": STRANGE}},
        {"type": "ask", "prompt": STRANGE, "system": "語" * 300},
    ],
    "on_failure": [],
}).script  # fmt: skip


def check_mermaid(script: Script) -> None:
    head, *lines = mermaid(script).splitlines()
    assert head == "flowchart TD"
    defined, ways, depth = [], [], 0
    for line in lines:
        found = next((match for pattern in LINES if (match := pattern.fullmatch(line.strip()))), None)
        assert found is not None, line
        groups = found.groupdict()
        if "defined" in groups:
            defined.append(groups["defined"])
        if "from" in groups:
            ways.append((groups["from"], groups["to"]))
        depth += line.strip().startswith("subgraph ") - (line.strip() == "end")
    assert depth == 0
    assert len(set(defined)) == len(defined)
    assert {name for way in ways for name in way} <= set(defined)
    placed = list(walk(place(script)))
    assert {f"s{each.number.replace('.', '_')}" for each in placed} <= set(defined)


def boxes(picture: str) -> Iterator[tuple[float, float, float, float]]:
    """x, y, right edge and bottom of the boxes with something in them."""
    for rect in ElementTree.fromstring(picture).iter(f"{SVG}rect"):
        if rect.get("width") != "100%":
            x, y, width, height = (float(rect.get(name, "")) for name in ("x", "y", "width", "height"))
            yield x, y, x + width, y + height


def check_svg(script: Script) -> None:
    picture = svg(script)
    root = ElementTree.fromstring(picture)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {"svg", "title", "rect", "text", "g", "path"}
    assert not [name for element in root.iter() for name in element.attrib if name in ("href", "id", "style", "class")]
    titles = [title.text or "" for group in root.iter(f"{SVG}g") for title in group.iter(f"{SVG}title")]
    assert [title.partition(": ")[0] for title in titles] == [each.path for each in walk(place(script))]
    width, height = (float(root.get(name, "")) for name in ("width", "height"))
    found = list(boxes(picture))
    for x, y, right, bottom in found:
        assert x > 0 and y > 0 and right <= width and bottom <= height
    for at, (left, top, right, bottom) in enumerate(found):
        for other in found[at + 1 :]:
            apart = other[0] >= right or other[2] <= left or other[1] >= bottom or other[3] <= top
            inside = left < other[0] and top < other[1] and other[2] < right and other[3] < bottom
            assert apart or inside
    for text in root.iter(f"{SVG}text"):
        assert float(text.get("x", "")) + columns_of(text.text or "") * CHARACTER <= width


@pytest.mark.parametrize("name", GOLDEN)
def test_pictures_of_the_golden_scripts(name: str) -> None:
    check_mermaid(GOLDEN[name])
    check_svg(GOLDEN[name])


@pytest.mark.parametrize("name", EXAMPLES)
def test_pictures_of_the_examples(name: str) -> None:
    check_mermaid(example(name))
    check_svg(example(name))


@settings(deadline=None, max_examples=25)
@given(drawn)
def test_pictures_of_random_scripts(script: Script) -> None:
    check_mermaid(script)
    check_svg(script)
    assert (mermaid(script), svg(script)) == (mermaid(script), svg(script))


def test_no_text_gets_out_of_its_place() -> None:
    check_mermaid(ATTACK)
    check_svg(ATTACK)
    root = ElementTree.fromstring(svg(ATTACK))
    told = [title.text or "" for title in root.iter(f"{SVG}title")]
    assert 'say_1: Say "x`\\"]<script>alert(1)</script>' in told[1]
    assert "%%{" not in mermaid(ATTACK) and "<script" not in mermaid(ATTACK)


def test_the_ways_of_a_chart() -> None:
    chart = mermaid(load_script({
        "name": "t",
        "steps": [
            {"type": "if", "condition": "a", "then": [{"type": "return", "value": 1}]},
            {"type": "say", "message": "x", "catch": [{"errors": ["e"], "steps": [{"type": "say", "message": "y"}]}]},
            {"type": "return", "value": 2, "when": "b"},
            {"type": "say", "message": "z", "finally": [{"type": "say", "message": "f"}]},
        ]}).script)  # fmt: skip
    assert [line.strip() for line in chart.splitlines() if "-->" in line or ".->" in line] == [
        "start --> s1",
        's1 -->|"yes"| s1_1',
        's1 -->|"no"| s2',
        's2 -. "if it fails with the error e" .-> s2_catch_0',
        "s2 --> s3",
        "s2_catch_0 --> s3",
        's3 -->|"otherwise"| s4',
        's4 -. "in any case" .-> s4_finally_0',
        "s4 --> s4_finally_0",
    ]


def test_lines() -> None:
    assert wrapped("") == [""]
    assert wrapped("a " * 40) == [("a " * 28).strip(), ("a " * 12).strip()]
    assert all(columns_of(line) <= COLUMNS for line in wrapped("語" * 200 + " " + "x" * 200))
    assert "".join(wrapped("語" * 200)) == "語" * 200
    assert columns_of("e\u0301語") == 3
