"""Till: the money side of one request's way through a tier. Decides only."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import AttemptError, BudgetExhaustedError
from ...request import Request, Usage
from ...settings import Deployment
from ...tracing import prices_of
from ..expecting import expected_usage
from ..tiers import NamedTier
from .accounts import Purse, refuse_unpriced
from .effects import Reserve, Reserved, Settle, Short, TellExhausted

_FIRST_POLL_S = 0.1
_LONGEST_POLL_S = 2.0
_MARGIN_S = 60.0
_LONGEST_STREAM_S = 600.0
_FREE = Reserved()
"""For what no budget holds for, or what costs nothing."""


@dataclass(slots=True)
class Till:
    """What one request may still be paid from. `shorts`: by deployment, what did not fit."""

    purse: Purse | None
    tier: NamedTier
    request: Request
    shorts: dict[str, Short] = field(default_factory=dict[str, Short])
    poll_s: float = _FIRST_POLL_S
    _usage: Usage | None = None

    def reserve(
        self, deployment: Deployment, *, wait_s: float, streamed: bool
    ) -> Generator[Any, Any, Reserved | None]:
        """Set aside what a call will likely cost; None where that does not fit.

        `wait_s`: how long it may still take until it is made.
        """
        accounts = self.purse.accounts(deployment) if self.purse is not None else ()
        if self.purse is None or not accounts:
            return _FREE
        refuse_unpriced(self.purse, (deployment,))
        usd = self._likely_usd(deployment)
        if not usd:
            return _FREE
        tier = self.tier.tier
        lease_s = wait_s + 2 * tier.timeout_s + _MARGIN_S + (_LONGEST_STREAM_S if streamed else 0)
        found: Reserved | Short = yield Reserve(accounts, usd, lease_s)
        if isinstance(found, Short):
            self.shorts[deployment.name] = found
            return None
        return found

    def settle(self, reserved: Reserved, usd: float) -> Generator[Any, Any, None]:
        """Book what a call has cost."""
        if reserved.accounts:
            yield Settle(reserved, usd)

    @property
    def may_fit(self) -> bool:
        """Whether it may help to wait for the calls under way, which seldom cost all they might."""
        return any(each.may_fit for each in self.shorts.values())

    def look_again(self) -> None:
        """Try them all again, and wait longer the next time."""
        self.shorts.clear()
        self.poll_s = min(2 * self.poll_s, _LONGEST_POLL_S)

    def exhausted(
        self, failures: Sequence[AttemptError]
    ) -> Generator[Any, Any, BudgetExhaustedError]:
        """Tell people, and return the error that names what was closest to fitting."""
        name, short = min(self.shorts.items(), key=lambda each: each[1].needed)
        account = short.account
        held = f", ${short.held:.4g} set aside for calls under way" if short.held else ""
        tried = "".join(f" Before that: {each}." for each in failures)
        message = (
            f"The budget {account.label} is exhausted: ${short.spent:.4g} of ${account.usd:g} spent"
            f"{held}, and a call of {name} would likely cost ${short.needed:.4g}. It was not made. "
            f"{account.remedy}; or bound replies with a lower max_tokens.{tried}"
        )
        if self.purse is not None:
            spender = self.purse.spender
            yield TellExhausted(account, spender.step, spender.run, message.removesuffix(tried))
        return BudgetExhaustedError(
            message,
            budget=account.label,
            limit_usd=account.usd,
            spent_usd=short.spent,
            held_usd=short.held,
            needed_usd=short.needed,
        )

    def _likely_usd(self, deployment: Deployment) -> float:
        if self._usage is None:
            self._usage = expected_usage(self.request, self.tier)
        prices = prices_of(deployment)
        return 0.0 if prices is None else prices.cost_usd(self._usage)
