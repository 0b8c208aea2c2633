"""Calibration report: what a calibration found, as Markdown for the Prefect UI. Computes only."""

from collections.abc import Iterable, Sequence

from .bins import bins_of
from .calibration import Outcome, Proof
from .curve import Curve, Policy, curve_of
from .lengths import by_length
from .pictures import curve_picture, reliability_picture

_MOST_ROWS = 10


def markdown(proof: Proof, outcomes: Sequence[Outcome]) -> str:
    """Return the decision, a reliability diagram and the cost-quality curve of all outcomes."""
    calibration = proof.calibration
    proved = sum(each.counts.count for each in calibration.strata.values())
    return "\n".join(
        (
            f"# {calibration.step}: {calibration.state}",
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
            *_reliability(outcomes, calibration.threshold),
            *by_length(outcomes, calibration.threshold),
            *_curve(curve_of(outcomes), calibration.threshold),
        )
    )


def _saved(proof: Proof) -> str:
    if proof.saving is None:
        return "What it saves is unknown: a price is missing."
    return f"It saves {proof.saving:.0%} of what the strongest tier alone costs, judge included."


def _reliability(outcomes: Sequence[Outcome], threshold: float) -> Iterable[str]:
    bins = bins_of(outcomes, threshold)
    yield from (
        "## Reliability of the judge's scores",
        "",
        f"![Share of right replies by the judge's score]({reliability_picture(bins, threshold)})",
        "",
        "Above the dashed line replies are right more often than their score says. Blue: accepted.",
        "",
        "| score | items | accepted | right | 95 % interval |",
        "| --- | --- | --- | --- | --- |",
    )
    for each in bins:
        low, high = each.interval
        counts = f"{each.items} | {each.accepted} | {each.share:.0%}"
        yield f"| {each.low:.1f}-{each.high:.1f} | {counts} | {low:.0%} to {high:.0%} |"
    yield ""


def _curve(curve: Curve | None, chosen: float) -> Iterable[str]:
    if curve is None:
        return
    yield from ("## Quality and cost", "")
    if curve.strong.cost_usd:
        yield f"![Share of right answers by cost]({curve_picture(curve, chosen)})"
        yield ""
    yield from ("| policy | right | cost, USD | saving |", "| --- | --- | --- | --- |")
    total = curve.strong.cost_usd
    for policy in _policies(curve, chosen):
        saving = 1 - policy.cost_usd / total if total else 0.0
        mark = " (chosen)" if policy.threshold == chosen else ""
        cells = (f"{policy.right:.1%}", f"{policy.cost_usd:.4f}", f"{saving:.0%}")
        yield f"| {policy.name}{mark} | {' | '.join(cells)} |"
    yield ""
    share = curve.first_share
    yield f"Cheap answer and judge together cost {share:.0%} of the strongest tier's answer."


def _policies(curve: Curve, chosen: float) -> Iterable[Policy]:
    yield from (curve.cheap, curve.mixed, curve.strong, curve.oracle, curve.perfect)
    for threshold in curve.thresholds(chosen, _MOST_ROWS):
        yield curve.accepting(threshold)
