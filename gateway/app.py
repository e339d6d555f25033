"""The application: routes by noun, around them the frame of every request.

    client -> Measured -> RequestFrame -> (Cors) -> Authentication -> body limit -> router -> guard -> a route module
    a route module -> library, databases, Temporal

Nothing is kept in the process that a restart would lose: scripts, keys and rows are in the databases, runs and schedules in
Temporal. Any number of gateways may serve one data directory.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from gateway import (
    audit,
    diagnostics,
    documents,
    drafts,
    explaining,
    health,
    keys,
    login,
    payloads,
    problems,
    scripts,
    tools,
    vault,
)
from gateway.access import Authentication, Cors, RequestFrame, guarded
from gateway.access.origins import origin_of
from gateway.authoring import messages, sessions
from gateway.authoring import records as session_records
from gateway.data import backups, changes, databases, exports, history, imports, maintenance, records, rows
from gateway.mcp import catalog, door
from gateway.operations.measured import Measured
from gateway.operations.tracing import NO_TELEMETRY
from gateway.runs import approvals, batches, steps
from gateway.runs import routes as runs
from gateway.schedules import routes as schedules
from gateway.services import Services

MODULES = (
    health,
    diagnostics,
    documents,
    scripts,
    drafts,
    explaining,
    steps,
    batches,
    runs,  # behind those whose addresses go on from a run's
    approvals,
    sessions,
    messages,
    session_records,
    schedules,
    databases,
    maintenance,
    backups,
    history,
    exports,
    rows,
    records,
    imports,
    changes,
    tools,
    keys,
    login,
    vault,
    payloads,
    audit,
    catalog,
    door,
)


def create_app(services: Services, telemetry: TelemetryConfig = NO_TELEMETRY) -> FastAPI:
    """The gateway over `services`. Raises UndeclaredRoute for a route that does not say which scope it takes."""
    app = FastAPI(
        title="SOP on Temporal",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_running,
        telemetry=telemetry,
    )
    app.state.services = services
    app.state.documents = documents.Documents(app)
    app.state.mcp = door.Door(app, services)
    problems.install(app)
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=services.max_body_bytes)
    app.add_middleware(
        Authentication,
        keys=services.keys,
        sessions=services.sessions,
        notes=services.notes,
        limits=services.limits,
        tokens=services.tokens,
    )
    if services.temporal_ui:
        app.add_middleware(Cors, origins=frozenset({origin_of(services.temporal_ui)}), paths=payloads.PATHS)
    if services.mcp_origins:
        app.add_middleware(Cors, origins=frozenset(services.mcp_origins), paths=door.PATHS)
    if services.origins:
        app.add_middleware(Cors, origins=services.origins)
    app.add_middleware(RequestFrame)
    app.add_middleware(Measured, metrics=services.metrics)
    app.router.routes.extend(guarded(documents.named(route for module in MODULES for route in module.router.routes)))
    return app


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    """What runs beside the requests."""
    async with app.state.mcp.running():
        yield
