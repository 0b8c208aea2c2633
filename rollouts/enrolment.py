"""Enrolment: which arm answers a call, decided once for a flow run and all below it."""

from dataclasses import dataclass, replace
from typing import Self

from .assignment import arm_of
from .observations import Arm, Observation, PairSeen
from .state import RolloutState
from .terms import QualityTerms


@dataclass(frozen=True, slots=True)
class Pin:
    """What a root flow run was told of a rollout when it first asked, and keeps to its end.

    Under which epoch and weight its units are assigned. Written as "3:0.25".
    """

    epoch: int
    weight: float

    @classmethod
    def of(cls, state: RolloutState) -> Self:
        """Return how a rollout stands now."""
        return cls(state.epoch, state.weight)

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Read what `str` wrote; None for anything else."""
        epoch, _, weight = text.partition(":")
        try:
            return cls(int(epoch), float(weight))
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.epoch}:{self.weight!r}"


@dataclass(frozen=True, slots=True)
class Footing:
    """Where a rollout stands for a call. `run`: its root flow run, None outside of one.

    `is_off`: this process has switched its candidate off, see Enrolling.
    """

    state: RolloutState
    pin: Pin
    run: str | None
    is_off: bool = False


@dataclass(frozen=True, slots=True)
class Shadow:
    """How the candidate is asked beside the baseline: of which share of calls, how often at most.

    `rpm`: a minute and process. `usd_a_day`: None for no limit. `evaluations`: what is compared.
    """

    share: float
    rpm: float
    usd_a_day: float | None
    evaluations: frozenset[str]


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The arm of a call. `counts`: whether what it shows is evidence of the rollout.

    `shadow`: how the candidate is asked as well, None where it is not.
    """

    rollout: str
    unit: str
    arm: Arm
    epoch: int
    counts: bool
    shadow: Shadow | None = None

    @property
    def other(self) -> "Enrolment":
        """The candidate of the same unit, in the shadow."""
        return replace(self, arm="candidate", shadow=None)

    @property
    def label(self) -> str:
        """Name the arm, for keys, rows, spans and tags."""
        return f"{self.rollout}/{self.arm}"


def enrolment(footing: Footing, unit: str) -> Enrolment:
    """Return the arm of a unit. A rollout that was taken back overrides what was pinned."""
    state, pin = footing.state, footing.pin
    is_back = state.phase == "degraded" or footing.is_off
    is_under_way = state.phase in ("progressing", "paused")
    arm = arm_of(state.rollout, unit, 0.0 if is_back else pin.weight)
    is_compared = state.in_shadow and arm == "baseline" and not footing.is_off
    return Enrolment(
        rollout=state.rollout,
        unit=unit,
        arm=arm,
        epoch=pin.epoch,
        # Who was switched off is left out: its arm was no longer the luck of the draw.
        counts=is_under_way and not footing.is_off,
        shadow=_shadow(state) if is_compared else None,
    )


def _shadow(state: RolloutState) -> Shadow:
    terms = state.terms
    metrics = (*terms.guardrails, *terms.signals)
    compared = frozenset(each.evaluation for each in metrics if isinstance(each, QualityTerms))
    return Shadow(terms.shadow_share, terms.shadow_rpm, terms.shadow_usd_a_day, compared)


@dataclass(frozen=True, slots=True)
class Enrol:
    """Effect: ask where a rollout stands. Sends back a Footing; None if nobody started it."""

    rollout: str
    flow_run_id: str | None


@dataclass(frozen=True, slots=True)
class Observe:
    """Effect: keep what a call showed. Sends back None."""

    rollout: str
    seen: Observation


@dataclass(frozen=True, slots=True)
class MayShadow:
    """Effect: ask for leave to ask the candidate in the shadow. Sends back whether it is given."""

    rollout: str
    rpm: float


@dataclass(frozen=True, slots=True)
class Compare:
    """Effect: keep what both arms made of one question. Sends back None."""

    rollout: str
    pair: PairSeen
