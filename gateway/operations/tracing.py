"""Traces: a request, the run that it starts and the steps of that run under one trace id, sent to an OpenTelemetry collector.

    POST /v1/call/{name}           the request, below the client's `traceparent`             FastAPI's own hooks
      StartWorkflow:ScriptWorkflow                                                           Temporal's TracingInterceptor
        RunWorkflow:ScriptWorkflow  a moment: a run may live for days                        likewise
          StartActivity:send_email  when the run asked for it                                likewise
            each/mail               the step's attempt, named by its path, with its key      likewise, named here

Of Temporal's two interceptors this is the one whose workflow spans are moments. The other one, which is experimental, keeps a span open
until its workflow has ended, so a run of a week would be seen after a week, and needs ids drawn from the workflow's own randomness. The
context travels in the headers of workflows and activities, which replay does not compare: recorded histories replay with it and without.

Off unless the standard variables ask for it (`settings.traces_wanted`), and then the packages of the extra `otel` have to be there.
Everything else is set by the standard variables too, which OpenTelemetry reads itself: the endpoint, headers, sampling, batches, the
service's name.

What leaves the process is on a list (`KEPT`): no paths, queries, messages or tracebacks, which have people's data in them; baggage is not
passed on.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from temporalio import activity, client
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.util.types import AttributeValue
    from starlette.types import Scope

KEPT: Final = frozenset(
    {
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "url.scheme",
        "server.address",
        "server.port",
        "network.protocol.version",
        "error.type",
        "exception.type",
        "temporalWorkflowID",
        "temporalRunID",
        "temporalActivityID",
        "sop.run_id",
        "sop.step",
        "sop.tool",
        "sop.attempt",
    }
)
_PROBES: Final = frozenset({"/livez", "/readyz"})


class Tracing:
    """Traces of a process. `interceptors` are for its Temporal client; workers that are made with it have them too."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        from temporalio.contrib.opentelemetry import TracingInterceptor

        self._provider = provider
        tracing = TracingInterceptor(provider.get_tracer("sop"))
        tracing.text_map_propagator = TraceContextTextMapPropagator()
        self.interceptors = [tracing, StepNames()]

    @property
    def telemetry(self) -> "TelemetryConfig":
        """For FastAPI."""
        return {**NO_TELEMETRY, "tracing": True, "tracer_provider": self._provider, "exclude": _is_probe}

    def close(self) -> None:
        """Send what waits to be sent."""
        self._provider.shutdown()


NO_TELEMETRY: Final["TelemetryConfig"] = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
"""For FastAPI: nothing, whatever else is installed."""


def start_tracing(service: str) -> Tracing:
    """Traces as the standard variables say; `service` is its name unless they tell one. Raises ValueError without the extra `otel`."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ValueError(
            f"the environment asks for traces (OTEL_...), and {error.name or 'opentelemetry-sdk'} is not installed: "
            "pip install 'sop-temporal[otel]'"
        ) from error
    resource = Resource({SERVICE_NAME: service}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(reduced(OTLPSpanExporter())))
    return Tracing(provider)


def trace_id() -> str | None:
    """The id of the trace that this is done in, as traceparent has it; None outside of any."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


def _is_probe(scope: "Scope") -> bool:
    return scope.get("path") in _PROBES


class StepNames(client.Interceptor, Interceptor):
    """Behind Temporal's own: the spans of activities get the names of their steps, and the codes that they fail with."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Named(super().intercept_activity(next))


class _Named(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info, span = activity.info(), trace.get_current_span()
        span.update_name(info.activity_id.partition("#")[0].partition("!")[0])
        span.set_attribute("sop.attempt", info.attempt)
        span.set_attributes(
            {"sop.step": info.activity_id, "sop.tool": info.activity_type, "sop.run_id": info.workflow_id or ""}
        )
        try:
            return await super().execute_activity(input)
        except Exception as error:
            code = error.type if isinstance(error, ApplicationError) else None
            span.set_attribute("error.type", code or type(error).__name__)
            raise


def reduced(exporter: "SpanExporter") -> "SpanExporter":
    """The exporter, which gets of each span only what is on the list."""
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Status

    class Reduced(SpanExporter):
        """See the module."""

        def export(self, spans: "Sequence[ReadableSpan]") -> "SpanExportResult":
            return exporter.export(list(map(_reduced, spans)))

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return exporter.force_flush(timeout_millis)

    def _reduced(span: "ReadableSpan") -> "ReadableSpan":
        return ReadableSpan(
            span.name,
            span.context,
            span.parent,
            span.resource,
            _kept(span.attributes),
            [Event(event.name, _kept(event.attributes), event.timestamp) for event in span.events],
            span.links,
            span.kind,
            status=Status(span.status.status_code),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    return Reduced()


def _kept(attributes: "Mapping[str, AttributeValue] | None") -> "dict[str, AttributeValue]":
    return {name: value for name, value in (attributes or {}).items() if name in KEPT}
