"""Emitted: all that OpenTelemetry was told in this process, kept in memory."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from opentelemetry import _logs, metrics, trace
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class _AtStart(SpanProcessor):
    """Remembers which attributes a span had when it began: that is what samplers see."""

    def __init__(self) -> None:
        self.names: dict[int, frozenset[str]] = {}

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if span.context is not None:
            self.names[span.context.span_id] = frozenset(span.attributes or {})


@dataclass(frozen=True)
class Series:
    """One series of a metric, summed since it was last looked at."""

    metric: str
    unit: str
    kind: str
    labels: Mapping[str, Any]
    value: float
    count: int
    buckets: tuple[float, ...]


class Emitted:
    """The providers of this process, which takes one of each for its life."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self._at_start = _AtStart()
        tracers = trace.get_tracer_provider()
        if not isinstance(tracers, TracerProvider):
            tracers = TracerProvider()
            trace.set_tracer_provider(tracers)
        tracers.add_span_processor(self._at_start)
        tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        delta = AggregationTemporality.DELTA
        self._reader = InMemoryMetricReader({Counter: delta, Histogram: delta})
        metrics.set_meter_provider(MeterProvider([self._reader]))
        records: Any = InMemoryLogRecordExporter
        self._records = records()
        loggers = LoggerProvider()
        loggers.add_log_record_processor(SimpleLogRecordProcessor(self._records))
        _logs.set_logger_provider(loggers)

    def clear(self) -> None:
        """Forget what was told so far."""
        self.exporter.clear()
        self._records.clear()
        self._reader.get_metrics_data()

    def spans(self) -> tuple[ReadableSpan, ...]:
        """The finished spans in the order they began."""
        return tuple(
            sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
        )

    def span(self, name: str) -> ReadableSpan:
        """The one span of a name."""
        (found,) = (span for span in self.spans() if span.name == name)
        return found

    def at_start(self, span: ReadableSpan) -> frozenset[str]:
        """The attributes that a span had when it began."""
        return self._at_start.names[span.context.span_id] if span.context else frozenset()

    def events(self) -> Sequence[ReadableLogRecord]:
        """The events."""
        events: Sequence[ReadableLogRecord] = self._records.get_finished_logs()
        return events

    def series(self) -> list[Series]:
        """The series of all metrics since the last look."""
        data = self._reader.get_metrics_data()
        found = list[Series]()
        for of_resource in data.resource_metrics if data else ():
            for of_scope in of_resource.scope_metrics:
                found += (each for metric in of_scope.metrics for each in _series(metric))
        return found

    def written(self) -> str:
        """Everything that exporters would send."""
        data = self._reader.get_metrics_data()
        return "\n".join(
            [
                *(span.to_json() for span in self.spans()),
                *(each.to_json() for each in self.events()),
                data.to_json() if data else "",
            ]
        )


def _series(metric: Any) -> list[Series]:
    is_histogram = hasattr(metric.data.data_points[0], "bucket_counts")
    return [
        Series(
            metric.name,
            metric.unit,
            "histogram" if is_histogram else "counter",
            dict(point.attributes),
            point.sum if is_histogram else point.value,
            point.count if is_histogram else 1,
            tuple(point.explicit_bounds) if is_histogram else (),
        )
        for point in metric.data.data_points
    ]


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """A span's attributes."""
    return dict(span.attributes or {})


def messages(value: Any) -> Any:
    """Captured messages as data: a span has them as JSON."""
    return json.loads(value) if isinstance(value, str) else _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        found = cast("Mapping[str, Any]", value)
        return {key: _plain(each) for key, each in found.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in cast("Sequence[Any]", value)]
    return value
