"""A request, the run that it starts and its steps are one trace, as a collector gets it over OTLP; and nothing of people's data is in it."""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from temporal_server import TemporalServer
from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.payloads import create_data_converter
from gateway.app import create_app
from gateway.operations import logs
from gateway.operations.tracing import KEPT, Tracing, start_tracing, trace_id
from settings import traces_wanted
from tests.gateway.conftest import Gateway, authorization
from tests.workflows.test_versions import FILES, recorded
from worker import PASSED_THROUGH
from workflows import ScriptWorkflow

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CANARY = "canary-5f2a"
SCRIPT: dict[str, Any] = {
    "name": "traced",
    "parameters": ["secret"],
    "steps": [
        {"type": "loop", "name": "each", "list": "[1, 2]", "iterator": "n", "steps": [
            {"type": "command", "name": "shout", "command": "echo", "args": {"text": "{{ secret }}"}, "output_variable": "said"}]},
        {"type": "command", "name": "broken", "command": "http_request", "args": {"url": "http://127.0.0.1/{{ secret }}"}},
    ],
}  # fmt: skip


class Collector:
    """Receives spans over OTLP, as protobuf."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        bodies = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def resources(self) -> list[Any]:
        return [found for body in self.bodies for found in ExportTraceServiceRequest.FromString(body).resource_spans]

    def spans(self) -> list[Any]:
        return [span for found in self.resources() for scope in found.scope_spans for span in scope.spans]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    found = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    yield found
    found.close()


@pytest.fixture
def tracing(collector: Collector) -> Iterator[Tracing]:
    found = start_tracing("sop-gateway")
    yield found
    found.close()


@pytest_asyncio.fixture(loop_scope="session")
async def client(temporal: TemporalServer, tracing: Tracing) -> AsyncIterator[Client]:
    """In place of the one that all tests share: with the interceptors, which a worker made with it has too."""
    yield await Client.connect(
        temporal.address, data_converter=create_data_converter(None), interceptors=tracing.interceptors
    )


@pytest.fixture
def log() -> Iterator[StringIO]:
    """What the gateway logs, as JSON."""
    written = StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logs.formatter("json", logs.Redactor(), trace_id))
    logger = logging.getLogger("gateway.access")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield written
    logger.removeHandler(handler)
    logger.setLevel(before)


def attributes(span: Any) -> dict[str, str]:
    return {found.key: found.value.string_value for found in span.attributes}


async def test_one_trace_from_the_request_to_the_steps(
    gateway: Gateway, tracing: Tracing, collector: Collector, client: Client, log: StringIO
) -> None:
    await gateway.save(**SCRIPT)
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "baggage": f"note={CANARY}", "Idempotency-Key": "traced-1"}
    headers |= {"X-Request-ID": "req-1", **authorization(gateway.key)}
    app = create_app(gateway.services, tracing.telemetry)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://gateway") as http:
        answer = await http.post("/v1/call/traced", json={"arguments": {"secret": CANARY}}, headers=headers)
        assert json.loads(answer.text.splitlines()[-1])["status"] == "failed", answer.text
        for path, status in (("/livez", 200), (f"/v1/runs?script={CANARY}", 200), (f"/v1/runs/{CANARY}", 404)):
            assert (await http.get(path, headers=authorization(gateway.key))).status_code == status
    tracing.close()

    spans = {span.span_id.hex(): span for span in collector.spans() if span.trace_id.hex() == TRACE}
    names = [span.name for span in spans.values()]
    assert names.count("each/shout") == 2 and {"broken", "RunWorkflow:ScriptWorkflow"} <= set(names)
    (request,) = (span for span in spans.values() if span.name == "POST /v1/call/{name}")
    assert request.parent_span_id.hex() == PARENT and attributes(request)["http.route"] == "/v1/call/{name}"
    for span in spans.values():
        while span is not request:  # KeyError: a span whose parent was not sent
            span = spans[span.parent_span_id.hex()]
    assert not any("livez" in span.name or span.name == "GET" for span in collector.spans())

    steps = {attributes(span)["sop.step"]: span for span in spans.values() if "sop.step" in attributes(span)}
    assert {"each/shout#0", "each/shout#1", "broken"} <= set(steps)
    told = attributes(steps["each/shout#1"])
    assert (told["sop.tool"], told["sop.run_id"], told["temporalWorkflowID"]) == ("echo", "traced-1", "traced-1")
    failed = steps["broken"]
    assert failed.status.code == 2 and failed.status.message == "" and attributes(failed)["error.type"]

    assert {found.key for span in collector.spans() for found in span.attributes} <= KEPT
    assert {found.key for span in collector.spans() for event in span.events for found in event.attributes} <= KEPT
    everything = b"".join(collector.bodies)
    assert CANARY.encode() not in everything and gateway.key.encode() not in everything
    of = {found.key: found.value.string_value for found in collector.resources()[0].resource.attributes}
    assert (of["service.name"], of["deployment.environment"]) == ("sop-gateway", "test")

    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    (line,) = (line for line in lines if line.get("trace_id") == TRACE and "POST" in line["message"])
    assert (line["request_id"], line["run_id"]) == ("req-1", "traced-1")

    history = await client.get_workflow_handle("traced-1").fetch_history()
    assert f"note={CANARY}" not in history.to_json(), "baggage is not passed on"
    await replay(history, [])


async def replay(history: WorkflowHistory, interceptors: list[Any]) -> None:
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    replayer = Replayer(
        workflows=[ScriptWorkflow],
        data_converter=create_data_converter(None),
        workflow_runner=SandboxedWorkflowRunner(restrictions=restrictions),
        interceptors=interceptors,
    )
    await replayer.replay_workflow(history)


async def test_recorded_runs_replay_with_traces(tracing: Tracing, collector: Collector) -> None:
    for path in FILES:
        for history in recorded(path)[1]:
            await replay(history, tracing.interceptors)
    tracing.close()
    assert collector.spans() == [], "what is replayed has been told before"


WANTED = {
    "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318": True,
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c:4318/v1/traces": True,
    "OTEL_TRACES_EXPORTER=otlp": True,
    "": False,
    "OTEL_SERVICE_NAME=x": False,
    "OTEL_TRACES_EXPORTER=none OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318": False,
    "OTEL_SDK_DISABLED=true OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318": False,
}


@pytest.mark.parametrize("given", WANTED)
def test_what_asks_for_traces(given: str) -> None:
    assert traces_wanted(dict(part.split("=", 1) for part in given.split())) is WANTED[given]


@pytest.mark.parametrize("given", ["OTEL_TRACES_EXPORTER=zipkin", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"])
def test_what_is_not_there_is_said(given: str) -> None:
    name, _, value = given.partition("=")
    with pytest.raises(ValueError, match=name):
        traces_wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", name: value})


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ValueError, match=r"sop-temporal\[otel\]"):
        start_tracing("x")


def test_off_nothing_of_it_is_loaded() -> None:
    code = "import sys, gateway.serve, worker; print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', "
    code += "'opentelemetry.exporter', 'temporalio.contrib.opentelemetry'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
