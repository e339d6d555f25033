"""A command starts with what it needs: what a light verb has imported, which is the same on every machine, unlike the time that it takes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from gateway.cli.connection import find_address
from gateway.cli.failures import CommandFailed
from gateway.client.transport import Transport
from settings import Settings

SERVERS = {"temporalio", "openai", "cel_expr_python", "fastapi", "starlette", "uvicorn", "apsw", "jsonschema", "mcp", "cryptography", "jwt"}  # fmt: skip
SERVERS |= {"opentelemetry", "pyarrow", "pydantic_settings", "structlog", "prometheus_client", "settings", "worker"}
SERVERS |= {"btree", "script", "query", "toolbox", "agent", "workflows", "activities"}
ASKING = {"httpx2"}
LOADED = """
import json, sys
from gateway.cli import run
code = run(sys.argv[1:])
print("LOADED" + json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def loaded(home: Path, *words: str, **more: str) -> tuple[int, set[str]]:
    """The exit code of a command line, and the packages that were imported for it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SOP_")}
    environment |= {"SOP_URL": "http://127.0.0.1:1", "SOP_API_KEY": "x", "XDG_CONFIG_HOME": str(home), **more}
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *words], env=environment, cwd=home, capture_output=True, text=True, check=True
    )
    code, names = json.loads(done.stdout.rpartition("LOADED")[2])
    return code, set(names)


@pytest.mark.parametrize("words", [("--help",), ("data", "export", "--help")])
def test_help_asks_nobody(words: tuple[str, ...], tmp_path: Path) -> None:
    code, names = loaded(tmp_path, *words)
    assert code == 0 and not names & (SERVERS | ASKING)


@pytest.mark.parametrize("words", [("run", "list"), ("data", "ls")])
def test_a_light_verb_is_a_client(words: tuple[str, ...], tmp_path: Path) -> None:
    code, names = loaded(tmp_path, *words)
    assert code == 7 and not names & SERVERS and names >= ASKING


def test_completion(tmp_path: Path) -> None:
    code, names = loaded(tmp_path, _SOP_COMPLETE="complete_bash", COMP_WORDS="sop run sho", COMP_CWORD="2")
    assert code == 0 and not names & SERVERS


def test_certificates_are_verified_wherever_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(httpx2, "Client", lambda **options: given.append((options["base_url"], options["verify"])))
    for url in (
        "http://127.0.0.1:1",
        "https://sop.example.com",
        "HTTPS://sop.example.com",
        "HTTP://x",
        "sop.example.com",
    ):
        Transport(url, "sop_x")
    assert [verify for _, verify in given] == [False, True, True, True, True]


def test_settings_are_read_where_one_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SOP_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("SOP_API_KEY", "x")
    monkeypatch.setenv("SOP_DATA_DIR", str(tmp_path))
    assert find_address().url == "http://127.0.0.1:8080" == f"http://{Settings().host}:{Settings().port}"
    monkeypatch.setenv("SOP_PORT", "1")
    assert find_address().url == "http://127.0.0.1:1"
    for name, value in (("SOP_PORT", "none"), ("SOP_DATA_DIRS", "")):
        monkeypatch.setenv(name, value)
        with pytest.raises(CommandFailed) as failed:
            find_address()
        assert failed.value.exit_code == 2, "a typo is no default"
        assert name.removeprefix("SOP_").lower() in failed.value.lines[0].lower()
        monkeypatch.delenv(name)
