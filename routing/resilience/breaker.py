"""Breaker: may a deployment be asked? Closed, open, half-open. Pure: the clock is an argument.

What is here is what workers share. A transition is a function of the breaker and the time, so it
can be applied to this process's copy at once and to the store's afterwards.
"""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from ...settings import BreakerSettings

Phase: TypeAlias = Literal["closed", "open", "half-open"]

WARY_S = 30.0
_MOST_WARY_S = 300.0
_POLL_S = 0.25
"""Whoever waits for another's probe looks again after so long."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """The state of one deployment's breaker. All times are of one clock, in seconds.

    `strikes`: failures since the last reply. `wary_until`: stands behind its tier's others until
    then. `openings`: how often it opened since it was last closed; 0: closed. `open_until`:
    half-open after that. `slow`: it opened for slowness, so it is asked when nobody else is left.
    `not_before`: the end of the provider's Retry-After. `probe_until`, `probe_owner`: who may try
    a half-open one, and until when nobody else may.
    """

    strikes: int = 0
    wary_until: float = 0.0
    openings: int = 0
    open_until: float = 0.0
    slow: bool = False
    not_before: float = 0.0
    probe_until: float = 0.0
    probe_owner: str = ""

    def phase(self, now: float) -> Phase:
        """Return closed, open or half-open."""
        if not self.openings:
            return "closed"
        return "open" if now < self.open_until else "half-open"

    def awaits_probe(self, now: float) -> bool:
        """Tell whether it is half-open and nobody tries it."""
        return self.phase(now) == "half-open" and self.probe_until <= now

    def wait_s(self, now: float) -> float:
        """Return for how long it is not to be asked, 0 for now."""
        told_s = max(0.0, self.not_before - now)
        match self.phase(now):
            case "open" if not self.slow:
                return max(told_s, self.open_until - now)
            case "half-open" if not self.slow and self.probe_until > now:
                return max(told_s, min(_POLL_S, self.probe_until - now))
            case _:
                return told_s

    def place(self, now: float) -> int:
        """Return 0 for well (or to be tried), 1 for one that failed lately, 2 for a slow one."""
        if self.openings:
            return 0 if self.awaits_probe(now) else 2
        return int(self.wary_until > now)

    def shifted(self, seconds: float) -> "Breaker":
        """Return it by a clock that is so many seconds ahead. A time of 0 was never set."""

        def moved(at: float) -> float:
            return at + seconds if at else 0.0

        return replace(
            self,
            wary_until=moved(self.wary_until),
            open_until=moved(self.open_until),
            not_before=moved(self.not_before),
            probe_until=moved(self.probe_until),
        )


CLOSED = Breaker()


def failed(breaker: Breaker, now: float, rules: BreakerSettings, probe: str = "") -> Breaker:
    """Return it after a failure. Enough of them in a row open it; a failed probe reopens it."""
    if breaker.openings:
        # A call that began before it opened says nothing new.
        is_probe = probe != "" and probe == breaker.probe_owner
        return _open(breaker, now, rules, slow=False) if is_probe else breaker
    strikes = breaker.strikes + 1
    if strikes >= rules.failures_in_a_row:
        return _open(breaker, now, rules, slow=False)
    return _wary(replace(breaker, strikes=strikes), now)


def told_to_wait(breaker: Breaker, now: float, seconds: float, probe: str = "") -> Breaker:
    """Return it after a Retry-After. That does not open it: the provider has said when to come."""
    until = max(breaker.not_before, now + seconds)
    if breaker.openings:
        return replace(released(breaker, probe), not_before=until)
    return _wary(replace(breaker, not_before=until), now)


def replied(breaker: Breaker, probe: str = "") -> Breaker:
    """Return it after a reply: well again. A half-open one closes if the reply is its probe's.

    A Retry-After stands: the reply may have been under way before it was given.
    """
    if breaker.openings:
        is_probe = probe != "" and probe == breaker.probe_owner
        return Breaker(not_before=breaker.not_before) if is_probe else breaker
    if not (breaker.strikes or breaker.wary_until):
        return breaker
    return replace(breaker, strikes=0, wary_until=0.0)


def tripped(
    breaker: Breaker, now: float, rules: BreakerSettings, *, slow: bool, probe: str = ""
) -> Breaker:
    """Return it opened, because too many recent calls failed or were slow, or its probe was."""
    is_probe = probe != "" and probe == breaker.probe_owner
    if breaker.openings and not is_probe:
        return breaker
    return _open(breaker, now, rules, slow=slow)


def probing(breaker: Breaker, now: float, owner: str, lease_s: float) -> Breaker:
    """Return it with its probe leased to `owner`, or as it is if there is none to be had."""
    if not breaker.awaits_probe(now):
        return breaker
    return replace(breaker, probe_owner=owner, probe_until=now + lease_s)


def released(breaker: Breaker, probe: str) -> Breaker:
    """Return it with a probe given back that told nothing: it was cancelled, say."""
    if not probe or breaker.probe_owner != probe:
        return breaker
    return replace(breaker, probe_owner="", probe_until=0.0)


def _open(breaker: Breaker, now: float, rules: BreakerSettings, *, slow: bool) -> Breaker:
    # The exponent is bounded, for a float is not.
    longer = 2.0 ** min(breaker.openings, 32)
    return Breaker(
        openings=breaker.openings + 1,
        open_until=now + min(rules.max_open_s, rules.open_s * longer),
        slow=slow,
        not_before=breaker.not_before,
    )


def _wary(breaker: Breaker, now: float) -> Breaker:
    longer = 2.0 ** min(max(breaker.strikes - 1, 0), 8)
    until = max(breaker.wary_until, now + min(_MOST_WARY_S, WARY_S * longer))
    return replace(breaker, wary_until=until)
