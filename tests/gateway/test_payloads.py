"""Runs whose payloads are encrypted: Temporal keeps nothing that can be read, and everything that reads it still works."""

import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporal_server import TemporalServer
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import DataConverter
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.payloads import PayloadCodec, PayloadUnreadable, create_data_converter
from gateway.access.origins import origin_of
from query import create_store
from tests.gateway.conftest import Gateway, authorization, eventually, gateway_over, problem_of
from toolbox.access import parse_scopes
from toolbox.vault import Keyring
from worker import PASSED_THROUGH
from workflows import ScriptWorkflow

CANARY = "c4nary-9d2e"
OLD, NEW = (f"{name}={base64.b64encode(name.encode() * 16).decode()}" for name in ("k1", "k2"))
UI = "http://ui.example"


async def connected(temporal: TemporalServer, keys: str | None) -> Client:
    return await Client.connect(temporal.address, data_converter=create_data_converter(keys))


@pytest_asyncio.fixture(loop_scope="session")
async def encrypted(temporal: TemporalServer, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway and a worker with a key."""
    async with gateway_over(await connected(temporal, OLD), tmp_path, temporal_ui=f"{UI}:80/") as gateway:
        yield gateway


def say(name: str, message: str) -> dict[str, Any]:
    return {"type": "say", "name": name, "message": message}


async def raw(gateway: Gateway, run_id: str) -> str:
    """All bytes of a run's history, and of what Temporal tells about it."""
    handle = gateway.services.client.get_workflow_handle(run_id)
    found = [event.SerializeToString() for event in (await handle.fetch_history()).events]
    found.append((await handle.describe()).raw_description.SerializeToString())
    return b"".join(found).decode("latin-1")


async def ended(gateway: Gateway, name: str, arguments: dict[str, Any], run_id: str) -> dict[str, Any]:
    answer = await gateway.http.post(
        f"/v1/call/{name}", json={"arguments": arguments}, headers={"Idempotency-Key": run_id}
    )
    last: dict[str, Any] = json.loads(answer.text.splitlines()[-1])
    return last


async def test_a_run_that_nobody_else_can_read(encrypted: Gateway) -> None:
    """Steps, a timer, an approval, a child, a row, a failure, a schedule: watched, told, run again and replayed."""
    http, services = encrypted.http, encrypted.services
    services.databases.ensure("shop").transact(lambda view: create_store(view, "notes", primary_key=["id"]))
    child = {"name": "child", "database": "shop", "parameters": ["text"], "steps": [
        {"type": "command", "name": "put", "command": "upsert", "args": {"store": "notes", "record": {"id": 1, "text": "{{ text }}"}}},
        {"type": "return", "name": "r", "value": "{{ text }}"}]}  # fmt: skip
    assert (await http.post("/v1/scripts", json=child)).status_code == 201
    await encrypted.save("main", [
        say("hello", f"hello {CANARY} {{{{ text }}}}"), {"type": "wait", "name": "pause", "duration": "10ms"},
        {"type": "wait", "name": "boss", "approval": {"by": ["bootstrap"], "prompt": f"may {CANARY}?"}},
        {"type": "script", "name": "c", "script_name": "child", "script_args": {"text": "{{ text }}"}, "output_variable": "got"},
        {"type": "command", "name": "e", "command": "echo", "args": {"text": "{{ got }}"}, "output_variable": "echoed"},
        {"type": "fail", "name": "f", "code": "no_stock", "message": "no {{ echoed }}"}], parameters=["text"])  # fmt: skip
    started = await http.post(
        "/v1/scripts/main/runs", json={"arguments": {"text": CANARY}}, headers={"Idempotency-Key": "enc-1"}
    )
    assert started.status_code == 202, started.text
    again = await http.post(
        "/v1/scripts/main/runs", json={"arguments": {"text": "other"}}, headers={"Idempotency-Key": "enc-1"}
    )
    problem_of(again, 422, "idempotency_mismatch")

    async def waits() -> Any:
        where = (await http.get("/v1/runs/enc-1")).json()["where"]
        return where and where["approvals"]

    (asked,) = await eventually(waits)
    assert CANARY in asked["prompt"]
    body = {"approved": True, "comment": f"fine {CANARY}"}
    assert (await http.post("/v1/runs/enc-1:decide", json=body)).status_code == 202
    records = [json.loads(line) for line in (await http.get("/v1/runs/enc-1/events")).text.splitlines()]
    assert (records[-1]["status"], records[-1]["error"]["message"]) == ("failed", f"no {CANARY}")
    assert any(record.get("result") == CANARY for record in records)
    shown = (await http.get("/v1/runs/enc-1")).json()
    assert (shown["state"], shown["error"]["code"]) == ("failed", "no_stock")
    rerun = await http.post("/v1/runs/enc-1:rerun", json={"from": "failed"}, headers={"Idempotency-Key": "enc-2"})
    assert rerun.status_code == 202, rerun.text
    told = [json.loads(line) for line in (await http.get("/v1/runs/enc-2/events")).text.splitlines()]
    assert told[-1]["error"]["message"] == f"no {CANARY}"
    schedule = {
        "id": "enc-3",
        "script": "child",
        "every": 86_400,
        "arguments": {"text": CANARY},
        "notify": {"to": f"{CANARY}@example.com"},
    }
    assert (await http.post("/v1/schedules", json=schedule)).status_code == 201
    kept = (await http.get("/v1/schedules/enc-3")).json()
    assert (kept["arguments"], kept["notify"]["to"]) == ({"text": CANARY}, f"{CANARY}@example.com")
    description = await services.client.get_schedule_handle("enc-3").describe()
    assert (await http.patch("/v1/schedules/enc-3", json={"every": 3600})).status_code == 200
    assert (await http.get("/v1/schedules/enc-3")).json()["arguments"] == {"text": CANARY}
    assert (await http.delete("/v1/schedules/enc-3")).status_code == 204
    runs = ["enc-1", "enc-2", *{record["run_id"] for record in records}]
    texts = [await raw(encrypted, run_id) for run_id in runs] + [str(description.raw_description)]
    for text in texts:
        assert CANARY not in text and base64.b64encode(CANARY.encode()).decode() not in text
        assert "encryption-key-id" in text
    history = await services.client.get_workflow_handle("enc-1").fetch_history()
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    replayer = Replayer(
        workflows=[ScriptWorkflow],
        workflow_runner=SandboxedWorkflowRunner(restrictions=restrictions),
        data_converter=services.client.data_converter,
    )
    await replayer.replay_workflow(history)


async def test_keys_are_changed_while_there_are_runs(temporal: TemporalServer, tmp_path: Path) -> None:
    """Without a key, with one, with a new one in front: what was begun before is read. With the new one alone, or with none, it is said
    why not."""
    queue = f"keys-{tmp_path.name}"
    for number, keys in enumerate((None, OLD, f"{NEW},{OLD}")):
        async with gateway_over(await connected(temporal, keys), tmp_path, queue=queue) as gateway:
            await gateway.save("one", [{"type": "return", "name": "r", "value": "{{ text }}"}], parameters=["text"])
            for earlier in range(number + 1):
                assert (await ended(gateway, "one", {"text": CANARY}, f"{queue}-{earlier}"))["result"] == CANARY
            seen = await raw(gateway, f"{queue}-{number}")
            with_old, with_new = (f"encryption-key-id\x12\x02{key}" in seen for key in ("k1", "k2"))
            assert (CANARY in seen, with_old, with_new) == (number == 0, number == 1, number == 2)
    for keys, told in ((NEW, "'k1', which is not there (there are: k2)"), (None, "SOP_PAYLOAD_KEYS is not set here")):
        async with gateway_over(await connected(temporal, keys), tmp_path, queue=queue) as other:
            problem = problem_of(
                await other.http.get(f"/v1/runs/{queue}-1/events?format=csv"), 503, "payload_unreadable"
            )
            assert told in problem["detail"] and "SOP_PAYLOAD_KEYS" in problem["hint"]
            streamed = await other.http.get(f"/v1/runs/{queue}-1/events")
            assert json.loads(streamed.text.splitlines()[-1])["error"]["code"] == "payload_unreadable"


# --- the endpoint ---


def payloads(*values: Any) -> dict[str, Any]:
    encoding = base64.b64encode(b"json/plain").decode()
    return {
        "payloads": [
            {"metadata": {"encoding": encoding}, "data": base64.b64encode(json.dumps(value).encode()).decode()}
            for value in values
        ]
    }


async def test_the_endpoint_encrypts_and_decrypts(encrypted: Gateway) -> None:
    given = payloads({"a": CANARY}, None)
    sealed = await encrypted.http.post("/codec/encode", json=given)
    assert sealed.status_code == 200
    assert CANARY not in base64.b64decode(sealed.json()["payloads"][0]["data"]).decode("latin-1")
    opened = await encrypted.http.post("/codec/decode", json=sealed.json())
    assert opened.json() == given
    assert (await encrypted.http.post("/codec/decode", json=given)).json() == given, "what is plain stays"
    assert (await encrypted.http.post("/codec/decode", json={"payloads": []})).json() == {"payloads": []}
    broken = sealed.json()
    broken["payloads"][0]["data"] = base64.b64encode(b"x" * 40).decode()
    problem_of(await encrypted.http.post("/codec/decode", json=broken), 422, "payload_unreadable")
    for wrong in ({}, {"payloads": [{"data": "%"}]}, {"payloads": [{"x": 1}]}, {"payloads": 1}):
        problem_of(await encrypted.http.post("/codec/decode", json=wrong), 422, "invalid_request")


async def test_who_may_ask_the_endpoint(encrypted: Gateway) -> None:
    def made(*scopes: str) -> dict[str, str]:
        return authorization(encrypted.services.keys.create("anna", parse_scopes(scopes)))

    for path, needed in (("/codec/decode", "runs:read"), ("/codec/encode", "runs:control")):
        assert (await encrypted.http.post(path, json=payloads(1), headers=made(needed))).status_code == 200
        problem_of(await encrypted.http.post(path, json=payloads(1), headers=made("data:*:read")), 403, "forbidden")
        problem_of(
            await encrypted.http.post(path, json=payloads(1), headers={"Authorization": "Bearer x"}),
            401,
            "not_authenticated",
        )


async def test_only_temporals_page_may_ask_from_a_browser(encrypted: Gateway) -> None:
    preflight = {
        "Origin": UI,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    answer = await encrypted.http.request("OPTIONS", "/codec/decode", headers={**preflight, "Authorization": ""})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, UI)
    assert "authorization" in answer.headers["access-control-allow-headers"]
    asked = await encrypted.http.post("/codec/decode", json=payloads(1), headers={"Origin": UI})
    assert (asked.headers["access-control-allow-origin"], asked.headers["vary"]) == (UI, "Origin")
    refused = await encrypted.http.post("/codec/decode", json=payloads(1), headers={"Origin": UI, "Authorization": ""})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, UI)
    for origin in ("http://evil.example", f"{UI}.evil.example", "null", f"{UI}:81", "https://ui.example"):
        answer = await encrypted.http.request(
            "OPTIONS", "/codec/decode", headers={**preflight, "Origin": origin, "Authorization": ""}
        )
        assert answer.status_code == 401 and "access-control-allow-origin" not in answer.headers
        answer = await encrypted.http.post("/codec/decode", json=payloads(1), headers={"Origin": origin})
        assert "access-control-allow-origin" not in answer.headers
    elsewhere = await encrypted.http.request("OPTIONS", "/v1/runs", headers={**preflight, "Authorization": ""})
    assert elsewhere.status_code == 401 and "access-control-allow-origin" not in elsewhere.headers


async def test_without_keys_there_is_nothing_to_ask(gateway: Gateway) -> None:
    problem_of(await gateway.http.post("/codec/decode", json=payloads(1)), 409, "no_payload_keys")


@pytest.mark.parametrize(
    ("page", "origin"),
    [
        ("http://ui.example", "http://ui.example"), ("https://ui.example:443/x?y", "https://ui.example"), ("http://UI.example:8233/", "http://ui.example:8233"),
        ("http://[::1]:8233", "http://[::1]:8233"), ("https://ui.example:80", "https://ui.example:80"),
    ],
)  # fmt: skip
def test_origins(page: str, origin: str) -> None:
    assert origin_of(page) == origin


# --- the codec alone ---


def codecs() -> Iterator[DataConverter]:
    yield create_data_converter(OLD)
    yield create_data_converter(f"{OLD},{NEW}")


async def test_every_flipped_byte_is_noticed() -> None:
    codec = PayloadCodec(Keyring.parse(OLD, "X"))
    (sealed,) = await codec.encode([Payload(metadata={"encoding": b"json/plain"}, data=b'"x"')])
    for place in range(len(sealed.data)):
        data = bytearray(sealed.data)
        data[place] ^= 1
        with pytest.raises(PayloadUnreadable):
            await codec.decode([Payload(metadata=sealed.metadata, data=bytes(data))])
    for converter in codecs():
        assert await converter.decode([sealed]) == ["x"]
    with pytest.raises(ValueError, match="SOP_PAYLOAD_KEYS is id="):
        create_data_converter("nothing")


def test_what_reads_json_is_made_once_for_all_runs() -> None:
    """A workflow asks for a new payload converter for each run; validators of types take milliseconds to make."""
    converter = create_data_converter(None)
    one, other = (converter.payload_converter_class() for _ in range(2))
    assert isinstance(one, PydanticPayloadConverter) and isinstance(other, PydanticPayloadConverter)
    assert one is not other
    assert one.converters[b"json/plain"] is other.converters[b"json/plain"]
