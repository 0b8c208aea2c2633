"""tracing: what did it cost, how long did it take, was it good? Spans, usage, prices, ledger."""

from .ledger import Call, Ended, Ledger, Row, Where, is_aside
from .opening import open_ledger, rows_of
from .prices import CacheFacts, Prices, cache_facts, first_priced, prices_of
from .report import StepSummary, as_table, headline, summarise
from .spans import (
    AttemptSpan,
    Within,
    attempt,
    describe_answer,
    span,
    span_ids,
    step_attributes,
    within_judge,
)
from .usage import usage_of

__all__ = [
    "AttemptSpan",
    "CacheFacts",
    "Call",
    "Ended",
    "Ledger",
    "Prices",
    "Row",
    "StepSummary",
    "Where",
    "Within",
    "as_table",
    "attempt",
    "cache_facts",
    "describe_answer",
    "first_priced",
    "headline",
    "is_aside",
    "open_ledger",
    "prices_of",
    "rows_of",
    "span",
    "span_ids",
    "step_attributes",
    "summarise",
    "usage_of",
    "within_judge",
]
