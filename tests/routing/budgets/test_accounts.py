"""Accounts: which budgets hold for whom, and when a new window begins."""

from typing import Any

import pytest
from pydantic import ValidationError

from tierflow.budgets import Budget
from tierflow.errors import ConfigError
from tierflow.routing.budgets import Purse, Spender, purse_of, refuse_unpriced
from tierflow.settings import Deployment

from .sums import Clock

PRICES: dict[str, Any] = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 10.0}
LUNA = Deployment(model="openai/luna", api_base="http://127.0.0.1:1/v1", **PRICES)
OTHER = Deployment(model="openai/other", **PRICES)
SPENDER = Spender("triage", "run-1", "inbox", "acme")


def a_budget(**fields: Any) -> Budget:
    return Budget.model_validate({"usd": 5.0, "per": "day"} | fields)


def a_purse(
    *budgets: Budget, own_usd: float | None = None, clock: Clock | None = None
) -> Purse | None:
    return purse_of(budgets, own_usd, SPENDER, clock or Clock())


@pytest.mark.parametrize(
    ("filters", "holds"),
    [
        ({}, True),
        ({"flow": "inbox"}, True),
        ({"flow": "nightly"}, False),
        ({"step": "triage", "tenant": "acme"}, True),
        ({"step": "triage", "tenant": "other"}, False),
        ({"step": "digest"}, False),
    ],
    ids=str,
)
def test_a_budget_holds_for_what_passes_all_of_its_filters(
    filters: dict[str, Any], holds: bool
) -> None:
    assert (a_purse(a_budget(**filters)) is not None) == holds


def test_without_a_budget_there_is_no_purse() -> None:
    assert a_purse() is None


@pytest.mark.parametrize("name", [LUNA.name, LUNA.model])
def test_a_deployment_is_named_as_the_catalogue_or_the_command_line_does(name: str) -> None:
    purse = a_purse(a_budget(deployment=name))

    assert purse is not None
    assert len(purse.accounts(LUNA)) == 1
    assert purse.accounts(OTHER) == ()


def test_days_and_months_turn_over_in_utc() -> None:
    clock = Clock()
    purse = a_purse(a_budget(), a_budget(per="month"), clock=clock)
    assert purse is not None

    def windows() -> list[str]:
        return [each.window for each in purse.accounts(LUNA)]

    assert windows() == ["2026-11-30", "2026-11"]
    keys = {each.key for each in purse.accounts(LUNA)}
    clock.now += 10
    assert windows() == ["2026-12-01", "2026-12"]
    assert not keys & {each.key for each in purse.accounts(LUNA)}


def test_a_run_is_the_spenders() -> None:
    purse = a_purse(a_budget(per="run"))

    assert purse is not None
    assert purse.accounts(LUNA)[0].window == "run-1"


@pytest.mark.parametrize(
    ("each", "value"),
    [
        ("tenant", "acme"),
        ("flow", "inbox"),
        ("step", "triage"),
        ("deployment", "openai/luna@http://127.0.0.1:1/v1"),
    ],
)
def test_each_makes_an_account_for_each(each: str, value: str) -> None:
    purse = a_purse(a_budget(each=each))

    assert purse is not None
    (account,) = purse.accounts(LUNA)
    assert account.value == value
    assert account.label == f"$5 a day (UTC), each {each} ({value})"


def test_a_changed_sum_is_the_same_account() -> None:
    small, large = a_purse(a_budget()), a_purse(a_budget(usd=50.0))

    assert small is not None
    assert large is not None
    assert small.accounts(LUNA)[0].key == large.accounts(LUNA)[0].key


def test_a_steps_own_budget_is_of_its_runs() -> None:
    purse = a_purse(own_usd=0.5)

    assert purse is not None
    (account,) = purse.accounts(LUNA)
    assert (account.window, account.usd) == ("run-1", 0.5)
    assert account.label == "$0.5 a run, step 'triage'"
    assert account.remedy == "Raise budget_usd of the step"


@pytest.mark.parametrize(("in_file", "usd"), [(0.3, 0.3), (0.8, 0.5)])
def test_of_a_steps_own_and_its_namesake_the_smaller_holds(in_file: float, usd: float) -> None:
    purse = a_purse(a_budget(usd=in_file, per="run", step="triage"), own_usd=0.5)

    assert purse is not None
    (account,) = purse.accounts(LUNA)
    assert account.usd == usd
    assert ("budget_usd" in account.remedy) == (usd == 0.5)


def test_what_is_to_be_paid_from_a_budget_must_have_a_price() -> None:
    unpriced = Deployment(model="hosted_vllm/mine")
    purse = a_purse(a_budget(deployment="hosted_vllm/mine"))
    other = a_purse(a_budget(deployment="openai/other"))
    assert purse is not None
    assert other is not None

    with pytest.raises(ConfigError, match=r"hosted_vllm/mine has no known price.*input_usd_per_mt"):
        refuse_unpriced(purse, (LUNA, unpriced))
    refuse_unpriced(purse, (LUNA,))
    refuse_unpriced(other, (unpriced,))


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"usd": 0}, "greater than 0"),
        ({"usd": float("inf")}, "finite"),
        ({"usd": 1, "per": "hour"}, "'run', 'day' or 'month'"),
        ({"usd": 1, "per": "day", "each": "tenant", "tenant": "acme"}, "is one budget"),
        ({"usd": 1, "per": "day", "team": "x"}, "Extra inputs"),
    ],
    ids=str,
)
def test_a_budget_that_means_nothing_is_refused(fields: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ValidationError, match=wanted):
        Budget.model_validate({"per": "day"} | fields)
