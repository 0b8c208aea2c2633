"""Memory budget store: accounts of this process alone, for when the shared ones cannot be used."""

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .accounts import Account
from .effects import Reserved, Short, fits
from .store import Balance


@dataclass(slots=True)
class _Kept:
    account: Account
    spent: float = 0.0
    at: float = 0.0
    held: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])

    def held_usd(self, now: float) -> float:
        self.held = {id_: each for id_, each in self.held.items() if each[1] > now}
        return sum(usd for usd, _ in self.held.values())


class MemoryBudgets:
    """A BudgetStore in memory. Thread-safe. `clock`: seconds; only differences count."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def reserve(self, accounts: Sequence[Account], usd: float, lease_s: float) -> Reserved | Short:
        """See BudgetStore."""
        with self._lock:
            now = self._clock()
            kept = [self._of(account, now) for account in accounts]
            for each in kept:
                held = each.held_usd(now)
                if not fits(each.spent + held + usd, each.account.usd):
                    return Short(each.account, each.spent, held, usd)
            reserved = Reserved(tuple(accounts), usd, uuid.uuid4().hex)
            for each in kept:
                each.held[reserved.id] = usd, now + lease_s
            return reserved

    def settle(self, reserved: Reserved, usd: float) -> None:
        """See BudgetStore."""
        with self._lock:
            for account in reserved.accounts:
                kept = self._of(account, self._clock())
                kept.held.pop(reserved.id, None)
                kept.spent += usd

    def balances(self) -> Sequence[Balance]:
        """See BudgetStore."""
        with self._lock:
            now = self._clock()
            found = [
                Balance(
                    budget=each.account.budget,
                    label=each.account.label,
                    window=each.account.window,
                    value=each.account.value,
                    usd=each.account.usd,
                    spent=each.spent,
                    held=each.held_usd(now),
                    at=each.at,
                )
                for each in self._kept.values()
            ]
        return sorted(found, key=lambda each: -each.at)

    def close(self) -> None:
        """See BudgetStore. There is nothing to close."""

    def _of(self, account: Account, now: float) -> _Kept:
        kept = self._kept.setdefault(account.key, _Kept(account))
        # The sum may have been changed since.
        kept.account, kept.at = account, now
        return kept
