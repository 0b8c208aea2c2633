"""Sums: accounts of tests, and a clock that only moves when it is told to."""

from dataclasses import dataclass
from typing import Any

from tierflow.routing.budgets import Account

# 2026-11-30 23:59:50 UTC: ten seconds before the next day, and the next month.
LATE = 1_796_083_190.0


@dataclass
class Clock:
    now: float = LATE

    def __call__(self) -> float:
        return self.now


def an_account(**fields: Any) -> Account:
    """A dollar for today."""
    given: dict[str, Any] = {
        "budget": "all",
        "window": "2026-11-30",
        "value": "",
        "usd": 1.0,
        "label": "$1 a day (UTC)",
    }
    return Account(**(given | fields))
