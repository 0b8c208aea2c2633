"""Budget accounts: which budgets a call is paid from, and in which window. Pure.

An account is one budget's money in one window: today's, this month's, this run's; and with `each`
that of one tenant, say.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from ...budgets import Budget
from ...errors import ConfigError
from ...settings import Deployment
from ...tracing import prices_of

IN_CODE = "Raise budget_usd of the step"
IN_FILE = "Raise its usd under [[budgets]] in tierflow.toml"


@dataclass(frozen=True, slots=True)
class Account:
    """One budget's money in one window. `budget`: its scope, see Budget. `usd`: all of it.

    `window`: a day, a month, or the id of a run; `value`: of what the budget is for each of.
    `label`, `remedy`: for people.
    """

    budget: str
    window: str
    value: str
    usd: float
    label: str
    remedy: str = IN_FILE

    @property
    def key(self) -> str:
        """Names it in a store."""
        return json.dumps([self.budget, self.window, self.value])


@dataclass(frozen=True, slots=True)
class Spender:
    """Who spends. `run`: the flow run's id; outside of one, something that names this call."""

    step: str
    run: str
    flow: str = ""
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Purse:
    """The budgets that one step is paid from. `now`: Unix seconds.

    `own_scope`: of the budget that the step's code sets, empty without one.
    """

    budgets: tuple[Budget, ...]
    spender: Spender
    now: Callable[[], float]
    own_scope: str = ""

    def accounts(self, deployment: Deployment) -> tuple[Account, ...]:
        """Return what a call of that deployment is paid from now."""
        return tuple(
            self._account(budget, deployment)
            for budget in self.budgets
            if budget.deployment in {None, deployment.name, deployment.model}
        )

    def _account(self, budget: Budget, deployment: Deployment) -> Account:
        at, value = datetime.fromtimestamp(self.now(), UTC), ""
        if budget.each == "deployment":
            value = deployment.name
        elif budget.each is not None:
            value = str(getattr(self.spender, budget.each))
        match budget.per:
            case "day":
                window = f"{at:%Y-%m-%d}"
            case "month":
                window = f"{at:%Y-%m}"
            case "run":
                window = self.spender.run
        remedy = IN_CODE if budget.scope == self.own_scope else IN_FILE
        if budget.per != "run":
            remedy += f", or wait for the next {budget.per} (UTC)"
        label = budget.label_of(value)
        return Account(budget.scope, window, value, budget.usd, label, remedy)


def purse_of(
    budgets: Iterable[Budget],
    own_usd: float | None,
    spender: Spender,
    now: Callable[[], float],
) -> Purse | None:
    """Return the budgets that hold for a spender, None for none. `own_usd`: the step's own.

    Where the step's own has a namesake in tierflow.toml, the smaller one holds.
    """
    held = {each.scope: each for each in budgets if _holds(each, spender)}
    own_scope = ""
    if own_usd is not None:
        own = Budget(usd=own_usd, per="run", step=spender.step)
        if own.scope not in held or own_usd <= held[own.scope].usd:
            held[own.scope], own_scope = own, own.scope
    return Purse(tuple(held.values()), spender, now, own_scope) if held else None


def _holds(budget: Budget, spender: Spender) -> bool:
    return (
        budget.flow in {None, spender.flow}
        and budget.step in {None, spender.step}
        and budget.tenant in {None, spender.tenant}
    )


def refuse_unpriced(purse: Purse, deployments: Iterable[Deployment]) -> None:
    """Raise ConfigError for a deployment that a budget holds for and whose price is not known."""
    for deployment in deployments:
        accounts = purse.accounts(deployment)
        if accounts and prices_of(deployment) is None:
            raise ConfigError(
                f"{deployment.name} has no known price, and the budget {accounts[0].label} holds "
                "for it. Give it input_usd_per_mtok and output_usd_per_mtok in tierflow.toml (0 "
                "for what is free), or leave it out of the budget."
            )
