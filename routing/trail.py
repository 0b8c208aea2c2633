"""Trail: what one step has tried so far, and what that cost. Asks nobody."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from operator import add

from ..errors import AttemptError
from ..request import Reply, Usage, Verdict
from .budgets import Purse
from .effects import Role


def _for_ever() -> float:
    return math.inf


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call that has ended, with a `reply` or an `error`.

    `partial`: what must be paid for of a call that failed, or was left; see metering.py.
    """

    tier: str
    role: Role
    reply: Reply | None = None
    error: BaseException | None = None
    partial: Reply | None = None

    @property
    def paid(self) -> Reply | None:
        """What is billed of it, None for nothing."""
        return self.reply or self.partial


@dataclass(slots=True)
class Trail:
    """What one step has tried so far: its calls, as they ended, and verdicts.

    `tier`: the one that was asked last for the step's answer. `left_s`: returns the seconds until
    the step's deadline. `purse`: the budgets that all of it is paid from, None for none. `session`:
    the run that it belongs to, which keeps to one replica of a pool. `batch`: names the batch that
    it is an item of, 0 for none.
    """

    attempts: list[Attempt] = field(default_factory=list[Attempt])
    verdicts: list[Verdict] = field(default_factory=list[Verdict])
    tier: str = ""
    left_s: Callable[[], float] = _for_ever
    purse: Purse | None = None
    session: str = ""
    batch: int = 0

    @property
    def replies(self) -> list[Reply]:
        """What came back, in order."""
        return [each.reply for each in self.attempts if each.reply is not None]

    @property
    def failures(self) -> list[AttemptError]:
        """What failed, in order."""
        return [each.error for each in self.attempts if isinstance(each.error, AttemptError)]

    @property
    def paid(self) -> list[Reply]:
        """What is paid for, in order: replies, and what had arrived of others."""
        return [each.paid for each in self.attempts if each.paid is not None]

    @property
    def next_attempt(self) -> int:
        """The number of the attempt to come, from 1."""
        return len(self.attempts) + 1

    @property
    def usage(self) -> Usage:
        """The tokens of all that is paid for."""
        return reduce(add, (reply.usage for reply in self.paid), Usage())

    @property
    def cost_usd(self) -> float | None:
        """What all of that cost; None if a part has no price: unknown is not zero."""
        costs = [reply.cost_usd for reply in self.paid]
        return None if None in costs else sum(cost for cost in costs if cost is not None)
