"""The Temporal server of this machine: starts, is found, survives a kill, stops in order."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import temporal_server
from temporal_server import SEARCH_ATTRIBUTES, AlreadyRunning, Ports, ServerError, TemporalServer, running_address
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from script.wire import SEARCH_ATTRIBUTES as WIRE_ATTRIBUTES


async def test_a_server_is_tuned_found_killed_and_started_again(tmp_path: Path) -> None:
    server = TemporalServer(tmp_path)
    server.start()
    try:
        assert running_address(tmp_path) == server.address
        with pytest.raises(AlreadyRunning) as raised:
            TemporalServer(tmp_path).start()
        assert raised.value.address == server.address
        client = await Client.connect(server.address)
        known = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace="default"))
        assert set(SEARCH_ATTRIBUTES) <= set(known.custom_attributes)
        space = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="default"))
        assert space.config.workflow_execution_retention_ttl.ToTimedelta().days == 30
        handle = await client.start_workflow("Nobody", id="waits", task_queue="none")
        server.kill()
        assert running_address(tmp_path) is None
        port = int(server.address.rpartition(":")[2])
        again = TemporalServer(tmp_path, Ports(port))
        again.start()
        try:
            assert (await handle.describe()).id == "waits"
        finally:
            again.stop()
    finally:
        server.stop()
    assert not (tmp_path / "temporal.json").exists()


def test_the_program_runs_in_the_foreground_and_stops_on_sigterm(tmp_path: Path) -> None:
    command = [sys.executable, temporal_server.__file__, "--data-dir", str(tmp_path), "--port", "0", "--ui-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("temporal ready on 127.0.0.1:")
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert second.returncode == 5
        assert line.split()[3].rstrip(",") in second.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert running_address(tmp_path) is None


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServerError, match="is taken"):
            TemporalServer(tmp_path, Ports(taken.getsockname()[1])).start()


def test_the_search_attributes_are_those_of_the_runs() -> None:
    assert SEARCH_ATTRIBUTES == WIRE_ATTRIBUTES
