"""Calibration pictures: how far a judge's scores can be trusted, and what its cascade costs.

Each is the `data:` URI of an image. Proves nothing.
"""

from collections.abc import Sequence
from math import inf

from ...tracing.pictures import (
    GROUND,
    INK,
    MAIN,
    OTHER,
    PALE,
    QUIET,
    SMALL,
    THIRD,
    WASH,
    Axes,
    data_uri,
    dress,
    new_figure,
)
from .bins import BINS, Bin
from .curve import Curve, Policy

_WIDTH_PX = 672
_MOST_THRESHOLDS = 200
_MOST_DOTS = 30


def reliability_picture(bins: Sequence[Bin], threshold: float) -> str:
    """Draw the share of right replies by the judge's score, and how many replies have it."""
    figure = new_figure(_WIDTH_PX, 520)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    _shares(upper, bins)
    _counts(lower, bins)
    for axes in (upper, lower):
        axes.axvspan(threshold, 1.05, color=WASH, zorder=0, linewidth=0)
        axes.axvline(threshold, color=MAIN, linewidth=1.2, zorder=1)
    upper.set_xlim(-0.05, 1.05)
    upper.set_xticks([number / BINS for number in range(0, BINS + 1, 2)])
    # Beyond the middle there is more room on the left.
    side = "right" if threshold > 0.5 else "left"
    upper.annotate(
        f"accepted from {threshold:.3g}",
        (threshold, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-2 if side == "right" else 2, 5),
        textcoords="offset points",
        ha=side,
        fontsize=SMALL,
        color=MAIN,
    )
    return data_uri(figure)


def _shares(axes: Axes, bins: Sequence[Bin]) -> None:
    dress(axes, y="right replies, %")
    axes.plot([0, 1], [0, 100], color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    below = [100 * max(each.share - each.interval[0], 0.0) for each in bins]
    above = [100 * max(each.interval[1] - each.share, 0.0) for each in bins]
    axes.errorbar(
        [each.score for each in bins],
        [100 * each.share for each in bins],
        yerr=(below, above),
        fmt="o",
        markersize=7,
        color=MAIN,
        markeredgecolor=GROUND,
        elinewidth=1.6,
        capsize=3,
        zorder=3,
    )
    axes.set_ylim(-5, 105)
    axes.set_yticks(range(0, 101, 20))
    axes.tick_params(labelbottom=False)


def _counts(axes: Axes, bins: Sequence[Bin]) -> None:
    dress(axes, x="judge's score, 0 to 1", y="replies")
    axes.grid(visible=False)
    middles = [(each.low + each.high) / 2 for each in bins]
    accepted = [each.accepted for each in bins]
    others = [each.items - each.accepted for each in bins]
    axes.bar(middles, accepted, width=0.9 / BINS, color=MAIN, zorder=2)
    bars = axes.bar(middles, others, bottom=accepted, width=0.9 / BINS, color=PALE, zorder=2)
    counts = [each.items for each in bins]
    axes.bar_label(bars, counts, padding=2, fontsize=SMALL, color=INK)
    axes.set_ylim(0, 1.35 * max(counts, default=1))
    axes.set_yticks([])


def curve_picture(curve: Curve, chosen: float) -> str:
    """Draw the share of right answers against the cost, for every way of choosing.

    `chosen`: the threshold that the calibration chose. The strongest tier must have cost something.
    """
    figure = new_figure(_WIDTH_PX, 520)
    axes = figure.subplots()
    dress(axes, x="cost, % of the strongest tier alone", y="right answers, %")
    cheap, strong = curve.cheap, curve.strong

    def place(*policies: Policy) -> tuple[list[float], list[float]]:
        costs = [100 * each.cost_usd / strong.cost_usd for each in policies]
        return costs, [100 * each.right for each in policies]

    axes.axhline(
        100 * max(cheap.right, strong.right),
        color=QUIET,
        linestyle=(0, (1, 2)),
        linewidth=1.2,
        label="best single tier",
    )
    axes.plot(
        *place(cheap, strong), color=QUIET, linestyle=(0, (4, 3)), linewidth=1.2, label="random mix"
    )
    lines = [*curve.thresholds(chosen, _MOST_THRESHOLDS), inf]
    cascades = [curve.accepting(line) for line in lines]
    axes.plot(
        *place(*cascades),
        color=MAIN,
        linewidth=1.8,
        marker="o" if len(lines) <= _MOST_DOTS else "",
        markersize=4,
        label="cascade, by threshold",
    )
    marks = (
        (cheap, "s", INK, 7.0, "cheap tier alone"),
        (strong, "D", INK, 7.0, "strongest tier alone"),
        (curve.perfect, "^", THIRD, 9.0, "perfect judge"),
        (curve.oracle, "*", THIRD, 13.0, "oracle"),
        (curve.accepting(chosen), "o", OTHER, 10.0, f"chosen: accepted from {chosen:.3g}"),
    )
    for policy, marker, colour, size, name in marks:
        axes.plot(
            *place(policy),
            linestyle="none",
            marker=marker,
            markersize=size,
            color=colour,
            markeredgecolor=GROUND,
            label=name,
            zorder=4,
        )
    axes.set_xlim(left=0)
    axes.margins(0.06)
    axes.ticklabel_format(useOffset=False)
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.15),
        ncols=3,
        frameon=False,
        fontsize=SMALL,
        labelcolor=INK,
    )
    return data_uri(figure)
