"""Instruments: OpenTelemetry's tracer and meters, by the table of names. No-ops without an SDK."""

from collections.abc import Mapping
from functools import cache

from opentelemetry import metrics, trace
from opentelemetry.metrics import Counter, Histogram

from . import names


@cache
def tracer() -> trace.Tracer:
    """Return the tracer of our own spans."""
    return trace.get_tracer(names.SCOPE, schema_url=names.SCHEMA_URL)


def record(metric: names.Metric, value: float, labels: Mapping[str, str | bool]) -> None:
    """Add to a counter, or record in a histogram. Takes the metric's own labels, and those set."""
    told = {name: labels[name] for name in metric.labels if labels.get(name) not in {None, ""}}
    instrument = _instrument(metric)
    if isinstance(instrument, Counter):
        instrument.add(value, told)
    else:
        instrument.record(value, told)


@cache
def _instrument(metric: names.Metric) -> Counter | Histogram:
    meter = metrics.get_meter(names.SCOPE, schema_url=names.SCHEMA_URL)
    if metric.buckets is None:
        return meter.create_counter(metric.name, metric.unit, metric.says)
    return meter.create_histogram(
        metric.name,
        metric.unit,
        metric.says,
        explicit_bucket_boundaries_advisory=list(metric.buckets),  # a tuple is no list to it
    )
