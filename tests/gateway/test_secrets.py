"""Secrets over HTTP and in runs: who may set and use them, and that a value is nowhere but where it is needed."""

import base64
import io
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import Client

from query import create_store, select
from tests.gateway.conftest import Gateway, Sop, authorization, gateway_over, problem_of
from tests.gateway.test_audit import entries
from tests.gateway.test_logs import log
from tests.toolbox.conftest import site
from tests.toolbox.site import Site
from toolbox import HttpPolicy
from toolbox.access import parse_scopes
from toolbox.vault import Redaction

CANARY = 'c4nary-"51fe'
__all__ = ["log", "site"]


def made(gateway: Gateway, *scopes: str) -> dict[str, str]:
    return authorization(gateway.services.keys.create("anna", parse_scopes(scopes)))


def missing(problem: dict[str, Any]) -> set[str]:
    return {found["scope"] for found in problem["errors"]}


def request(url: str, **args: Any) -> dict[str, Any]:
    return {
        "type": "command",
        "name": "ask",
        "command": "http_request",
        "args": {"url": url, **args},
        "output_variable": "got",
    }


async def test_a_secret_is_set_listed_and_deleted(gateway: Gateway) -> None:
    http, path = gateway.http, "/v1/secrets/crm"
    answer = await http.put(path, json={"value": CANARY, "hosts": ["api.example.com", "*.example.org", "::1"]})
    assert (answer.status_code, answer.json()["hosts"]) == (201, ["api.example.com", "*.example.org", "::1"])
    assert answer.json()["updated_by"] == gateway.key.split("_")[1]
    again = await http.put(path, json={"value": CANARY})
    assert (again.status_code, again.json()["hosts"]) == (200, [])
    listed = await http.get("/v1/secrets")
    assert [one["name"] for one in listed.json()["data"]] == ["crm"]
    assert CANARY not in answer.text + again.text + listed.text
    problem_of(await http.get(path), 405, "method_not_allowed")
    assert (await http.delete(path)).status_code == 204
    problem_of(await http.delete(path), 404, "secret_not_found")
    assert (await http.post("/v1/secrets:rotate")).json() == {"rotated": 0}
    kept = await entries(gateway)
    found = [(entry["method"], entry["target"]) for entry in kept if "secrets" in entry["route"]]
    assert ("PUT", {"secret": "crm"}) in found and ("DELETE", {"secret": "crm"}) in found
    assert CANARY not in json.dumps(kept)


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"value": "c4nary!"}, "invalid_arguments", "/value"), ({"value": ["c4nary-canary"]}, "invalid_request", "/value"),
        ({"value": CANARY, "hosts": ["https://x"]}, "invalid_field", "/hosts/0"), ({"value": CANARY, "x": 1}, "invalid_request", "/x"),
        ({"value": CANARY, "hosts": ["X.example"]}, "invalid_field", "/hosts/0"), ({}, "invalid_request", "/value"),
    ],
)  # fmt: skip
async def test_what_is_refused_is_not_repeated(gateway: Gateway, body: Any, code: str, pointer: str) -> None:
    answer = await gateway.http.put("/v1/secrets/crm", json=body)
    assert problem_of(answer, 422, code)["errors"][0]["pointer"] == pointer
    assert "c4nary" not in answer.text
    problem_of(await gateway.http.put("/v1/secrets/No-Name", json={"value": CANARY}), 422, "invalid_arguments")


async def test_who_may_set_and_see_them(gateway: Gateway) -> None:
    for name in ("crm_a", "crm_b", "mail"):
        await gateway.http.put(f"/v1/secrets/{name}", json={"value": CANARY})
    writer, user = made(gateway, "secrets:write:crm_*"), made(gateway, "secrets:use:mail")
    for given, names in ((writer, ["crm_a", "crm_b"]), (user, ["mail"])):
        answer = await gateway.http.get("/v1/secrets", headers=given)
        assert [one["name"] for one in answer.json()["data"]] == names
    assert (await gateway.http.put("/v1/secrets/crm_c", json={"value": CANARY}, headers=writer)).status_code == 201
    for given in (writer, user):
        for method in ("PUT", "DELETE"):
            answer = await gateway.http.request(method, "/v1/secrets/mail", json={"value": CANARY}, headers=given)
            assert missing(problem_of(answer, 403, "forbidden")) == {"secrets:write:mail"}
    problem_of(await gateway.http.get("/v1/secrets", headers=made(gateway, "runs:read")), 403, "forbidden")
    problem_of(await gateway.http.post("/v1/secrets:rotate", headers=writer), 403, "forbidden")


async def test_a_script_uses_what_the_key_may_use(gateway: Gateway) -> None:
    await gateway.http.put("/v1/secrets/crm", json={"value": CANARY})
    steps = [
        {
            "type": "if",
            "name": "i",
            "condition": "true",
            "then": [request("https://x.example", headers={"A": "b secret://crm"})],
        }
    ]
    author = ("scripts:write", "scripts:run", "tools:http_request")
    body = {"name": "uses", "steps": steps}
    answer = await gateway.http.post("/v1/scripts", json=body, headers=made(gateway, *author))
    assert missing(problem_of(answer, 403, "forbidden")) == {"secrets:use:crm"}
    able = made(gateway, *author, "secrets:use:c*")
    assert (await gateway.http.post("/v1/scripts", json=body, headers=able)).status_code == 201
    await gateway.save("calls", [{"type": "script", "name": "c", "script_name": "uses"}])
    for name in ("uses", "calls"):
        answer = await gateway.http.post(f"/v1/call/{name}", json={"dry_run": True}, headers=made(gateway, *author))
        assert missing(problem_of(answer, 403, "forbidden")) == {"secrets:use:crm"}
    granted = made(gateway, "scripts:call:uses")
    assert (await gateway.http.post("/v1/call/uses", json={"dry_run": True}, headers=granted)).status_code == 200
    schedule = {"script": "calls", "every": 3600, "notify": {"url": "https://x.example", "secret": "secret://hook"}}
    scopes = ("schedules:write", "scripts:call:calls", "tools:notify")
    answer = await gateway.http.post("/v1/schedules", json=schedule, headers=made(gateway, *scopes))
    assert missing(problem_of(answer, 403, "forbidden")) == {"secrets:use:hook"}
    answer = await gateway.http.post("/v1/schedules", json=schedule, headers=made(gateway, *scopes, "secrets:use:hook"))
    assert answer.status_code == 201, answer.text
    assert (await gateway.http.delete(answer.headers["location"])).status_code == 204


async def test_the_command(gateway: Gateway, sop: Sop, monkeypatch: pytest.MonkeyPatch) -> None:
    def stdin(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    stdin(CANARY + "\n")
    done = await sop("secret", "set", "crm", "--host", "api.example.com")
    assert (done.code, done.out) == (0, "")
    assert gateway.services.vault.reveal("crm") == (CANARY, ("api.example.com",))
    listed = await sop("secret", "list", "-o", "json")
    assert [(one["name"], one["hosts"]) for one in listed.json] == [("crm", ["api.example.com"])]
    stdin("")
    assert (await sop("secret", "set", "crm")).code == 2
    stdin("c4nary!")
    refused = await sop("secret", "set", "crm")
    assert refused.code == 2 and "8 characters" in refused.err
    assert (await sop("secret", "rotate")).code == 0
    assert (await sop("secret", "delete", "crm")).code == 0
    assert (await sop("secret", "delete", "crm")).code == 3
    assert CANARY not in done.out + done.err + listed.out + listed.err
    assert (await sop("secret", "set", "crm", CANARY)).code == 2, "a value is no argument"


@pytest_asyncio.fixture(loop_scope="session")
async def reaching(client: Client, tmp_path: Path, site: Site) -> AsyncIterator[Gateway]:
    """A gateway whose worker reaches the site."""
    async with gateway_over(client, tmp_path, http=HttpPolicy(frozenset({f"127.0.0.1:{site.port}"}))) as gateway:
        yield gateway


def everywhere(folder: Path) -> Iterator[tuple[str, str]]:
    """What the files of a data directory hold."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path), path.read_bytes().decode("latin-1")


async def test_a_secret_is_nowhere_but_where_it_is_needed(
    reaching: Gateway, site: Site, log: io.StringIO, tmp_path: Path
) -> None:
    """It is echoed in bodies and headers, comes back in errors, goes through a batch and its outbox, and is in no file, answer or log."""
    http = reaching.http
    await http.put("/v1/secrets/crm", json={"value": CANARY})
    reaching.services.databases.ensure("shop").transact(lambda view: create_store(view, "notes", primary_key=["id"]))
    asks = request(
        f"{site.url}/echo", method="POST", headers={"X-Token": "Bearer secret://crm"}, json={"password": "secret://crm"}
    )
    keep = {
        "type": "command",
        "name": "keep",
        "command": "upsert",
        "args": {"store": "notes", "record": {"id": 1, "got": "{{ got }}"}},
    }
    batch = {
        "type": "loop",
        "name": "each",
        "list": [1, 2],
        "iterator": "n",
        "batch_size": 1,
        "steps": [{**asks, "name": "again", "output_variable": "sent"}],
    }
    commit = {"type": "command", "name": "commit", "command": "manage_transaction", "args": {"action": "commit"}}
    injected = {"type": "command", "name": "stolen", "command": "http_request", "continue_on_error": True,
                "args": {"url": f"{site.url}/echo", "headers": {"X-Token": "{{ text }}"}}}  # fmt: skip
    fails = {
        **request(f"{site.url}/hang_up", method="POST", headers={"X-Token": "secret://crm", "X-Odd": "secret://crm"}),
        "name": "last",
    }
    await reaching.save("uses", [asks, keep, commit, batch, injected, fails], database="shop", parameters=["text"])
    answer = await http.post("/v1/call/uses", json={"arguments": {"text": "secret://crm"}})
    records = [json.loads(line) for line in answer.text.splitlines()]
    errors = [record["error"]["code"] for record in records if "error" in record]
    assert "secret_refused" in errors and records[-1]["error"]["code"] == "http_interrupted", records[-1]
    sent = [(headers.get("x-token"), body) for _, _, headers, body in site.seen]
    wanted = (f"Bearer {CANARY}", json.dumps({"password": CANARY}, separators=(",", ":")).encode())
    assert sent == [wanted, wanted, wanted, (CANARY, b"")]
    (note,) = select(reaching.services.databases.open("shop").snapshot(), "notes")
    assert note["got"]["json"]["headers"]["x-token"] == "Bearer [redacted]"
    run_id = answer.headers["run-id"]
    history = await reaching.services.client.get_workflow_handle(run_id).fetch_history()
    texts = {"history": history.to_json(), "events": answer.text, "log": log.getvalue()}
    texts |= {"raw": "".join(event.SerializeToString().decode("latin-1") for event in history.events)}
    texts |= {
        path: (await http.get(path)).text
        for path in (f"/v1/runs/{run_id}", "/v1/audit", "/v1/secrets", "/v1/diagnostics", "/v1/scripts/uses")
    }
    texts |= dict(everywhere(tmp_path))
    assert any(name.endswith("system.db") for name in texts)
    redaction = Redaction([CANARY])
    assert [name for name, text in texts.items() if redaction.has(text)] == []
    payloads = [base64.b64decode(data) for data in _data_of(json.loads(texts["history"]))]
    assert any(b"secret://crm" in payload for payload in payloads)
    assert not any(redaction.has(payload.decode("latin-1")) for payload in payloads)


def _data_of(value: Any) -> Iterator[str]:
    """The data of all payloads in a history."""
    if isinstance(value, dict):
        if isinstance(value.get("data"), str):
            yield value["data"]
        for part in value.values():
            yield from _data_of(part)
    elif isinstance(value, list):
        for part in value:
            yield from _data_of(part)


async def test_a_gateway_with_other_keys_says_so(client: Client, tmp_path: Path) -> None:
    async with gateway_over(client, tmp_path) as gateway:
        await gateway.http.put("/v1/secrets/crm", json={"value": CANARY})
    (tmp_path / "secrets-key").unlink()
    async with gateway_over(client, tmp_path) as gateway:
        assert [one["name"] for one in (await gateway.http.get("/v1/secrets")).json()["data"]] == ["crm"]
        problem = problem_of(await gateway.http.post("/v1/secrets:rotate"), 503, "secret_unreadable")
        assert "which is not there" in problem["detail"]
        await gateway.http.put("/v1/secrets/crm", json={"value": CANARY})
        assert (await gateway.http.post("/v1/secrets:rotate")).status_code == 200


async def test_a_variable_brings_no_secret_in(gateway: Gateway) -> None:
    """The step names the secret in a header; a text with the same name, or a part of one, goes into the body by a variable."""
    await gateway.http.put("/v1/secrets/crm", json={"value": CANARY})
    asked = request("https://127.0.0.1:9/x", headers={"A": "secret://crm"}, body="{{ text }}", json="{{ row }}")
    parameters = ["text", {"name": "row", "required": False, "default": None}]
    for args in (asked["args"], {**asked["args"], "body": "secret:{{ text }}"}):
        await gateway.save("asking", [{**asked, "args": args}], parameters=parameters)
        for text, row in (
            ("//crm", {"a": ["secret://crm"]}),
            ("secret://crm", None),
            ("secret://", 1),
            ("a secret://b", 1),
        ):
            answer = await gateway.http.post(
                "/v1/call/asking?format=json", json={"arguments": {"text": text, "row": row}}
            )
            assert answer.json()[-1]["error"]["code"] == "secret_refused", (args, text)
    sent = await gateway.http.post("/v1/call/asking?format=json", json={"arguments": {"text": "secret:/crm"}})
    assert sent.json()[-1]["error"]["code"] not in ("secret_refused", "internal_error")
