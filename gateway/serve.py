"""The gateway as a process: `python -m gateway.serve`.

Settings -> databases, script library, Temporal client -> the application under uvicorn. It listens on loopback; anything
else has to be allowed explicitly, because keys would travel the network without encryption: put a TLS proxy in front.

It prints "gateway ready on <url> (process <pid>)" when it listens. On SIGTERM or SIGINT it takes no new connections, ends open streams with
a record that says so (their runs go on), lets other requests finish, and goes.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence

import uvicorn
from temporalio.client import Client

from activities.payloads import create_data_converter
from gateway.access import Tokens, create_limits
from gateway.access.providers import fetching
from gateway.access.tokens import TokenSettings, token_scopes
from gateway.app import create_app
from gateway.operations import logs
from gateway.operations.addresses import NotLoopback, check_host, metrics_address
from gateway.operations.exposed import add_figures, exposed
from gateway.operations.runtime import create_runtime
from gateway.operations.tracing import NO_TELEMETRY, start_tracing, trace_id
from gateway.services import create_services
from settings import Settings, connect_options, traces_wanted
from toolbox import builtin_registry

__all__ = ["NotLoopback", "Server", "check_host", "main", "serve"]
_log = logging.getLogger("gateway")


class Server(uvicorn.Server):
    """uvicorn, telling when it listens, and leaving signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(f"gateway ready on {self.url} (process {os.getpid()})", flush=True)  # noqa: T201

    @property
    def url(self) -> str:
        """Where it listens; with port 0, where that turned out to be."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(settings: Settings) -> None:
    """Serve until a signal comes. Raises NotLoopback, ValueError; RuntimeError when Temporal cannot be reached."""
    check_host(settings.host, settings.allow_remote)
    figures = settings.gateway_metrics and metrics_address(
        settings.gateway_metrics, "SOP_GATEWAY_METRICS", allow_remote=settings.allow_remote
    )
    options = connect_options(settings)
    secrets = (*settings.secrets(), options.get("api_key") or "")
    tracing = start_tracing("sop-gateway") if traces_wanted() else None
    logs.set_up(settings.log_format, settings.log_level, secrets=secrets, trace_id=trace_id if tracing else None)
    client = await Client.connect(
        **options,
        data_converter=create_data_converter(settings.keys("payload_keys")),
        runtime=create_runtime(),
        interceptors=tracing.interceptors if tracing else [],
    )
    where = {"address": options["target_host"], "namespace": options["namespace"]}
    _log.info("connected with Temporal", extra=where)
    services = create_services(
        client,
        settings.data_dir,
        builtin_registry(),
        task_queue=settings.task_queue,
        temporal_ui=settings.temporal_ui,
        retention_seconds=settings.retention_seconds,
        history_bytes=settings.history_bytes,
        has_model=settings.openai() is not None,
        audit_days=settings.audit_days,
        min_free_bytes=settings.min_free_bytes,
        sweep_seconds=settings.sweep_seconds,
        secrets_keys=settings.keys("secrets_keys"),
        mcp_hosts=settings.names(settings.mcp_hosts),
        mcp_origins=settings.names(settings.mcp_origins),
        limits=create_limits(
            per_second=settings.rate_limit,
            burst=settings.rate_burst,
            failures_per_minute=settings.auth_failures_per_minute,
        ),
        tokens=create_tokens(settings),
        origins=settings.origins(),
    )
    add_figures(services)
    config = uvicorn.Config(
        create_app(services, tracing.telemetry if tracing else NO_TELEMETRY),
        host=settings.host,
        port=settings.port,
        log_level=settings.log_level,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=settings.drain_seconds,
        server_header=False,
    )
    server = Server(config)

    def stop() -> None:
        services.stopping.set()
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    gc.collect()
    gc.freeze()  # what was made so far stays: no request waits for a look at all of it
    try:
        with exposed(services, figures or None):
            await server.serve()
    finally:
        services.close()
        if tracing:
            await asyncio.to_thread(tracing.close)


def create_tokens(settings: Settings) -> Tokens | None:
    """What checks the tokens of the identity provider, if one is configured. Raises ValueError."""
    told = settings.oidc()
    if told is None:
        return None
    fetch = fetching(told["issuer"], told.pop("jwks_url"), settings.allowed_hosts())
    return Tokens(TokenSettings(**{**told, "scopes": token_scopes(told["scopes"])}), fetch)


def main(arguments: Sequence[str] = ()) -> None:
    """Run the gateway; ends the process without the interpreter's finalisation, which the SDK's threads do not always survive."""
    try:
        asyncio.run(serve(Settings()))
        code = 0
    except (ValueError, RuntimeError) as error:
        logging.getLogger("gateway").debug("start failed", exc_info=True)
        print(f"the gateway cannot start: {error}", file=sys.stderr)  # noqa: T201
        code = 2 if isinstance(error, ValueError) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
