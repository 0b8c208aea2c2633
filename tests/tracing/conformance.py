"""Conformance: what of an emitted span, metric or event the conventions do not allow.

Goes by the flattened registry of v1.41.1, which lies with the recorded data; where it does not,
who asks is skipped. Each function returns faults as text; none is well.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from tierflow.tracing import names

from .emitted import Series, attributes, messages

# Looked up once: tests take the machine's settings away.
DATA = Path(os.environ.get("TIERFLOW_DATA", Path(__file__).parents[3] / "shared" / "data"))
REGISTRY = "gen-ai-v1.41.1-resolved.json"
DELTA = "delta-1.41.1-to-genai-main.yaml"
OURS = ("tierflow.", "prefect.")

SPANS = {
    "chat": "span.gen_ai.inference.client",
    "embeddings": "span.gen_ai.embeddings.client",
    "invoke_workflow": "span.gen_ai.invoke_workflow.internal",
}
SUBJECTS = {
    "chat": "gen_ai.request.model",
    "embeddings": "gen_ai.request.model",
    "invoke_workflow": "gen_ai.workflow.name",
}
CONTENT = {"gen_ai.input.messages": "input", "gen_ai.output.messages": "output"}
AN_ID = re.compile(r"[0-9a-f]{16,}|[0-9a-f]{8}-[0-9a-f]{4}-")
TYPES: Mapping[str, Any] = {
    "string": str,
    "int": int,
    "double": (int, float),
    "boolean": bool,
    "string[]": (list, tuple),
}
OPEN_ENUMS = {"gen_ai.provider.name"}
"""Enumerations that custom values may stand beside."""

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = tuple(float(4**n) for n in range(14))
BUCKETS: Mapping[str, tuple[float, ...]] = {
    "gen_ai.client.operation.duration": _SECONDS,
    "gen_ai.client.operation.time_per_output_chunk": _SECONDS,
    "gen_ai.client.operation.time_to_first_chunk": _SECONDS,
    "gen_ai.client.token.usage": _TOKENS,
}
"""What `docs/gen-ai/gen-ai-metrics.md` of v1.41.1 prescribes; its registry has no boundaries."""

LATER_LABELS = {
    "gen_ai.workflow.name": {"level": "conditionally_required"},
    "error.type": {"level": "conditionally_required"},
}
"""Of `gen_ai.invoke_workflow.duration`, by open-telemetry/semantic-conventions-genai."""


@cache
def registry() -> Any:
    """The attributes, spans, metrics and events of v1.41.1."""
    return json.loads(_recorded(REGISTRY))


@cache
def content_schema(direction: str) -> Any:
    return json.loads(_recorded(f"gen-ai-{direction}-messages.json"))


@cache
def later() -> tuple[Mapping[str, str], Mapping[str, Any]]:
    """What came after v1.41.1 and is emitted somewhere: new names by old ones, new metrics."""
    delta: Any = yaml.safe_load(_recorded(DELTA))
    merged = {each["from"]: each["to"] for each in delta["renamed"] if each["status"] == "M"}
    attributes_ = {old: new for old, new in merged.items() if old in registry()["attributes"]}
    return attributes_, delta["added_metrics_M"]


def _recorded(name: str) -> str:
    path = DATA / "otel" / name
    if not path.is_file():
        pytest.skip(f"{DATA} has no otel/{name}: set TIERFLOW_DATA to where recorded data lie")
    return path.read_text(encoding="utf-8")


def faults_of_span(span: ReadableSpan, at_start: Iterable[str], profile: str) -> list[str]:
    """What is wrong with a span. `at_start`: the attributes that it had when it began."""
    found = attributes(span)
    operation = found.get("gen_ai.operation.name")
    if operation is None:
        return [*_foreign(found, {"error.type"}), *_not_internal(span)]
    allowed = _allowed(registry()["spans"][SPANS[operation]]["attributes"], profile)
    faults = [*_foreign(found, allowed), *_missing(found, allowed, span), *_wrong(found, allowed)]
    if span.name != f"{operation} {found[SUBJECTS[operation]]}":
        faults.append(f"the name {span.name}")
    faults += (
        f"{name} is not there at the start"
        for name, rule in allowed.items()
        if rule.get("at_start") and name in found and name not in set(at_start)
    )
    is_local = found.get("gen_ai.provider.name") in {"local", "replay"}
    if operation == "invoke_workflow" or is_local:
        return faults + _not_internal(span)
    return faults if span.kind is SpanKind.CLIENT else [*faults, f"the kind {span.kind}"]


def faults_of_event(name: str, found: Mapping[str, Any], profile: str) -> list[str]:
    """What is wrong with an event."""
    known = registry()["events"]
    if name not in known:
        return [f"the event {name}"]
    # util-genai puts the provider there, too; v1.41.1 names it for spans and metrics alone.
    allowed = _allowed(known[name]["attributes"], profile) | {"gen_ai.provider.name": {"level": ""}}
    return [*_foreign(found, allowed), *_missing(found, allowed, None), *_wrong(found, allowed)]


def faults_of_series(series: Series) -> list[str]:
    """What is wrong with a metric's series."""
    _, added = later()
    ours = {metric.name: metric for metric in names.METRICS}.get(series.metric)
    rule: Any = registry()["metrics"].get(series.metric)
    if series.metric in added:
        rule = {**added[series.metric], "attributes": LATER_LABELS}
    faults = [f"{key}={value}" for key, value in series.labels.items() if AN_ID.search(str(value))]
    if ours is not None:
        faults += _differs(series, ours.unit, ours.buckets)
        faults += (f"the label {name}" for name in series.labels if name not in ours.labels)
    if rule is not None:
        buckets = rule.get("buckets") or BUCKETS[series.metric]
        faults += _differs(series, rule["unit"], tuple(map(float, buckets)))
        faults += _foreign(series.labels, rule["attributes"], ours=())
        faults += _missing(series.labels, rule["attributes"], None)
    return faults if ours or rule else [*faults, "a metric that is in no table"]


def _differs(series: Series, unit: str, buckets: tuple[float, ...] | None) -> Iterable[str]:
    if series.unit != unit:
        yield f"the unit {series.unit}"
    if series.buckets != (buckets or ()):
        yield f"the buckets {series.buckets}"
    if (series.kind == "histogram") != (buckets is not None):
        yield f"the kind {series.kind}"


def _allowed(rules: Mapping[str, Any], profile: str) -> dict[str, Any]:
    renamed = later()[0] if profile == "latest" else dict[str, str]()
    return {renamed.get(name, name): rule for name, rule in rules.items()}


def _foreign(
    found: Iterable[str], allowed: Iterable[str], ours: tuple[str, ...] = OURS
) -> Iterable[str]:
    known = registry()["attributes"]
    for name in found:
        if name not in allowed and not (ours and name.startswith(ours)):
            yield f"{name} is unknown here"
        if known.get(name, {}).get("deprecated"):
            yield f"{name} is deprecated"


def _missing(
    found: Mapping[str, Any], rules: Mapping[str, Any], span: ReadableSpan | None
) -> Iterable[str]:
    for name, rule in rules.items():
        if rule["level"] == "required" and name not in found:
            yield f"{name} is required"
    if ("server.address" in found) != ("server.port" in found):
        yield "server.address and server.port without each other"
    if span is None:
        return
    if (span.status.status_code is StatusCode.ERROR) != ("error.type" in found):
        yield "error.type without an error, or an error without it"
    for name in ("gen_ai.request.model", "gen_ai.output.type", "gen_ai.workflow.name"):
        # Conditions that are always met here.
        if rules.get(name, {}).get("level") == "conditionally_required" and name not in found:
            yield f"{name} is required where it is known"


def _wrong(found: Mapping[str, Any], rules: Mapping[str, Any]) -> Iterable[str]:
    for name, value in found.items():
        rule = rules.get(name, {})
        kind = TYPES.get(rule.get("type", ""), object)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            yield f"{name} is no {rule['type']}: {value!r}"
        if rule.get("enum") and name not in OPEN_ENUMS and value not in rule["enum"]:
            yield f"{name} cannot be {value!r}"
        if name in CONTENT:
            schema: Any = jsonschema.Draft202012Validator(content_schema(CONTENT[name]))
            yield from (str(fault.message) for fault in schema.iter_errors(messages(value)))


def _not_internal(span: ReadableSpan) -> list[str]:
    return [] if span.kind is SpanKind.INTERNAL else [f"the kind {span.kind}"]
