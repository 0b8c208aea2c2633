"""SDK providers: OpenTelemetry's SDK over OTLP/HTTP, made and installed. Decides nothing."""

import os
from collections.abc import Callable, Sequence

from opentelemetry import _logs, metrics, trace
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.util.types import Attributes

from .joining import joined
from .tracers import ChangingTracer

Flush = Callable[[], object]


def provide(
    signals: Sequence[str],
    endpoint: str | None,
    resource: Resource,
    every_ms: float,
    timeout_s: float,
) -> list[Flush]:
    """Install a provider for each signal; return what flushes them, in this order.

    `endpoint`: the collector's base URL, None for what the OTEL_* variables say, which also go
    over `every_ms` and `timeout_s` (of one export). None of them holds up the process's end.
    """
    makers = {"traces": _traces, "metrics": _metrics, "logs": _logs_}
    timeout = None if "OTEL_EXPORTER_OTLP_TIMEOUT" in os.environ else timeout_s
    return [
        makers[signal](_url(endpoint, signal), resource, every_ms, timeout) for signal in signals
    ]


def _url(endpoint: str | None, signal: str) -> str | None:
    return None if endpoint is None else f"{endpoint.rstrip('/')}/v1/{signal}"


def _traces(url: str | None, resource: Resource, every_ms: float, timeout: float | None) -> Flush:
    provider = _JoiningProvider(resource=resource, shutdown_on_exit=False)
    delay = None if "OTEL_BSP_SCHEDULE_DELAY" in os.environ else every_ms
    exporter = OTLPSpanExporter(endpoint=url, timeout=timeout)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=delay))
    trace.set_tracer_provider(provider)
    return provider.force_flush


def _metrics(url: str | None, resource: Resource, _: float, timeout: float | None) -> Flush:
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=url, timeout=timeout))
    provider = MeterProvider([reader], resource, shutdown_on_exit=False)
    metrics.set_meter_provider(provider)
    return provider.force_flush


def _logs_(url: str | None, resource: Resource, every_ms: float, timeout: float | None) -> Flush:
    provider = LoggerProvider(resource, shutdown_on_exit=False)
    delay = None if "OTEL_BLRP_SCHEDULE_DELAY" in os.environ else every_ms
    exporter = OTLPLogExporter(endpoint=url, timeout=timeout)
    provider.add_log_record_processor(
        BatchLogRecordProcessor(exporter, schedule_delay_millis=delay)
    )
    _logs.set_logger_provider(provider)
    return provider.force_flush


class _JoiningProvider(TracerProvider):
    """A provider that keeps Prefect's own spans in their flow run's trace, see joining.py."""

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> trace.Tracer:
        tracer = super().get_tracer(
            instrumenting_module_name, instrumenting_library_version, schema_url, attributes
        )
        is_prefects = instrumenting_module_name == "prefect"
        return ChangingTracer(tracer, joined) if is_prefects else tracer
