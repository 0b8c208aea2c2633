"""Step metrics: what operators are shown of steps and requests, from the rows of the ledger.

One source: whoever sums the metrics gets what the ledger has. The standard's own metrics of model
calls come from genai.py.
"""

from collections.abc import Mapping, Sequence

from opentelemetry import trace

from ..telemetry_settings import TelemetrySettings
from . import names
from .genai import tokens_per_second
from .instruments import record
from .ledger import Call, Row

_HITS = {"exact", "semantic"}

Labels = Mapping[str, str | bool]


def record_step(row: Row, calls: Sequence[Call], telemetry: TelemetrySettings) -> None:
    """Record a step that ended, and its requests; write on its span, the current one, how."""
    trace.get_current_span().set_attributes(_described(row))
    labels: dict[str, str | bool] = {
        names.FLOW: row.flow or "",
        names.STEP: row.step,
        names.TIER: row.tier,
        names.ARM: row.arm,
        names.TENANT: row.tenant if telemetry.tenant_label else "",
    }
    ended = labels | {names.CACHE: row.cache, names.OUTCOME: row.outcome}
    record(names.STEP_COUNT, 1, ended)
    record(names.STEP_DURATION, row.latency_ms / 1000, ended)
    if row.cost_usd is not None:
        record(names.STEP_COST, row.cost_usd, ended)
    if row.cache in _HITS:
        record(names.HIT_COUNT, 1, ended)
    if row.escalations:
        record(names.ESCALATION_COUNT, row.escalations, labels)
    if row.failed_attempts:
        record(names.FAILOVER_COUNT, row.failed_attempts, labels)
    for call in calls:
        _record_call(call, labels)


def _record_call(call: Call, of_step: Labels) -> None:
    labels = {
        **of_step,
        names.TIER: call.tier,
        names.MODEL: call.model or _asked_model(call.deployment),
        names.ROLE: call.role,
    }
    record(names.REQUEST_COUNT, 1, {**labels, names.OUTCOME: call.outcome})
    is_whole = call.outcome == "ok"
    if call.cost_usd is None:
        record(names.UNPRICED_COUNT, 1, labels)
    elif is_whole or call.cost_usd:
        # What had arrived of a call that broke off is billed as well.
        record(names.COST, call.cost_usd, labels)
        record(names.REQUEST_COST, call.cost_usd, labels)
    for kind, count in _tokens(call).items():
        if count:
            record(names.TOKENS, count, {**labels, names.KIND: kind})
    if not is_whole:
        return
    times = (
        (names.FIRST_TOKEN, call.ttft_ms),
        (names.GAP_MEAN, call.itl_ms),
        (names.GAP_P95, call.itl_p95_ms),
    )
    for metric, milliseconds in times:
        if milliseconds is not None:
            record(metric, milliseconds / 1000, labels)
    rate = tokens_per_second(call.output_tokens, call.latency_ms, call.ttft_ms)
    if rate is not None:
        record(names.RATE, rate, {**labels, names.STREAMED: call.ttft_ms is not None})


def _tokens(call: Call) -> Mapping[str, int]:
    return {
        "input": call.input_tokens,
        "cached_read": call.cache_read_tokens,
        "cache_write": call.cache_write_tokens,
        "output": call.output_tokens,
        "reasoning": call.reasoning_tokens,
    }


def _asked_model(deployment: str) -> str:
    """Return the model that a deployment's name begins with; a failure brought none."""
    return deployment.partition(" ")[0].partition("@")[0].partition("/")[2]


def _described(row: Row) -> Mapping[str, str | bool | int | float]:
    said: dict[str, str | bool | int | float] = {
        names.REF: row.ref,
        names.OUTCOME: row.outcome,
        names.TIER: row.tier,
        names.CACHE: row.cache,
        names.ASKS: row.asks,
        names.ESCALATIONS: row.escalations,
        names.FAILED_ATTEMPTS: row.failed_attempts,
        names.INPUT_TOKENS: row.input_tokens,
        names.OUTPUT_TOKENS: row.output_tokens,
    }
    if row.model:
        said[names.MODEL] = row.model
    if row.saved_usd is not None:
        said[names.SAVED_USD] = row.saved_usd
    if row.cost_usd is None:
        return said | {names.UNPRICED: True}
    return said | {names.COST_USD: row.cost_usd}
