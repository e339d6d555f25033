"""Every operation of the OpenAPI document, with requests that schemathesis makes of it, valid ones and others: the gateway never fails, and
every answer has a status, a content type, headers and a body as the document says.

A real gateway on a socket, a worker and Temporal. So that requests reach something, path parameters are mostly names of what there is;
nothing that is removed or ended here is what others need: removals get spare names only, runs that are watched have ended before.
"""

import asyncio
import uuid
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.gateway.conftest import Gateway, authorization, listening
from toolbox.access import parse_scopes

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
NARROW = ("data:shop:read", "scripts:read:greet", "scripts:run:greet", "runs:read")
EXAMPLES = {"admin": 6, "narrow": 3, "none": 1}
"""How many requests for each operation."""
SECONDS = 60
"""The patience of one request: none takes as long."""


@dataclass
class World:
    """A gateway's address and the keys that are tried."""

    url: str
    keys: dict[str, dict[str, str]]
    known: dict[str, list[str]]
    spare: dict[str, dict[str, list[str]]]


@pytest_asyncio.fixture(loop_scope="session")
async def world(gateway: Gateway) -> AsyncIterator[World]:
    """A database with a store and indexes, a script, a run that has ended, schedules."""
    http, spare_key = gateway.http, gateway.services.keys.create("spare", ())
    mine = uuid.uuid4().hex[:8]
    ended, nightly, spare = f"ended-{mine}", f"nightly-{mine}", f"spare-{mine}"
    await gateway.save("greet", [{"type": "return", "value": "hello {{ who }}"}], parameters=["who"])
    typed = {
        "parameters": [{"name": "n", "type": {"type": "integer", "minimum": 0}}],
        "output_schema": {"type": "integer"},
    }
    await gateway.save("double", [{"type": "return", "value": "{{ n + n }}"}], **typed)
    (await http.post("/v1/databases", json={"name": "shop"})).raise_for_status()
    rows = [{"id": str(number), "total": number, "city": "Ulm"} for number in range(30)]
    for store in ("orders", "changed"):
        declared = {"name": store, "primary_key": ["id"]}
        (await http.post("/v1/databases/shop/stores", json=declared)).raise_for_status()
        (await http.post(f"/v1/databases/shop/stores/{store}/rows:import", json=rows)).raise_for_status()
    for name, field in (("by_total", "total"), ("by_city", "city")):
        (
            await http.post("/v1/databases/shop/stores/orders/indexes", json={"fields": [field], "name": name})
        ).raise_for_status()
    for name in (nightly, spare):
        schedule = {"id": name, "script": "greet", "arguments": {"who": "you"}, "cron": "0 3 1 1 *", "paused": True}
        (await http.post("/v1/schedules", json=schedule)).raise_for_status()
    headers = {"Idempotency-Key": ended, "Prefer": "wait=20"}
    done = await http.post("/v1/scripts/greet/runs", json={"arguments": {"who": "you"}}, headers=headers)
    assert done.status_code == 200, done.text
    narrow = gateway.services.keys.create("narrow", parse_scopes(NARROW))
    known = {"name": ["greet"], "run_id": [ended], "schedule_id": [nightly], "database": ["shop"], "store": ["orders"], "index": ["by_total"],
             "key": ["1", '["1"]', "no", "{"], "key_id": [narrow.split("_")[1]]}  # fmt: skip
    changed = {"store": ["changed"]}
    in_bulk = {
        f"POST /v1/databases/{{database}}/stores/{{store}}:{verb}": changed for verb in ("update", "delete", "restore")
    }
    spares = {
        **in_bulk,
        "DELETE /v1/schedules/{schedule_id}": {"schedule_id": [spare]},
        "DELETE /v1/databases/{database}/stores/{store}/indexes/{index}": {"index": ["by_city"]},
        "DELETE /v1/keys/{key_id}": {"key_id": [spare_key.split("_")[1]]},
        "GET /v1/tools/{name}": {"name": ["select"]},
        "PUT /v1/databases/{database}/backup": {"database": ["spare"]},
    }
    drafts = [(await http.post("/v1/drafts?from=greet")).raise_for_status().json()["id"] for _ in range(2)]
    known["draft_id"], spares["DELETE /v1/drafts/{draft_id}"] = drafts[:1], {"draft_id": drafts[1:]}
    begun = [(await http.post("/v1/sessions", json={"title": "talk"})).json()["id"] for _ in range(3)]
    talked, spare_session, open_session = begun
    (await http.delete(f"/v1/sessions/{talked}")).raise_for_status()  # else a log that is followed would not end
    known |= {"session_id": [talked], "approval": ["a1"], "seq": ["1"]}
    for route in ("GET", "PATCH", "DELETE"):
        spares[f"{route} /v1/sessions/{{session_id}}"] = {"session_id": [spare_session]}
    for path in ("/messages", "/approvals/{approval}", ":stop"):
        spares[f"POST /v1/sessions/{{session_id}}{path}"] = {"session_id": [open_session]}
    known["version"] = known["revision"] = ["1"]
    keys = {"admin": authorization(gateway.key), "narrow": authorization(narrow), "none": {}}
    async with listening(gateway.services) as url:
        yield World(url, keys, known, spares)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("who", EXAMPLES)
async def test_every_answer_is_as_the_document_says(world: World, who: str) -> None:
    await asyncio.to_thread(hammer, world, who)


def hammer(world: World, who: str) -> None:
    """Ask every operation, each several times."""
    headers = world.keys[who]
    document = requests.get(f"{world.url}/openapi.json", headers=headers, timeout=SECONDS).json()
    schema = schemathesis.openapi.from_dict(document)
    schemathesis.serializer.alias("application/vnd.sqlite3", "application/octet-stream")
    found: dict[str, BaseException] = {}
    with requests.Session() as session:
        for result in schema.get_all_operations():
            operation = result.ok()
            try:
                ask(operation, world, session, headers, EXAMPLES[who])
            except (Exception, BaseExceptionGroup) as error:
                found[operation.label] = error
    told = "\n\n".join(f"{label}: {error}" for label, error in found.items())
    assert not found, told


def ask(operation: Any, world: World, session: requests.Session, headers: dict[str, str], examples: int) -> None:
    """Ask one operation, with requests that fit and others. Raises what is wrong with the answers."""
    known = {**world.known, **world.spare.get(operation.label, {})}
    names = {parameter.name for parameter in operation.path_parameters}
    changes = any(parameter.name == "If-Match" for parameter in operation.headers)
    modes = list(GenerationMode) if has_input(operation) else [GenerationMode.POSITIVE]
    cases = st.one_of([operation.as_strategy(mode) for mode in modes])

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def once(data: st.DataObject) -> None:
        case = data.draw(cases)
        for name in sorted(names & known.keys()):
            if data.draw(st.integers(0, 3)):
                case.path_parameters[name] = data.draw(st.sampled_from(known[name]))
        if changes and data.draw(st.integers(0, 3)):
            case.headers["If-Match"] = "*"
        answer = case.call(base_url=world.url, session=session, headers=headers, timeout=SECONDS)
        case.validate_response(answer, checks=CHECKS)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of how requests are made; those of the gateway are in other threads
        once()


def has_input(operation: Any) -> bool:
    """Whether there is anything in a request that may be wrong."""
    return any(
        len(part) > 0 for part in (operation.path_parameters, operation.query, operation.headers, operation.body)
    )
