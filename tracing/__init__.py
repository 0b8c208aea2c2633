"""tracing: what did it cost, how long did it take, was it good? Spans, usage, prices, ledger."""

from .costs import By, Costs, FlowRun, Window, share_of, total_of
from .genai import AttemptSpan, attempt, encoding
from .ledger import Call, Ended, Ledger, Row, Where, is_aside
from .opening import open_ledger, rows_of
from .prices import CacheFacts, Prices, cache_facts, first_priced, prices_of
from .report import StepSummary, as_table, headline, summarise
from .sdk import flush_soon, set_up
from .spans import Within, span, span_ids, within_judge, within_step
from .step_metrics import record_step
from .usage import partial_usage, usage_of

__all__ = [
    "AttemptSpan",
    "By",
    "CacheFacts",
    "Call",
    "Costs",
    "Ended",
    "FlowRun",
    "Ledger",
    "Prices",
    "Row",
    "StepSummary",
    "Where",
    "Window",
    "Within",
    "as_table",
    "attempt",
    "cache_facts",
    "encoding",
    "first_priced",
    "flush_soon",
    "headline",
    "is_aside",
    "open_ledger",
    "partial_usage",
    "prices_of",
    "record_step",
    "rows_of",
    "set_up",
    "share_of",
    "span",
    "span_ids",
    "summarise",
    "total_of",
    "usage_of",
    "within_judge",
    "within_step",
]
