"""Scripts to be told: those of the examples, and those of the machine's golden files."""

from pathlib import Path
from random import Random
from typing import Any

from hypothesis import strategies as st

from script.source.ast import Script
from script.source.loading import load_script
from tests.script.drawn_programs import FIRST, steps
from tests.script.random_programs import scripts

ROOT = Path(__file__).parents[3]
EXAMPLES = {path.stem: path for path in sorted(ROOT.glob("examples/*/scripts/*.json"))}


def example(name: str) -> Script:
    return load_script(EXAMPLES[name].read_text(encoding="utf-8")).script


def golden_scripts() -> dict[str, Script]:
    """The first script of each golden file of the machine, by the file's name."""
    found = {}
    for path in sorted((ROOT / "tests" / "script" / "golden" / "machine").glob("*.txt")):
        text = path.read_text(encoding="utf-8").split("\n---\n")[0].split("\n===\n")[0]
        found[path.stem] = load_script("\n".join(line for line in text.splitlines() if line[:1] != "#")).script
    return found


def _random(seed: int) -> Script:
    return load_script(scripts(Random(seed))[0]).script


def _drawn(body: list[dict[str, Any]]) -> Script:
    return load_script({"name": "main", "database": "shop", "steps": [*FIRST, *body]}).script


drawn: st.SearchStrategy[Script] = st.builds(_drawn, steps(2, False)) | st.builds(_random, st.integers(0, 10_000))
"""Random scripts, with every step type."""
