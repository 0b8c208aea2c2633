"""Budget store: where workers set money aside. A Protocol; knows no database."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .accounts import Account
from .effects import Reserved, Short


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """How an account stands. USD; `held`: for calls under way. `at`: last used, Unix seconds."""

    budget: str
    label: str
    window: str
    value: str
    usd: float
    spent: float
    held: float
    at: float

    @property
    def left(self) -> float:
        """What may still be spent, 0 where more was spent than there was."""
        return max(0.0, self.usd - self.spent - self.held)


class BudgetStore(Protocol):
    """Keeps accounts. Every method raises StoreError where it cannot be used.

    What is set aside by all together never exceeds an account, whoever else reserves meanwhile.
    """

    def reserve(self, accounts: Sequence[Account], usd: float, lease_s: float) -> Reserved | Short:
        """Set money aside in all accounts, or in none."""
        ...

    def settle(self, reserved: Reserved, usd: float) -> None:
        """Book what a call has cost, also after its lease, and free what was set aside for it."""
        ...

    def balances(self) -> Sequence[Balance]:
        """Return the accounts that were ever used and are not forgotten, last used first."""
        ...

    def close(self) -> None:
        """Close what is open; the next call opens it again."""
        ...
