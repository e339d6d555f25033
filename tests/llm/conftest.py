"""The model that is asked: the endpoint of the settings, otherwise a small one, started here. What it could do is told at the end."""

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from settings import Settings

KEY = "local"
NAME = "smollm2"
_SAID: list[str] = []


@dataclass
class Endpoint:
    """Arguments of OpenAIModel. `small`: the model is the small one, whose answers are mostly wrong."""

    options: dict[str, Any]
    small: bool


@pytest.fixture(scope="session")
def llm() -> Iterator[Endpoint]:
    configured = Settings().openai()
    if configured is not None:
        _SAID.append(f"the model is {configured['model']}")
        yield Endpoint(configured, small=False)
        return
    server = subprocess.Popen(
        [os.environ["LLM_PYTHON"], str(Path(__file__).with_name("local_model.py")), KEY, NAME],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        assert address, "the model's server did not start"
        _SAID.append("the model is SmolLM2-135M-Instruct: it shows the wire; what it says is mostly wrong")
        yield Endpoint({"base_url": f"{address}/v1", "api_key": KEY, "model": NAME}, small=True)
        server.terminate()


@pytest.fixture
def report() -> Callable[[str], None]:
    """Tells something at the end, beside what passed and what did not."""
    return _SAID.append


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for line in _SAID:
        terminalreporter.write_line(line)
