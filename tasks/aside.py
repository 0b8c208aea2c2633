"""Aside: what proving, teaching or evaluating asks, beside the step's own answers.

It is accounted for under a step of its own, "STEP (calibration)": a row of the ledger each.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, TypeVar

from ..request import Request
from ..routing import Trail
from ..tracing import Within, span_ids, within_step
from .account import answer_without, calls_of, row_of
from .spec import Account
from .step import Plan, Step

T = TypeVar("T")
Kind: TypeAlias = Literal["calibration", "evaluation", "route", "shadow", "training"]


@dataclass(frozen=True, slots=True)
class Aside:
    """What was asked about one thing so far. `trails`: a tier's, or a judge's, each."""

    kind: Kind
    trails: list[Trail] = field(default_factory=list[Trail])

    def trail(self, step: Step[Any], trail: Trail | None = None) -> Trail:
        """Return a new trail, or the one that is given: what is paid on it is accounted for."""
        self.trails.append(Trail(purse=step.trail.purse) if trail is None else trail)
        return self.trails[-1]

    @property
    def cost_usd(self) -> float | None:
        """What all of it cost; None if a reply has no price."""
        return self._whole().cost_usd

    def within(self, step: Step[Any], tier: str, plan: Plan[T]) -> Within:
        """Return the effect that carries out a plan in a span of its own, and accounts for it.

        `tier`: the one whose answers it is about.
        """
        request = replace(step.request, step=f"{step.spec.name} ({self.kind})")
        return within_step(request, tier, step.around.where, self._accounted(step, request, plan))

    def _accounted(self, step: Step[Any], request: Request, plan: Plan[T]) -> Plan[T]:
        ids = span_ids()
        try:
            result = yield from plan
        except BaseException as error:
            # What was paid was paid, also for an item that has no outcome.
            yield self._account(step, request, ids, outcome=type(error).__name__)
            raise
        yield self._account(step, request, ids, outcome="ok")
        return result

    def _account(
        self, step: Step[Any], request: Request, ids: tuple[str | None, str | None], *, outcome: str
    ) -> Account:
        whole = self._whole()
        answer = replace(
            answer_without(request, whole, "off"),
            tier=", ".join(dict.fromkeys(each.tier for each in whole.replies)) or whole.tier,
            model=", ".join(dict.fromkeys(each.model for each in whole.replies)),
            latency_ms=step.latency_ms,
            trace_id=ids[0],
            span_id=ids[1],
            ref=step.around.new_ref(),
        )
        row = row_of(answer, request, step.around.where, outcome=outcome)
        return Account(row, calls_of(whole, answer.ref))

    def _whole(self) -> Trail:
        return Trail(
            [attempt for each in self.trails for attempt in each.attempts],
            tier=next((each.tier for each in reversed(self.trails) if each.tier), ""),
        )
