"""Gate: may this judge accept here and now? A pure decision; what is not proven is closed."""

from dataclasses import dataclass
from typing import Literal

from .calibration import MAX_AGE_S, Binding, Calibration
from .store import State

Cause = Literal[
    "missing",
    "stale",
    "foreign",
    "unproven",
    "pointless",
    "unknown stratum",
    "drift",
    "by hand",
    "in doubt",
]

_DAY_S = 86_400.0

_SKEW_S = 300.0
"""Clocks of two machines may differ by this much."""

_REMEDY = "Run `tierflow judge calibrate`"


@dataclass(frozen=True, slots=True)
class Open:
    """The judge may accept replies that score `threshold` or more. `reason`: what proved it."""

    threshold: float
    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The judge may accept nothing; the strong tier answers. `reason`: fact, then remedy."""

    cause: Cause
    reason: str


def decide(
    calibration: Calibration | None,
    bound_to: Binding,
    now: float,
    max_age_s: float = MAX_AGE_S,
    *,
    stratum: str | None = None,
    state: State | None = None,
) -> Open | Closed:
    """Return whether a judge may accept, by its newest calibration and what came after.

    `bound_to`: what the step asks and judges with now. `now`: seconds since 1970. `stratum`: of
    the question; None if unknown, which only a gate that is open in all strata lets through.
    `state`: what the store knows of audits and of hands.
    """
    if state is not None and state.hand is not None and state.hand.closed:
        by = f"{state.hand.who}: {state.hand.why}"
        return Closed("by hand", f"Closed by hand ({by}). Run `tierflow judge open` to undo it.")
    if calibration is None:
        return Closed("missing", f"The judge has no calibration. {_REMEDY}.")
    return (
        _by_binding(calibration, bound_to)
        or _by_age(now - calibration.at, max_age_s)
        or _by_audits(calibration, state)
        or _by_strata(calibration, stratum)
    )


def changed(kept: Binding, in_use: Binding) -> str:
    """Say in words what is not the same, "" for nothing."""
    return " and ".join(", ".join(in_use.differs(kept)).rsplit(", ", 1))


def overdue(age_s: float, max_age_s: float) -> str:
    """Say why something of that age does not count any more, "" if it does."""
    if age_s < -_SKEW_S:
        return f"dated {-age_s:.0f} s in the future. Set the clock"
    # Written so that an age that is no number is too much.
    if age_s <= max_age_s:
        return ""
    return f"{age_s / _DAY_S:.1f} days old, over the {max_age_s / _DAY_S:g} allowed"


def _by_binding(calibration: Calibration, bound_to: Binding) -> Closed | None:
    what = changed(calibration.bound_to, bound_to)
    if not what:
        return None
    return Closed(
        "foreign", f"The judge was calibrated for another {what} than in use now. {_REMEDY}."
    )


def _by_age(age_s: float, max_age_s: float) -> Closed | None:
    why = overdue(age_s, max_age_s)
    return Closed("stale", f"The calibration is {why}. {_REMEDY}.") if why else None


def _by_audits(calibration: Calibration, state: State | None) -> Closed | None:
    if state is None:
        return None
    if state.calibration != calibration.id:
        # Read between two writes of another process: its audits are not known here.
        return Closed("in doubt", "The judge is being calibrated anew. The next call looks again.")
    if state.alarmed_at is None:
        return None
    return Closed(
        "drift",
        f"Audits show less than {calibration.watch_floor:.0%} of accepted answers right "
        f"({state.right} of {state.audited} were). {_REMEDY}.",
    )


def _by_strata(calibration: Calibration, stratum: str | None) -> Open | Closed:
    if stratum is None:
        found = calibration.pooled
    elif stratum in calibration.strata:
        found = calibration.strata[stratum]
    else:
        known = ", ".join(calibration.strata) or "none"
        return Closed(
            "unknown stratum",
            f"Nothing was measured in the stratum {stratum!r:.60}. Known: {known}. {_REMEDY} with "
            "labels of it.",
        )
    if calibration.pointless:
        return Closed("pointless", f"{calibration.pointless}. Drop the cascade.")
    if not found.opens:
        return Closed(
            "unproven",
            f"Not proven: {found.reason}. {_REMEDY} with more labels, or use a better judge.",
        )
    return Open(calibration.threshold, found.reason)
