"""Keeper: plans each call's prefix from what this process has seen. Waits for nobody itself."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace

from ...request import CachePlan, Request
from ...settings import Deployment
from ...tracing import prices_of
from .fanout import Fanout, current_fanout
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
    """One call: what is asked, of whom, in which step."""

    deployment: Deployment
    request: Request
    vendor: Vendor
    ends: tuple[Boundary, ...]
    group: str
    fanout: Fanout | None


class Keeper:
    """Plans calls. `environ`: see `vendor_of`; `clock`: monotonic seconds."""

    def __init__(self, environ: Mapping[str, str], clock: Callable[[], float]) -> None:
        self._environ = environ
        self._history = History(clock)
        self.warmth = Warmth(clock)

    def call(self, deployment: Deployment, request: Request, *, role: str) -> Call:
        """Return a call, ready to be planned. `role`: why it is asked; each has a history."""
        vendor = vendor_of(deployment, self._environ)
        # Whoever keeps nothing is spared the hashing.
        ends = () if vendor.dialect == "none" else boundaries_of(request, deployment, vendor)
        group = f"{request.step}/{role}/{deployment.name}"
        return Call(deployment, request, vendor, ends, group, current_fanout())

    def outlook(self, call: Call, *, is_first: bool = True) -> Outlook:
        """Plan a call and count it. `is_first`: it is its step's first attempt."""
        if call.fanout is not None and is_first:
            call.fanout.begin()
        if not call.ends:
            return Outlook(self._plan(call, ()))
        sight = self._history.see(call.group, [end.key for end in call.ends])
        plan = self._plan(call, sight.evidence)
        more = call.fanout is not None and call.fanout.left > 0
        is_open = sight.evidence[-1].is_none and more and call.vendor.dialect != "automatic"
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
        left = None if call.fanout is None else call.fanout.left
        reuses = tuple(each.reuse(left) for each in evidence)
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
