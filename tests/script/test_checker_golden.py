"""The checker, one golden file for each kind of mistake: the script, `---`, its problems."""

import os
from pathlib import Path

import pytest

from script.checker.checker import check_script
from script.environment import ScriptSignature, StaticEnvironment, ToolSignature
from script.source.ast import Parameter
from script.source.loading import load_script

FOLDER = Path(__file__).parent / "golden" / "check"

_STRING = {"type": "string"}
ENVIRONMENT = StaticEnvironment(
    known_tools={
        "get": ToolSignature(
            {"type": "object", "properties": {"store": _STRING, "key": {}}, "required": ["store", "key"]}, "read"
        ),
        "select": ToolSignature(
            {"type": "object", "properties": {"store": _STRING, "filter": {"type": "object"}}, "required": ["store"]},
            "read",
        ),
        "send_email": ToolSignature(
            {"type": "object", "properties": {"to": _STRING, "subject": _STRING}, "required": ["to"]}, "external"
        ),
        "manage_transaction": ToolSignature(
            {
                "type": "object",
                "properties": {"action": {"enum": ["begin", "commit", "rollback"]}},
                "required": ["action"],
            },
            "write",
        ),
        "save_step": ToolSignature({"type": "object", "properties": {}}, "session"),
        "email_service": ToolSignature({"type": "object", "properties": {}, "additionalProperties": True}, "external"),
    },
    known_scripts={
        "check_churn_risk": ScriptSignature(
            (Parameter(name="customer_id"), Parameter(name="as_of", default="x")), "customers"
        ),
        "typed": ScriptSignature(
            (Parameter(name="n", type="integer"), Parameter(name="day", type="date", default=None))
        ),
    },
    known_databases=frozenset({"customers", "orders_db"}),
    known_stores={"customers": frozenset({"customers", "orders"})},
    known_model=False,
)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_golden_checker(path: Path) -> None:
    source = path.read_text(encoding="utf-8").split("\n---\n")[0]
    found = check_script(load_script(source).script, ENVIRONMENT)
    lines = [f"{p.severity} {p.code} {p.pointer}: {p.message}{f' ({p.hint})' if p.hint else ''}" for p in found]
    text = source + "\n---\n" + "".join(f"{line}\n" for line in lines)
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    else:
        assert text == path.read_text(encoding="utf-8")


def test_there_are_golden_files() -> None:
    assert len(list(FOLDER.glob("*.txt"))) >= 10
