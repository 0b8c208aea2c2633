"""Budget effects: money set aside before a call, and put right after it."""

from dataclasses import dataclass

from .accounts import Account


@dataclass(frozen=True, slots=True)
class Reserve:
    """Set money aside in all of these accounts, or in none. Sends back a Reserved or a Short.

    `lease_s`: if nothing is heard of the call, the money is free again after so long.
    """

    accounts: tuple[Account, ...]
    usd: float
    lease_s: float


@dataclass(frozen=True, slots=True)
class Reserved:
    """Money that was set aside. `id`: names it in its store. `alone`: not in the shared one."""

    accounts: tuple[Account, ...] = ()
    usd: float = 0.0
    id: str = ""
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Short:
    """An account that does not have it. USD: `spent`, `held` for calls under way, `needed`."""

    account: Account
    spent: float
    held: float
    needed: float

    @property
    def may_fit(self) -> bool:
        """Whether it may fit once the calls under way have cost what they cost."""
        return fits(self.spent + self.needed, self.account.usd)


@dataclass(frozen=True, slots=True)
class Settle:
    """Put right what was reserved: a call has cost `usd`. Sends back None."""

    reserved: Reserved
    usd: float


@dataclass(frozen=True, slots=True)
class TellExhausted:
    """Tell people, once a run, that a budget is exhausted. Sends back None.

    `step`: whose call was not made.
    """

    account: Account
    step: str
    run: str
    message: str


def fits(usd: float, limit_usd: float) -> bool:
    """Tell whether a sum is within a limit, but for what adding floats leaves over."""
    return usd <= limit_usd * (1 + 1e-9)
