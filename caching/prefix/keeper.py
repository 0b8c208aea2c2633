"""Keeper: plans each call's prefix from what this process has seen. Waits for nobody itself."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace

from ...request import CachePlan, Request
from ...settings import Deployment
from ...tracing import prices_of
from .fanout import current_fanout
from .fingerprint import Boundary, boundaries_of
from .history import Evidence, History
from .planner import Decision, Prefix, Reuse, decide
from .vendors import Vendor, least_tokens, unit_prices, vendor_of
from .warmth import Warmth

PEEK_S = 0.5
"""The longest that the first call of a fan-out waits to see whether the next has its prefix."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """A call's plan so far. `undecided`: ends with the step's next call, which would tell more."""

    plan: CachePlan
    undecided: Future[None] | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One call: what is asked, of whom, in which step.

    `left`: calls of its fan-out that began after it, or will; None outside of one. It is counted
    once, so that calls which begin at the same moment still expect one another.
    """

    deployment: Deployment
    request: Request
    vendor: Vendor
    ends: tuple[Boundary, ...]
    group: str
    left: int | None


class Keeper:
    """Plans calls. `environ`: see `vendor_of`; `clock`: monotonic seconds."""

    def __init__(self, environ: Mapping[str, str], clock: Callable[[], float]) -> None:
        self._environ = environ
        self._history = History(clock)
        self.warmth = Warmth(clock)

    def call(
        self, deployment: Deployment, request: Request, *, role: str, is_first: bool = True
    ) -> Call:
        """Return a call, ready to be planned.

        `role`: why it is asked; each has a history. `is_first`: it is its step's first attempt.
        """
        fanout = current_fanout()
        left = None if fanout is None else fanout.begin() if is_first else fanout.left
        vendor = vendor_of(deployment, self._environ)
        # Whoever keeps nothing is spared the hashing.
        ends = () if vendor.dialect == "none" else boundaries_of(request, deployment, vendor)
        group = f"{request.step}/{role}/{deployment.name}"
        return Call(deployment, request, vendor, ends, group, left)

    def outlook(self, call: Call) -> Outlook:
        """Plan a call and count it."""
        if not call.ends:
            return Outlook(self._plan(call, ()))
        sight = self._history.see(call.group, [end.key for end in call.ends])
        plan = self._plan(call, sight.evidence)
        is_marked = call.vendor.dialect != "automatic"
        is_open = sight.evidence[-1].is_none and bool(call.left) and is_marked
        return Outlook(plan, sight.next if is_open and not plan.marks else None)

    def second_look(self, call: Call) -> CachePlan:
        """Plan a call that was counted before, now that others were seen."""
        return self._plan(
            call, self._history.look_again(call.group, [end.key for end in call.ends])
        )

    def _plan(self, call: Call, evidence: tuple[Evidence, ...]) -> CachePlan:
        held = self.warmth.held(call.ends[-1].key) if call.ends else None
        if held is not None:
            # A mark that changes, such as its time, may be written anew.
            return held
        reuses = tuple(each.reuse(call.left) for each in evidence)
        plan = decision_of(call.deployment, call.vendor, call.ends, reuses).plan
        if plan.marks and self.warmth.is_refused(plan.key):
            told = "the provider was seen not to keep this prefix: it is too short"
            return replace(plan, marks=(), ttl=None, key="", warm_up=False, reason=told)
        return plan


def decision_of(
    deployment: Deployment, vendor: Vendor, ends: tuple[Boundary, ...], reuses: tuple[Reuse, ...]
) -> Decision:
    """Return the planner's decision at a deployment's prices."""
    longest = ends[-1].tokens if ends else 0
    prices = prices_of(deployment)
    known = unit_prices(vendor) if prices is None else prices.at(longest)
    return decide(Prefix(vendor, known, least_tokens(deployment, vendor), ends, reuses))
