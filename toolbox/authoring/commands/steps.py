"""Commands on the steps of a draft. People count steps from 1; tools count from 0, or take a step's name."""

from typing import Any

from toolbox.authoring.commands.line import Line
from toolbox.authoring.commands.outcomes import Calls
from toolbox.authoring.commands.values import typed
from toolbox.authoring.commands.words import Word, first, split
from toolbox.errors import InvalidArguments


def step(line: Line) -> Calls:
    """/step {json} | words | (nothing)"""
    text = line.text.strip()
    if not text:
        return _one("save_last_step", {})
    return _one("save_step", {"step": _step(line, text)})


def insert(line: Line) -> Calls:
    """/insert_step POSITION {json} | words"""
    place, rest = _placed(line)
    if not rest:
        line.refuse("which step?")
    return _one("insert_step", {"position": _number(line, place), "step": _step(line, rest)})


def update(line: Line) -> Calls:
    """/update_step POSITION {json} | field=value ..."""
    place, rest = _placed(line)
    words = split(rest)
    if len(words) == 1 and words[0].name is None and isinstance(words[0].value, dict):
        changes = words[0].value
    else:
        changes = {}
        for word in words:
            if word.name is None:
                line.refuse(f"{word.value!r} is no field=value")
            if word.name in changes:
                line.refuse(f"{word.name} is there twice")
            changes[word.name] = typed(word.name, word, None)
    if not changes:
        line.refuse("what is to be different?")
    return _one("update_step", {"step": _position(line, place), "changes": changes})


def delete(line: Line) -> Calls:
    """/delete_step POSITION"""
    place, rest = _placed(line)
    if rest:
        line.refuse(f"{rest!r} is one word too many")
    return _one("delete_step", {"step": _position(line, place)})


def reorder(line: Line) -> Calls:
    """/reorder_steps POSITION POSITION ..."""
    line.only(())
    if not line.bare:
        line.refuse("in which order?")
    return _one("reorder_steps", {"order": [_position(line, word) for word in line.bare]})


def parameterize(line: Line) -> Calls:
    """/parameterize name=value ..., also as `name value` in pairs"""
    if not line.words:
        line.refuse("which values are to be parameters?")
    if line.bare:
        line.refuse(f"{line.bare[0].value!r} is no name=value")
    return _one("parameterize_script", {"values": {name: typed(name, word, None) for name, word in line.named.items()}})


def rename(line: Line) -> Calls:
    """/save_as NAME"""
    line.only(())
    if len(line.bare) != 1:
        line.refuse("under which name?")
    return _one("set_fields", {"fields": {"name": str(line.bare[0].value)}})


def show(line: Line) -> Calls:
    """/show [NAME] [--json]"""
    named = line.only(("json",))
    if len(line.bare) > 1:
        line.refuse("one script after the other")
    raw = bool(named) and line.value("", "json", named["json"]) is True
    tool, args = ("get_script_details", {"name": str(line.bare[0].value)}) if line.bare else ("show_draft", {})
    return Calls(((tool, args),), raw)


def _step(line: Line, text: str) -> dict[str, Any]:
    """The step that a text is: JSON, or words, which are an ask step."""
    if not text.startswith("{") or text.startswith("{{"):
        return {"type": "ask", "prompt": text}
    found = split(text)
    if len(found) != 1:
        raise InvalidArguments("something stands behind the step", hint=f"usage: /{line.word} {line.usage}")
    step: dict[str, Any] = found[0].value
    if "type" not in step and isinstance(step.get("command"), str):
        return {"type": "command", **step}
    return step


def _placed(line: Line) -> tuple[Word, str]:
    """The position, and the text behind it."""
    if not line.text.strip():
        line.refuse("at which position?")
    return first(line.text)


def _position(line: Line, word: Word) -> int | str:
    """A position counted from 0, or the name of a step."""
    text = str(word.value)
    if text.removeprefix("-").isdecimal():
        return _number(line, word)
    return text


def _number(line: Line, word: Word) -> int:
    text = str(word.value)
    if not text.isdecimal() or not text.isascii() or len(text) > 6 or int(text) < 1:
        line.refuse(f"{text!r} is no position: the first step is 1")
    return int(text) - 1


def _one(tool: str, args: dict[str, Any]) -> Calls:
    return Calls(((tool, args),))
