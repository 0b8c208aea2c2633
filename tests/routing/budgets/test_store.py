"""The budgets' store: no two workers take the same dollar, in memory, in a file and on a server."""

import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tierflow.errors import StoreError
from tierflow.routing.budgets import (
    Account,
    BudgetStore,
    MemoryBudgets,
    Reserved,
    Short,
    open_budgets,
)
from tierflow.routing.budgets.sql_store import SqlBudgets
from tierflow.settings import settings as settings_in_force

from .sums import Clock, an_account

LEASE_S = 60.0
DOLLAR = an_account()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "budgets.db"


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, path: Path) -> Path | SecretStr:
    if request.param == "postgres":
        return SecretStr(request.getfixturevalue("postgres_url"))
    return path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, path: Path, clock: Clock) -> Iterator[BudgetStore]:
    opened: BudgetStore
    match request.param:
        case "memory":
            opened = MemoryBudgets(clock)
        case "sqlite":
            opened = SqlBudgets(path, clock)
        case _:
            opened = SqlBudgets(SecretStr(request.getfixturevalue("postgres_url")))
    yield opened
    opened.close()


def reserved(
    store: BudgetStore, usd: float, *accounts: Account, lease_s: float = LEASE_S
) -> Reserved:
    found = store.reserve(accounts or (DOLLAR,), usd, lease_s)
    assert isinstance(found, Reserved), found
    return found


def short(store: BudgetStore, usd: float, *accounts: Account) -> Short:
    found = store.reserve(accounts or (DOLLAR,), usd, LEASE_S)
    assert isinstance(found, Short), found
    return found


def test_what_is_set_aside_cannot_be_set_aside_again(store: BudgetStore) -> None:
    reserved(store, 0.7)

    found = short(store, 0.4)
    assert (found.account, found.spent, found.held, found.needed) == (DOLLAR, 0.0, 0.7, 0.4)
    assert found.may_fit
    reserved(store, 0.3)


def test_what_a_call_really_cost_takes_the_place_of_what_was_set_aside(store: BudgetStore) -> None:
    store.settle(reserved(store, 0.7), 0.1)

    (balance,) = store.balances()
    assert balance.spent == pytest.approx(0.1)
    assert balance.held == 0.0
    assert balance.left == pytest.approx(0.9)
    reserved(store, 0.9)
    assert not short(store, 1.0).may_fit


def test_a_call_may_cost_more_than_was_set_aside_and_the_rest_of_the_money_is_gone(
    store: BudgetStore,
) -> None:
    store.settle(reserved(store, 0.9), 1.3)

    assert not short(store, 0.0001).may_fit
    (balance,) = store.balances()
    assert balance.spent == pytest.approx(1.3)
    assert balance.left == 0.0


def test_a_call_that_costs_nothing_frees_all_of_it(store: BudgetStore) -> None:
    store.settle(reserved(store, 1.0), 0.0)
    reserved(store, 1.0)


def test_the_last_cent_can_be_spent(store: BudgetStore) -> None:
    for _ in range(10):
        store.settle(reserved(store, 0.1), 0.1)
    short(store, 0.0001)


def test_a_call_is_paid_from_all_accounts_or_from_none(store: BudgetStore) -> None:
    small = an_account(budget="small", usd=0.1)

    assert short(store, 0.5, DOLLAR, small).account == small
    reserved(store, 1.0)
    other = an_account(budget="other")
    assert short(store, 0.5, other, DOLLAR).account == DOLLAR
    reserved(store, 1.0, other)


def test_windows_and_values_have_their_own_money(store: BudgetStore) -> None:
    for account in (DOLLAR, an_account(window="2026-12-01"), an_account(value="acme")):
        reserved(store, 1.0, account)
        short(store, 0.1, account)


def test_the_sum_in_force_is_the_one_that_counts(store: BudgetStore) -> None:
    store.settle(reserved(store, 1.0), 1.0)
    short(store, 0.5)
    reserved(store, 0.5, an_account(usd=2.0, label="$2 a day (UTC)"))

    (balance,) = store.balances()
    assert (balance.usd, balance.label, balance.spent) == (2.0, "$2 a day (UTC)", 1.0)


def test_a_worker_that_died_holds_up_the_others_for_no_longer_than_its_lease(
    path: Path, clock: Clock
) -> None:
    for store in (MemoryBudgets(clock), SqlBudgets(path, clock)):
        lost = reserved(store, 0.8, lease_s=LEASE_S)
        clock.now += LEASE_S - 1
        short(store, 0.3)
        clock.now += 1
        late = reserved(store, 0.9)
        # It lives after all. What it spent is spent.
        store.settle(lost, 0.5)
        store.settle(late, 0.0)
        (balance,) = store.balances()
        assert balance.spent == pytest.approx(0.5)
        assert balance.held == 0.0
        store.close()


def test_on_a_server_leases_end_by_its_own_clock(postgres_url: str) -> None:
    store = SqlBudgets(SecretStr(postgres_url), clock=lambda: 0.0)
    reserved(store, 0.8, lease_s=-1.0)
    reserved(store, 0.8)
    short(store, 0.8)
    store.close()


def test_what_was_spent_is_there_after_closing(place: Path | SecretStr) -> None:
    store = SqlBudgets(place)
    store.settle(reserved(store, 0.7), 0.6)
    store.close()
    store.close()

    assert short(store, 0.5).spent == pytest.approx(0.6)
    store.close()


def test_accounts_of_windows_long_past_are_forgotten(path: Path, clock: Clock) -> None:
    store = SqlBudgets(path, clock)
    reserved(store, 0.1)
    clock.now += 99 * 86_400
    reserved(store, 0.1, an_account(window="later"))
    assert [each.window for each in store.balances()] == ["later", "2026-11-30"]
    clock.now += 2 * 86_400
    reserved(store, 0.1, an_account(window="last"))
    assert [each.window for each in store.balances()] == ["last", "later"]
    store.close()


@pytest.mark.parametrize("workers", [8])
def test_of_many_threads_only_so_many_get_the_last_dollar(
    place: Path | SecretStr, workers: int
) -> None:
    store, together = SqlBudgets(place), threading.Barrier(workers)

    def take(_: int) -> bool:
        together.wait()
        return isinstance(store.reserve((DOLLAR,), 0.3, LEASE_S), Reserved)

    with ThreadPoolExecutor(workers) as pool:
        assert sum(pool.map(take, range(workers))) == 3
    store.close()


def take_what_is_left(place: Path | SecretStr, together: Any, usd: float, tries: int) -> int:
    """Reserve as often as it goes, as a worker of its own would. Return how often that was."""
    store, accounts = SqlBudgets(place), [DOLLAR, an_account(budget="month", usd=100.0)]
    together.wait()
    taken = 0
    for number in range(tries):
        # Both orders, so that two workers could wait for each other.
        found = store.reserve(accounts[:: 1 if number % 2 else -1], usd, LEASE_S)
        if isinstance(found, Reserved):
            taken += 1
            store.settle(found, usd)
    store.close()
    return taken


def test_two_processes_that_race_for_the_last_dollar_do_not_both_get_it(
    place: Path | SecretStr,
) -> None:
    spawn = multiprocessing.get_context("spawn")
    with spawn.Manager() as manager, ProcessPoolExecutor(2, mp_context=spawn) as pool:
        together = manager.Barrier(2)
        racing = [pool.submit(take_what_is_left, place, together, 0.07, 20) for _ in range(2)]
        taken = [each.result() for each in racing]

    store = SqlBudgets(place)
    # A dollar is enough for fourteen.
    assert sum(taken) == 14
    assert {each.budget: round(each.spent, 6) for each in store.balances()} == {
        "all": 0.98,
        "month": 0.98,
    }
    store.close()


runs = count()
cents = st.integers(1, 60).map(lambda cent: cent / 100)
moves = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), cents),
        st.tuples(st.just("settle"), st.floats(0, 1.5)),
    ),
    max_size=30,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(moves)
def test_no_more_is_spent_than_there_is_but_for_what_estimates_were_wrong_by(
    store: BudgetStore, moves: list[tuple[str, float]]
) -> None:
    account = an_account(window=f"run {next(runs)}")
    under_way: list[Reserved] = []
    spent = wrong_by = 0.0
    for what, usd in moves:
        if what == "reserve":
            found = store.reserve((account,), usd, LEASE_S)
            held = sum(each.usd for each in under_way)
            fits = spent + held + usd <= account.usd * (1 + 1e-9)
            assert isinstance(found, Reserved) == fits
            if isinstance(found, Reserved):
                under_way.append(found)
        elif what == "settle" and under_way:
            paid = under_way.pop()
            # `usd` is by how much the estimate was wrong, as a factor.
            store.settle(paid, paid.usd * usd)
            spent += paid.usd * usd
            wrong_by += max(0.0, paid.usd * (usd - 1))
        assert spent + sum(each.usd for each in under_way) <= account.usd + wrong_by + 1e-6
    mine = [each for each in store.balances() if each.window == account.window]
    assert sum(each.spent for each in mine) == pytest.approx(spent)
    for each in under_way:
        store.settle(each, 0.0)


def test_nothing_is_opened_before_it_is_used(project: Path) -> None:
    store = open_budgets(settings_in_force())

    assert not (project / ".tierflow").exists()
    reserved(store, 0.1)
    assert (project / ".tierflow" / "budgets.db").exists()
    store.close()


def test_a_store_that_cannot_be_used_says_so(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database " * 100)
    store = SqlBudgets(path)

    with pytest.raises(StoreError, match="budget store"):
        store.reserve((DOLLAR,), 0.1, LEASE_S)
