"""Slash commands: what each line comes to, written behind `->`, or `!!` where it is refused."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.toolbox.authoring.setting import parameters, registry, session
from toolbox.authoring.commands import Answer, Calls, Decision, parse
from toolbox.authoring.commands.outcomes import Outcome
from toolbox.errors import ToolError

FOLDER = Path(__file__).parent / "golden"


def told(outcome: Outcome) -> str:
    """An outcome in a line."""
    if isinstance(outcome, Calls):
        return (
            " ; ".join(f"{tool} {json.dumps(args, ensure_ascii=False)}" for tool, args in outcome.calls)
            + " (raw)" * outcome.raw
        )
    if isinstance(outcome, Decision):
        return f"{'approved' if outcome.approved else 'rejected'} {outcome.approval} {outcome.comment!r}"
    assert isinstance(outcome, Answer)
    return f"{outcome.text!r}"


def answer(line: str, **setting: Any) -> str:
    try:
        return f"  -> {told(parse(line, session(), registry(), parameters=parameters, **setting))}"
    except ToolError as error:
        return f"  !! {error.code}: {error.message}{f' ({error.hint})' if error.hint else ''}"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("commands*.txt")), ids=lambda path: path.stem)
def test_golden_commands(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    given = [line for line in source.splitlines() if line and not line.startswith("  ")]
    lines = [part for line in given for part in ([line] if line.startswith("#") else [line, answer(line)])]
    text = "\n".join(lines) + "\n"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    else:
        assert text == source
