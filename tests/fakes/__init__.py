"""Fakes: a scripted LLM provider behind a real socket. Imports nothing of the package."""

from __future__ import annotations

from .billing import Billing, Charge, Rules, Tally
from .engine import FakeEngine
from .kv_events import KvPublisher
from .ledger import Recorded
from .provider import FakeProvider
from .steps import BreakStream, Compute, Drop, Fail, Hang, Raw, Say, Script, Step
from .wire import Load

__all__ = [
    "Billing",
    "BreakStream",
    "Charge",
    "Compute",
    "Drop",
    "Fail",
    "FakeEngine",
    "FakeProvider",
    "Hang",
    "KvPublisher",
    "Load",
    "Raw",
    "Recorded",
    "Rules",
    "Say",
    "Script",
    "Step",
    "Tally",
]
