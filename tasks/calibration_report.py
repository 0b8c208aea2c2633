"""Calibration report: what a calibration found, as Markdown for the Prefect UI. Computes only."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from .calibration import Outcome, Proof

Floats = NDArray[np.float64]

_BINS = 10
_BAR = 20


def markdown(proof: Proof, outcomes: Sequence[Outcome]) -> str:
    """Return the decision, a reliability diagram and the cost-quality curve of all outcomes."""
    calibration = proof.calibration
    proved = sum(each.counts.count for each in calibration.strata.values())
    state = "open" if calibration.pooled.opens else "closed"
    return "\n".join(
        (
            f"# {calibration.step}: {state}",
            "",
            (
                f"{calibration.reason}. Proven with confidence {calibration.confidence:g} on the "
                f"{proved} of {proof.items} items that did not choose the threshold."
            ),
            "",
            (
                f"Accepted is a score of {calibration.threshold:.3g} or more: {proof.accepted:.0%} "
                f"of the items. Right: cheap tier {proof.weak_right:.1%}, strongest tier "
                f"{proof.strong_right:.1%}, cascade {proof.cascade_right:.1%}. "
                f"{_saved(proof)}"
            ),
            "",
            "## Strata",
            "",
            "| stratum | items | state | why |",
            "| --- | --- | --- | --- |",
            *(
                f"| {name} | {each.counts.count} | {'open' if each.opens else 'closed'} "
                f"| {each.reason} |"
                for name, each in calibration.strata.items()
            ),
            "",
            "## Reliability of the judge's scores",
            "",
            "| score | items | right | |",
            "| --- | --- | --- | --- |",
            *_reliability(outcomes),
            "",
            *_curve(outcomes, calibration.threshold),
        )
    )


def _saved(proof: Proof) -> str:
    if proof.saving is None:
        return "What it saves is unknown: a price is missing."
    return f"It saves {proof.saving:.0%} of what the strongest tier alone costs, judge included."


def _reliability(outcomes: Sequence[Outcome]) -> Iterable[str]:
    scores = np.array([each.score for each in outcomes])
    right = np.array([each.right for each in outcomes])
    bins = np.minimum((scores * _BINS).astype(int), _BINS - 1)
    for number in range(_BINS):
        here = bins == number
        if here.any():
            share = float(right[here].mean())
            bar = "█" * round(_BAR * share)
            low, high = number / _BINS, (number + 1) / _BINS
            yield f"| {low:.1f}-{high:.1f} | {here.sum()} | {share:.0%} | {bar} |"


def _curve(outcomes: Sequence[Outcome], chosen: float) -> Iterable[str]:
    costs = [_costs(outcomes, name) for name in ("weak_usd", "judge_usd", "strong_usd")]
    if any(each is None for each in costs):
        return
    weak, judge, strong = (np.asarray(each, np.float64) for each in costs)
    right = np.array([each.right for each in outcomes], np.float64)
    best = np.array([each.strong_right for each in outcomes], np.float64)
    scores = np.array([each.score for each in outcomes])
    yield from (
        "## Quality and cost",
        "",
        "| policy | right | cost, USD | saving |",
        "| --- | --- | --- | --- |",
    )
    total = strong.sum()
    share = float((weak + judge).sum() / total) if total else 0.0
    policies: list[tuple[str, Floats, float]] = [
        ("cheap tier alone", right, float(weak.sum())),
        ("half and half, at random", (right + best) / 2, float((weak + strong).sum() / 2)),
        ("strongest tier alone", best, float(total)),
        # It knows both answers, and pays for one.
        ("oracle", np.maximum(right, best), float(np.where(right >= best, weak, strong).sum())),
        (
            "perfect judge",
            np.where(right > 0, right, best),
            float((weak + np.where(right > 0, 0.0, strong)).sum()),
        ),
    ]
    for line in _lines(scores, chosen):
        kept = scores >= line
        name = f"accepted at {line:.3g}" + (" (chosen)" if line == chosen else "")
        cost = float((weak + judge + np.where(kept, 0.0, strong)).sum())
        policies.append((name, np.where(kept, right, best), cost))
    for name, quality, cost in policies:
        saving = 1 - cost / total if total else 0.0
        yield f"| {name} | {quality.mean():.1%} | {cost:.4f} | {saving:.0%} |"
    yield ""
    yield f"Cheap answer and judge together cost {share:.0%} of the strongest tier's answer."


def _lines(scores: Floats, chosen: float) -> list[float]:
    seen = np.unique(scores)
    some = seen if len(seen) <= _BINS else np.quantile(seen, np.linspace(0, 1, _BINS))
    return sorted({*map(float, some), chosen})


def _costs(outcomes: Sequence[Outcome], name: str) -> list[float] | None:
    costs: list[float | None] = [getattr(each, name) for each in outcomes]
    known = [cost for cost in costs if cost is not None]
    return known if len(known) == len(costs) else None
