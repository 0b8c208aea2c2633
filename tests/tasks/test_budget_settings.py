"""Budgets as they are written down: what is no sum is refused, and where they may come from."""

from pathlib import Path

import pytest

from tierflow import llm_task
from tierflow.errors import ConfigError
from tierflow.settings import settings


@pytest.mark.parametrize("usd", [0, -1, float("nan"), float("inf")])
def test_a_budget_that_is_no_sum_is_refused(usd: float) -> None:
    with pytest.raises(ValueError, match="budget_usd"):
        llm_task(tier="fast", budget_usd=usd)


def test_two_budgets_of_the_same_are_refused(project: Path) -> None:
    (project / "tierflow.toml").write_text(
        "[[budgets]]\nusd = 1\nper = 'day'\n[[budgets]]\nusd = 2\nper = 'day'"
    )

    with pytest.raises(ConfigError, match=r"two \[\[budgets\]\] are of the same: \$2 a day"):
        settings()


def test_budgets_come_from_the_environment_too(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIERFLOW_BUDGETS", '[{"usd": 2, "per": "month", "each": "flow"}]')
    (budget,) = settings().budgets
    assert budget.label == "$2 a month (UTC), each flow"
    assert project.exists()
