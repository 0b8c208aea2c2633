"""Spending: budgets of one process, while the shared store is there and while it is not."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from tierflow.errors import StoreError
from tierflow.routing.budgets import (
    Account,
    Balance,
    MemoryBudgets,
    Reserve,
    Reserved,
    Settle,
    Short,
    Spending,
)

from .sums import Clock, an_account

DOLLAR = an_account()
OUTAGE_S = 31.0


@dataclass
class Shared:
    """A store that others use too, and that can be away."""

    kept: MemoryBudgets
    is_away: bool = False
    uses: list[str] = field(default_factory=list[str])

    def reserve(self, accounts: Sequence[Account], usd: float, lease_s: float) -> Reserved | Short:
        self._used("reserve")
        return self.kept.reserve(accounts, usd, lease_s)

    def settle(self, reserved: Reserved, usd: float) -> None:
        self._used("settle")
        self.kept.settle(reserved, usd)

    def balances(self) -> Sequence[Balance]:
        return self.kept.balances()

    def close(self) -> None:
        self.uses.append("close")

    def _used(self, how: str) -> None:
        if self.is_away:
            raise StoreError("The budget store is away. Start it.")
        self.uses.append(how)

    @property
    def spent(self) -> float:
        return sum(each.spent for each in self.balances())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shared(clock: Clock) -> Shared:
    return Shared(MemoryBudgets(clock))


@pytest.fixture
def spending(shared: Shared, clock: Clock) -> Spending:
    return Spending(lambda: shared, clock)


def reserved(spending: Spending, usd: float) -> Reserved:
    found = spending.perform(Reserve((DOLLAR,), usd, 60.0))
    assert isinstance(found, Reserved)
    return found


def is_short(spending: Spending, usd: float) -> bool:
    return isinstance(spending.perform(Reserve((DOLLAR,), usd, 60.0)), Short)


def test_money_is_kept_where_all_see_it(spending: Spending, shared: Shared) -> None:
    spending.perform(Settle(reserved(spending, 0.6), 0.5))

    assert shared.spent == 0.5
    assert is_short(spending, 0.6)
    spending.close()
    assert shared.uses == ["reserve", "settle", "reserve", "close"]


def test_without_the_store_a_process_keeps_to_the_budget_alone_and_says_so_once(
    spending: Spending, shared: Shared, caplog: pytest.LogCaptureFixture
) -> None:
    shared.is_away = True
    with caplog.at_level(logging.WARNING, "tierflow"):
        spending.perform(Settle(reserved(spending, 0.6), 0.6))
        assert is_short(spending, 0.6)
    assert [each.getMessage() for each in caplog.records] == [
        "The budget store is away. Start it. Until then this process keeps its budgets alone."
    ]


def test_what_was_spent_meanwhile_is_booked_when_the_store_is_back(
    spending: Spending, shared: Shared, clock: Clock
) -> None:
    before = reserved(spending, 0.2)
    shared.is_away = True
    # One was set aside there, and one here.
    spending.perform(Settle(before, 0.1))
    spending.perform(Settle(reserved(spending, 0.6), 0.5))
    shared.is_away = False
    # It is left alone for a while.
    assert shared.spent == 0.0
    clock.now += OUTAGE_S
    assert is_short(spending, 0.5)
    assert shared.spent == pytest.approx(0.6)
    reserved(spending, 0.4)


def test_what_is_owed_is_booked_at_the_latest_when_the_process_ends(
    spending: Spending, shared: Shared, clock: Clock
) -> None:
    shared.is_away = True
    spending.perform(Settle(reserved(spending, 0.6), 0.5))
    shared.is_away = False
    clock.now += OUTAGE_S
    spending.close()

    assert shared.spent == 0.5


def test_what_cannot_be_booked_stays_owed(spending: Spending, shared: Shared, clock: Clock) -> None:
    shared.is_away = True
    spending.perform(Settle(reserved(spending, 0.6), 0.5))
    clock.now += OUTAGE_S
    reserved(spending, 0.1)
    shared.is_away = False
    clock.now += OUTAGE_S
    reserved(spending, 0.1)

    assert shared.spent == 0.5
