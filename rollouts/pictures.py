"""Rollout pictures: how both arms differ, as the `data:` URI of an image. Judges nothing."""

from collections.abc import Mapping, Sequence
from math import isfinite

from ..tracing.pictures import (
    GROUND,
    INK,
    MAIN,
    OTHER,
    QUIET,
    SMALL,
    THIRD,
    WASH,
    Axes,
    data_uri,
    dress,
    new_figure,
)
from .controller import Reading, Verdict

_WIDTH_PX = 672
_HEAD_PX, _ROW_PX = 28, 92
_COLOURS: Mapping[Verdict, str] = {"failed": OTHER, "successful": THIRD, "inconclusive": MAIN}
_WORDS: Mapping[Verdict, str] = {
    "failed": "harmed",
    "successful": "no harm: proven",
    "inconclusive": "not decided",
}


def differences_picture(readings: Sequence[Reading]) -> str:
    """Draw the candidate's mean less the baseline's of each metric, with always-valid bounds.

    Each has a scale of its own. `readings`: with a difference, one at least.
    """
    figure = new_figure(_WIDTH_PX, _HEAD_PX + _ROW_PX * len(readings))
    rows = figure.subplots(len(readings), 1, squeeze=False)
    for (axes,), reading in zip(rows, readings, strict=True):
        _row(axes, reading)
    return data_uri(figure)


def _row(axes: Axes, reading: Reading) -> None:
    dress(axes)
    axes.grid(visible=False, axis="y")
    axes.set_yticks([])
    colour, found = _COLOURS[reading.verdict], reading.difference
    if found is None:
        raise ValueError(f"{reading.metric} has no difference to draw. Leave it out.")
    is_bounded = isfinite(found.low) and isfinite(found.high)
    low, high = (found.low, found.high) if is_bounded else (found.estimate, found.estimate)
    reach = max(abs(low), abs(high), abs(reading.margin or 0.0)) or 1.0
    axes.set_xlim(-1.15 * reach, 1.15 * reach)
    axes.set_ylim(-1, 1)
    axes.axvline(0, color=QUIET, linewidth=1)
    if reading.margin is not None:
        # On this side of the margin the candidate is not worse than is allowed.
        axes.axvspan(
            *sorted((reading.margin, -1.15 * reach * (1 if reading.margin > 0 else -1))),
            color=WASH,
            linewidth=0,
            zorder=0,
        )
        axes.axvline(reading.margin, color=QUIET, linewidth=1.2, linestyle=(0, (4, 3)))
    if is_bounded:
        axes.plot([low, high], [0, 0], color=colour, linewidth=2.4, solid_capstyle="butt")
        axes.plot([low, high], [0, 0], "|", color=colour, markersize=9, markeredgewidth=1.6)
    axes.plot([found.estimate], [0], "o", color=colour, markersize=8, markeredgecolor=GROUND)
    axes.set_title(f"{reading.metric}", loc="left", fontsize=SMALL, color=INK)
    said = _WORDS[reading.verdict] if is_bounded else "too few units for bounds"
    axes.set_title(said, loc="right", fontsize=SMALL, color=colour)
