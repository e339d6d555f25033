"""The application: routes by noun, around them the frame of every request.

    client -> Measured -> RequestFrame -> Authentication -> body limit -> router -> guard -> a route module -> library, databases, Temporal

Nothing is kept in the process that a restart would lose: scripts, keys and rows are in the databases, runs and schedules in
Temporal. Any number of gateways may serve one data directory.
"""

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from gateway import (
    audit,
    diagnostics,
    documents,
    health,
    keys,
    problems,
    scripts,
    tools,
)
from gateway.access import Authentication, RequestFrame, guarded
from gateway.data import backups, databases, exports, history, imports, maintenance, rows
from gateway.operations.measured import Measured
from gateway.operations.tracing import NO_TELEMETRY
from gateway.runs import approvals, batches
from gateway.runs import routes as runs
from gateway.schedules import routes as schedules
from gateway.services import Services

MODULES = (
    health,
    diagnostics,
    documents,
    scripts,
    runs,
    approvals,
    batches,
    schedules,
    databases,
    maintenance,
    backups,
    history,
    exports,
    rows,
    imports,
    tools,
    keys,
    audit,
)


def create_app(services: Services, telemetry: TelemetryConfig = NO_TELEMETRY) -> FastAPI:
    """The gateway over `services`. Raises UndeclaredRoute for a route that does not say which scope it takes."""
    app = FastAPI(
        title="SOP on Temporal", version="1", docs_url=None, redoc_url=None, openapi_url=None, telemetry=telemetry
    )
    app.state.services = services
    problems.install(app)
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=services.max_body_bytes)
    app.add_middleware(Authentication, keys=services.keys, notes=services.notes)
    app.add_middleware(RequestFrame)
    app.add_middleware(Measured, metrics=services.metrics)
    app.router.routes.extend(guarded(route for module in MODULES for route in module.router.routes))
    return app
