"""Saving pins what a script calls, wherever it calls it."""

from typing import Any

from activities import Resources

CALL = {"type": "script", "script_name": "helper"}


def test_calls_are_pinned_wherever_they_stand(resources: Resources) -> None:
    library = resources.library
    first = library.save({"name": "helper", "steps": [{"type": "return", "value": 1}]})
    say = {"type": "say", "message": "x"}
    saved = library.save({"name": "caller", "on_failure": [CALL], "steps": [
        {**say, "catch": [{"errors": ["*"], "steps": [CALL]}], "finally": [CALL], "compensate": CALL},
        {**say, "compensate": [CALL]},
        {"type": "loop", "list": "[1]", "iterator": "i", "steps": [CALL]},
        {"type": "block", "steps": [{**CALL, "version": "latest"}]}]})  # fmt: skip
    library.save({"name": "helper", "steps": [{"type": "return", "value": 2}]})

    def versions(node: Any) -> list[str]:
        if isinstance(node, list):
            return [found for element in node for found in versions(element)]
        if not isinstance(node, dict):
            return []
        own = [str(node.get("version"))] if node.get("type") == "script" else []
        return own + [found for value in node.values() for found in versions(value)]

    assert sorted(versions(saved.script)) == sorted([first.hash] * 6 + ["latest"])
    assert len([program for program in library.closure("caller") if program.name == "helper"]) == 2, (
        "the latest one too"
    )
