"""Validation pictures: how many times as fast, by requests at once. Judges nothing."""

from collections.abc import Sequence

from ...tracing.pictures import (
    INK,
    MAIN,
    OTHER,
    QUIET,
    SMALL,
    THIRD,
    Axes,
    data_uri,
    dress,
    new_figure,
)
from .decision import LEAST_GAIN, Decision

_WIDTH_PX, _ROW_PX, _HEAD_PX = 672, 132, 28
_MOST = 8
_COLOURS = (MAIN, THIRD, OTHER, INK)


def speedups_picture(decisions: Sequence[Decision]) -> str:
    """Draw each slice's speed-ups with their bounds, as the `data:` URI of an image.

    A filled point was adopted, an empty one was not. `decisions`: with a speed-up, one at least;
    of more than eight the first are drawn.
    """
    shown = decisions[:_MOST]
    figure = new_figure(_WIDTH_PX, _HEAD_PX + _ROW_PX * len(shown))
    rows = figure.subplots(len(shown), 1, squeeze=False)
    for (axes,), decision in zip(rows, shown, strict=True):
        _row(axes, decision)
    return data_uri(figure)


def _row(axes: Axes, decision: Decision) -> None:
    dress(axes)
    at = sorted({one.trial.concurrency for one in decision.compared})
    ways = sorted({one.trial.against for one in decision.compared})
    axes.axhline(1, color=QUIET, linewidth=1)
    axes.axhline(LEAST_GAIN, color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    for number, way in enumerate(ways):
        colour = _COLOURS[number % len(_COLOURS)]
        for one in decision.compared:
            found = one.speedup
            if one.trial.against != way or found is None:
                continue
            x = at.index(one.trial.concurrency) + 0.12 * (number - (len(ways) - 1) / 2)
            axes.plot([x, x], [found.low, found.high], color=colour, linewidth=2)
            face = colour if one.adopted else "none"
            axes.plot([x], [found.estimate], "o", color=colour, markersize=7, markerfacecolor=face)
        axes.plot([], [], "o", color=colour, label=way)
    axes.set_xticks(range(len(at)), [f"{each} at once" for each in at])
    axes.set_xlim(-0.5, len(at) - 0.5)
    axes.set_title(decision.slice.label, loc="left", fontsize=SMALL, color=INK)
    axes.legend(fontsize=SMALL, frameon=False, loc="upper right", labelcolor=INK)
