"""Reaching Temporal as the SDK's own configuration says: options, profiles, API keys, and mutual TLS on a real socket."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from temporal_server import TemporalServer
from temporalio.client import Client
from temporalio.service import TLSConfig

from gateway.dev import _inherited
from settings import Settings, connect_options

CERTIFICATES = Path(__file__).parent / "certificates"
CA, CERTIFICATE, KEY = (CERTIFICATES / name for name in ("ca.pem", "client.pem", "client.key"))


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in os.environ:
        if name.startswith(("TEMPORAL_", "SOP_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    yield


def options(monkeypatch: pytest.MonkeyPatch, **variables: Any) -> dict[str, Any]:
    with monkeypatch.context() as changed:
        for name, value in variables.items():
            changed.setenv(name, str(value))
        return connect_options(Settings())


def test_ours_is_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert options(monkeypatch) == {"target_host": "127.0.0.1:7233", "namespace": "default"}
    ours = {"SOP_TEMPORAL_ADDRESS": "t.internal:7233", "SOP_TEMPORAL_NAMESPACE": "shop"}
    assert options(monkeypatch, **ours) == {"target_host": "t.internal:7233", "namespace": "shop"}
    theirs = {"TEMPORAL_ADDRESS": "other:7233", "TEMPORAL_NAMESPACE": "prod"}
    assert options(monkeypatch, **ours, **theirs) == {"target_host": "other:7233", "namespace": "prod"}


def test_an_api_key_means_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = {"TEMPORAL_ADDRESS": "eu.api.temporal.io:7233", "TEMPORAL_NAMESPACE": "shop.a1b2c", "TEMPORAL_API_KEY": "k"}
    found = options(monkeypatch, **cloud)
    assert (found["target_host"], found["namespace"], found["api_key"]) == tuple(cloud.values())
    assert found["tls"]
    named = options(monkeypatch, **cloud, TEMPORAL_TLS_SERVER_NAME="other.name")
    assert isinstance(named["tls"], TLSConfig) and named["tls"].domain == "other.name"
    with pytest.raises(ValueError, match="would be sent without TLS"):
        options(monkeypatch, **cloud, TEMPORAL_TLS="false")
    for local in ("127.0.0.1:7233", "localhost:7233", "[::1]:7233"):
        assert (
            options(monkeypatch, TEMPORAL_ADDRESS=local, TEMPORAL_API_KEY="k", TEMPORAL_TLS="false")["api_key"] == "k"
        )


def test_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(options(monkeypatch, TEMPORAL_TLS="true")["tls"], TLSConfig)
    by_path = options(
        monkeypatch,
        TEMPORAL_TLS_SERVER_CA_CERT_PATH=CA,
        TEMPORAL_TLS_CLIENT_CERT_PATH=CERTIFICATE,
        TEMPORAL_TLS_CLIENT_KEY_PATH=KEY,
    )["tls"]
    assert by_path.server_root_ca_cert == CA.read_bytes()
    assert (by_path.client_cert, by_path.client_private_key) == (CERTIFICATE.read_bytes(), KEY.read_bytes())
    by_value = options(
        monkeypatch,
        TEMPORAL_TLS_CLIENT_CERT_DATA=CERTIFICATE.read_text(),
        TEMPORAL_TLS_CLIENT_KEY_DATA=KEY.read_text(),
    )["tls"]
    assert (by_value.client_cert, by_value.client_private_key) == (CERTIFICATE.read_bytes(), KEY.read_bytes())
    with pytest.raises(ValueError, match=r"cannot be read: .*gone\.pem"):
        options(monkeypatch, TEMPORAL_TLS_CLIENT_CERT_PATH="/gone.pem")


PROFILES = """
[profile.default]
address = "default:7233"
[profile.cloud]
address = "cloud:7233"
namespace = "shop.a1b2c"
api_key = "from-the-file"
[profile.cloud.grpc_meta]
some-header = "x"
[profile.cluster]
address = "cluster:7233"
[profile.cluster.tls]
server_name = "cluster.internal"
"""


def test_profiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "temporal.toml"
    file.write_text(PROFILES)
    given = {"TEMPORAL_CONFIG_FILE": file}
    assert options(monkeypatch, **given)["target_host"] == "default:7233"
    cloud = options(monkeypatch, **given, TEMPORAL_PROFILE="cloud")
    assert (cloud["target_host"], cloud["namespace"], cloud["api_key"]) == ("cloud:7233", "shop.a1b2c", "from-the-file")
    assert cloud["tls"] and cloud["rpc_metadata"] == {"some-header": "x"}
    assert options(monkeypatch, **given, TEMPORAL_PROFILE="cloud", TEMPORAL_API_KEY="newer")["api_key"] == "newer"
    assert options(monkeypatch, **given, TEMPORAL_PROFILE="cluster")["tls"].domain == "cluster.internal"
    with pytest.raises(ValueError, match="cannot be read"):
        options(monkeypatch, **given, TEMPORAL_PROFILE="nowhere")
    file.write_text("[profile.default\n")
    with pytest.raises(ValueError, match="cannot be read"):
        options(monkeypatch, **given)


def test_the_development_system_reaches_its_own_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever this machine's tools are set to reach."""
    file = tmp_path / "temporal.toml"
    file.write_text(PROFILES)
    for name, value in (
        ("CONFIG_FILE", file),
        ("PROFILE", "cloud"),
        ("API_KEY", "k"),
        ("TLS", "true"),
        ("NAMESPACE", "p"),
    ):
        monkeypatch.setenv(f"TEMPORAL_{name}", str(value))
    child = _inherited()
    for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
        monkeypatch.delenv(name)
    own = {name: value for name, value in child.items() if name.startswith("TEMPORAL_")}
    found = options(monkeypatch, **own, TEMPORAL_ADDRESS="127.0.0.1:1")
    assert found == {"target_host": "127.0.0.1:1", "namespace": "default"}


@asynccontextmanager
async def behind_tls(address: str) -> AsyncIterator[int]:
    """A port on which the server answers to clients with a certificate of our authority only."""
    host, _, port = address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
    context.load_verify_locations(CA)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(1 << 16):
                writer.write(piece)
                await writer.drain()
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_mutual_tls(temporal: TemporalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with behind_tls(temporal.address) as port:
        given = {
            "TEMPORAL_ADDRESS": f"127.0.0.1:{port}",
            "TEMPORAL_TLS_SERVER_CA_CERT_PATH": CA,
            "TEMPORAL_TLS_SERVER_NAME": "server.test",
            "TEMPORAL_API_KEY": "any",
        }
        certificate = {"TEMPORAL_TLS_CLIENT_CERT_PATH": CERTIFICATE, "TEMPORAL_TLS_CLIENT_KEY_PATH": KEY}
        client = await Client.connect(**options(monkeypatch, **given, **certificate))
        assert await client.service_client.check_health()
        for wrong in (
            given,
            {**given, **certificate, "TEMPORAL_TLS_SERVER_NAME": "other.test"},
            {**given, **certificate, "TEMPORAL_TLS_SERVER_CA_CERT_PATH": CERTIFICATE},
        ):
            with pytest.raises(RuntimeError):
                await asyncio.wait_for(Client.connect(**options(monkeypatch, **wrong)), 60)
