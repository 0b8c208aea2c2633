"""Economics: can a cascade of these two tiers pay at all? Says so in one sentence if not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .threshold import Refusal, equal_quality_threshold

Floats = NDArray[np.float64]

LEAST_PRICE_RATIO = 5.0
"""Strong over weak. Below it a first try that is thrown away costs what accepted ones save."""

LEAST_SAVING = 0.1
"""Share of the strong tier's cost. Less does not pay for a second call's wait."""


@dataclass(frozen=True, slots=True)
class Worth:
    """What a cascade of two tiers promises on recorded items, all of its costs charged.

    `price_ratio`: strong over weak, helper not counted. `weak_only`, `strong_only`: quality that
    only one of them has, per item; p10 and p01. `break_even`: what share of right and of wrong
    replies a judge without a threshold must tell, lest it loses quality. `threshold`: of equal
    quality. `accepted`: share of items it accepts. `saving`: share of the strong tier's cost.
    """

    price_ratio: float
    weak_only: float
    strong_only: float
    break_even: float
    threshold: float
    accepted: float
    saving: float


def weigh(
    scores: Floats,
    losses: Floats,
    weak_cost: Floats,
    strong_cost: Floats,
    *,
    helper_cost: Floats | None = None,
) -> Worth:
    """Return what a cascade would save at equal quality.

    `scores`, `losses`: (n,), out of fold. `weak_cost`, `strong_cost`: (n,) USD of each call.
    `helper_cost`: (n,) of what the scorer asks besides, on every item.
    """
    threshold = equal_quality_threshold(scores, losses)
    accepted = scores >= threshold
    first = weak_cost.sum() + (0.0 if helper_cost is None else helper_cost.sum())
    spent = first + strong_cost[~accepted].sum()
    weak_only = float(np.maximum(-losses, 0).mean())
    strong_only = float(np.maximum(losses, 0).mean())
    differ = weak_only + strong_only
    return Worth(
        price_ratio=float(strong_cost.sum() / weak_cost.sum()),
        weak_only=weak_only,
        strong_only=strong_only,
        break_even=strong_only / differ if differ else 0.5,
        threshold=threshold,
        accepted=float(accepted.mean()),
        saving=float(1 - spent / strong_cost.sum()),
    )


def refuse(worth: Worth, *, weak: str, strong: str) -> Refusal | None:
    """Return why no cascade from `weak` to `strong` should be built; None if one should."""
    if worth.price_ratio < LEAST_PRICE_RATIO:
        return Refusal(
            f"No cascade: {strong} costs only {worth.price_ratio:.1f} times what {weak} does, and "
            f"below {LEAST_PRICE_RATIO:g} times a first try that is thrown away eats the saving. "
            f"Use one of them alone."
        )
    if worth.strong_only <= worth.weak_only:
        return Refusal(
            f"No cascade: {weak} alone is as good as {strong} ({worth.weak_only:.1%} of items only "
            f"it gets right, {worth.strong_only:.1%} only {strong}). Use {weak} alone."
        )
    if worth.saving < LEAST_SAVING:
        return Refusal(
            f"No cascade: at the quality of {strong} only {worth.accepted:.0%} of the replies of "
            f"{weak} can be kept, a saving of {worth.saving:.1%} of the cost, below the "
            f"{LEAST_SAVING:.0%} that pay ({strong} costs {worth.price_ratio:.1f} times as much "
            f"and alone is right on {worth.strong_only:.0%} of items, {weak} alone on "
            f"{worth.weak_only:.0%}: a judge must be right r* = {worth.break_even:.2f} of the "
            f"time)."
        )
    return None
