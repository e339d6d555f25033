"""The layout: our packages import from anywhere, and nobody else claims their names."""

import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NAMES = [*CONFIG["tool"]["setuptools"]["packages"], *CONFIG["tool"]["setuptools"]["py-modules"]]


@pytest.mark.parametrize("name", NAMES)
def test_imports_from_a_foreign_directory(name: str, tmp_path: Path) -> None:
    code = f"import {name}, pathlib; print(pathlib.Path({name}.__file__).resolve())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(ROOT)


def test_no_other_distribution_claims_our_names() -> None:
    ours = {name.partition(".")[0] for name in NAMES}
    for distribution in distributions():
        if distribution.metadata["Name"] == CONFIG["project"]["name"]:
            continue
        tops = {
            str(file).split("/")[0].removesuffix(".py")
            for file in distribution.files or []
            if not str(file).startswith("..")
        }
        assert not ours & tops, f"{distribution.metadata['Name']} claims {ours & tops}"


def test_every_folder_with_code_is_in_the_package_list() -> None:
    folders = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for path in ROOT.glob("*/**/__init__.py")
        if ".venv" not in path.parts
    }
    assert {folder for folder in folders if not folder.startswith(("tests", "build"))} == set(
        CONFIG["tool"]["setuptools"]["packages"]
    )


def test_no_module_is_longer_than_four_hundred_lines() -> None:
    for name in NAMES:
        folder = ROOT / name.replace(".", "/")
        for path in folder.glob("*.py") if folder.is_dir() else [ROOT / f"{name}.py"]:
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path
