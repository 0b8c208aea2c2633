"""Teller: another process, with OpenTelemetry set up, that records evaluations and prints all.

A process takes one set of providers for its life, so this one has its own. It is told by words:
"ask", a step is run, and its answer evaluated; "evaluate", the step has an evaluator, by the tier
`standard`, and nobody else says anything; anything else is the reference of an answer.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

ROOT = Path(__file__).resolve().parents[2]


def told(
    project: Path, word: str, evaluation: Mapping[str, Any], environ: Mapping[str, str]
) -> dict[str, Any]:
    """Run a process in a project; return what it says: ref, ids, events and points of metrics."""
    command = [sys.executable, "-m", "tests.tasks.teller", str(project), word]
    done = subprocess.run(
        [*command, json.dumps(evaluation)],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def _main(project: str, word: str, evaluation: dict[str, Any]) -> None:
    import os

    from tests.tasks.ways import Way, plain
    from tierflow import judged, record_evaluation
    from tierflow.tasks import close_hands

    os.chdir(project)
    records: Any = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # of the SDK
    reader = InMemoryMetricReader()
    loggers = LoggerProvider()
    loggers.add_log_record_processor(SimpleLogRecordProcessor(records))
    _logs.set_logger_provider(loggers)
    metrics.set_meter_provider(MeterProvider([reader]))
    trace.set_tracer_provider(TracerProvider())
    way = Way(is_async=False)
    found: Any
    if word == "evaluate":
        looks = judged("helpful", tier="standard", rubric="Does it help?", sample=1.0)
        found = way.step(plain, evaluate=[looks])("Who?")
    else:
        found = record_evaluation(way.step(plain)("Who?") if word == "ask" else word, **evaluation)
    close_hands()
    said = {
        "ref": found.ref,
        "trace_id": found.trace_id,
        "span_id": found.span_id,
        "events": [_event(each.log_record) for each in records.get_finished_logs()],
        "points": [
            [metric.name, dict(point.attributes), getattr(point, "sum", getattr(point, "value", 0))]
            for metric in _metrics(reader)
            if metric.name.startswith("tierflow.evaluation")
            for point in metric.data.data_points
        ],
    }
    sys.stdout.write(json.dumps(said) + "\n")


def _event(record: Any) -> dict[str, Any]:
    return {
        "event": record.event_name,
        "trace_id": trace.format_trace_id(record.trace_id),
        "span_id": trace.format_span_id(record.span_id),
        "attributes": dict(record.attributes),
    }


def _metrics(reader: InMemoryMetricReader) -> list[Any]:
    data = reader.get_metrics_data()
    scopes = [each for of in data.resource_metrics for each in of.scope_metrics] if data else []
    return [metric for scope in scopes for metric in scope.metrics]


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
