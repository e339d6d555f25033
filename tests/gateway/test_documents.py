"""The API describes itself, and the docs are complete."""

import re
from pathlib import Path
from typing import Any

from typer.main import get_command

from gateway.access import PUBLIC
from gateway.cli import failures
from gateway.cli.application import app as command_line
from gateway.documents import ERRORS, PUBLIC_ERRORS
from gateway.problems import STATUS
from tests.gateway.conftest import Gateway

DOCS = Path(__file__).parents[2] / "docs"


async def test_the_document_is_whole(gateway: Gateway) -> None:
    document = (await gateway.http.get("/openapi.json", headers={"Authorization": ""})).json()
    assert document["openapi"].startswith("3.1")
    ids = []
    for path, operations in document["paths"].items():
        for operation in operations.values():
            ids.append(operation["operationId"])
            assert operation["summary"] and operation["description"] and operation["tags"], path
            assert operation["security"] == ([] if path in PUBLIC else [{"key": []}])
            statuses = PUBLIC_ERRORS if path in PUBLIC else ERRORS
            assert {status for status in operation["responses"] if status >= "400"} == set(statuses)
            for status in statuses:
                assert operation["responses"][status] == {"$ref": f"#/components/responses/E{status}"}
    for told in document["components"]["responses"].values():
        assert told["description"] and set(told["content"]) == {"application/problem+json"}
    assert len(ids) == len(set(ids)) >= 30
    assert "HTTPValidationError" not in str(document)
    assert dangling(document) == set()


async def test_names_of_operations_come_from_what_they_do_and_not_from_their_addresses(gateway: Gateway) -> None:
    document = (await gateway.http.get("/openapi.json")).json()
    ids = {told["operationId"]: path for path, told_of in document["paths"].items() for told in told_of.values()}
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", name) for name in ids), ids
    assert {
        "runs_start": "/v1/scripts/{name}/runs",
        "runs_call": "/v1/call/{name}",
        "diagnostics": "/v1/diagnostics",
    }.items() <= ids.items()


async def test_rows_as_json_are_described_as_an_array(gateway: Gateway) -> None:
    document = (await gateway.http.get("/openapi.json")).json()
    found = [told["responses"]["200"]["content"]["application/json"]["schema"]
             for path, operations in document["paths"].items() for told in operations.values()
             if path.endswith((":select", ":join", ":aggregate", "rows:export"))]  # fmt: skip
    assert [schema["type"] for schema in found] == ["array"] * 4


def test_every_status_of_a_code_is_documented() -> None:
    of_mcp = "421"  # which is not in the document
    assert {str(status) for status in STATUS.values()} - {"405", of_mcp} <= set(ERRORS)


def dangling(document: dict[str, Any]) -> set[str]:
    """References to schemas that are not there."""
    named = set(re.findall(r"#/components/(\w+)/(\w+)", str(document)))
    return {name for group, name in named if name not in document["components"][group]}


async def test_the_page_asks_nobody_else(gateway: Gateway) -> None:
    page = await gateway.http.get("/docs", headers={"Authorization": ""})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert not re.search(r"https?://|//[a-z]+\.|<link|<img|src=", page.text)
    assert "innerHTML" not in page.text


async def test_every_route_and_code_is_in_the_docs(gateway: Gateway) -> None:
    text = (DOCS / "api.md").read_text()
    document = (await gateway.http.get("/openapi.json")).json()
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"`{method.upper()} {path}`" in text, f"{method.upper()} {path}"
    told = set(re.findall(r"`(GET|POST|DELETE|PUT|PATCH) ([^`]+)`", text))
    known = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
    assert told - known == {
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        *((method, "/mcp") for method in ("GET", "POST", "DELETE")),
    }
    assert [code for code in STATUS if f"`{code}`" not in text] == []


def verbs(command: Any, path: tuple[str, ...] = ("sop",)) -> list[tuple[tuple[str, ...], Any]]:
    """Every verb of a command tree."""
    children = getattr(command, "commands", None)
    if children is None:
        return [(path, command)]
    return [found for name, child in children.items() for found in verbs(child, (*path, name))]


def test_every_verb_option_and_exit_code_is_in_the_docs() -> None:
    text = (DOCS / "cli.md").read_text()
    everywhere = text.partition("## Options of every command")[2].partition("\n##")[0]
    tree = verbs(get_command(command_line))
    assert len(tree) >= 20
    for path, command in tree:
        section = text.partition(f"### `{' '.join(path)}")[2].partition("\n##")[0]
        assert section, " ".join(path)
        for parameter in command.params:
            place = everywhere if str(parameter.name).startswith("sop_") else section
            for option in parameter.opts:
                if option.startswith("--") and option not in ("--help", "--output"):
                    assert f"`{option}" in place, f"{' '.join(path)} {option}"
    codes = [value for name, value in vars(failures).items() if name.isupper() and isinstance(value, int)]
    assert sorted(codes) == [0, 1, 2, 3, 4, 5, 6, 7, 130]
    assert [code for code in codes if not re.search(rf"^\| {code} \|", text, re.MULTILINE)] == []
