"""The documentation is tested: examples check, and every type, field, tool and decision is there."""

import re
from pathlib import Path

import pytest

from script.checker.checker import check_script
from script.environment import StaticEnvironment, ToolSignature
from script.machine.reruns import ATTEMPTS
from script.source.ast import STEP_MODELS, Script, StepBase
from script.source.loading import load_script
from settings import CLIENT_VARIABLES, Settings
from toolbox.pages import tools_page
from toolbox.registry import builtin_registry

ROOT = Path(__file__).parents[1]
LANGUAGE = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```json\n(.*?)```", LANGUAGE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: re.search(r'"name": "(\w+)"', text)[1])  # type: ignore[index]
def test_the_languages_examples_check(example: str) -> None:
    registry = builtin_registry()
    tools = {
        name: ToolSignature(registry.get(name).arguments_schema, registry.get(name).effect) for name in registry.names()
    }
    loaded = load_script(example)
    assert loaded.notices == []
    assert check_script(loaded.script, StaticEnvironment(known_tools=tools)) == []


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 5


def test_every_step_type_and_field_is_documented() -> None:
    names = set(STEP_MODELS)
    for model in (Script, StepBase, *STEP_MODELS.values()):
        names |= {field.alias or name for name, field in model.model_fields.items()}
    assert not [name for name in sorted(names) if f"`{name}`" not in LANGUAGE]


def test_the_tools_page_is_that_of_the_registry() -> None:
    assert (ROOT / "docs" / "tools.md").read_text(encoding="utf-8") == tools_page(builtin_registry()), "run: make docs"


def test_the_documented_attempts_are_those_of_the_code() -> None:
    assert ATTEMPTS == 5
    assert "five times with growing pauses" in LANGUAGE


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} -> {target}"


def test_operations_names_settings_and_figures_that_there_are() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    known = {f"SOP_{name.upper()}" for name in Settings.model_fields} | set(CLIENT_VARIABLES)
    assert set(re.findall(r"\bSOP_[A-Z_]+", text)) <= known
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "gateway" / "operations").glob("*.py"))
    figures = {name.removesuffix("_bucket").removesuffix("_total") for name in re.findall(r"\bsop_[a-z_]+", text)}
    assert len(figures) >= 10
    assert not [name for name in figures if f'"{name}"' not in code]


def test_every_package_has_its_page() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "architecture").glob("*.md")}
    assert {"btree", "query", "script", "toolbox", "agent", "workflows", "gateway", "temporal-dev"} <= pages
