"""prefix: what providers are told to keep of a prompt, and when that pays. Asks no model."""

from .fanout import current_fanout, expecting
from .fingerprint import Boundary, boundaries_of
from .history import History
from .keeper import Call, Keeper, Outlook, decision_of
from .planner import Decision, Prefix, Reuse, decide, expected_cost
from .vendors import Vendor, least_tokens, unit_prices, vendor_of
from .warmth import Lead, Warmth

__all__ = [
    "Boundary",
    "Call",
    "Decision",
    "History",
    "Keeper",
    "Lead",
    "Outlook",
    "Prefix",
    "Reuse",
    "Vendor",
    "Warmth",
    "boundaries_of",
    "current_fanout",
    "decide",
    "decision_of",
    "expected_cost",
    "expecting",
    "least_tokens",
    "unit_prices",
    "vendor_of",
]
