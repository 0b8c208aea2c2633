"""Route report: what was learned of a step's tiers, as Markdown for the Prefect UI."""

from collections.abc import Iterator
from typing import get_args

from ...routing.routes.learned import Offer
from ...routing.routes.route import ReachName
from ...tracing.pictures import (
    GROUND,
    INK,
    MAIN,
    OTHER,
    QUIET,
    SMALL,
    THIRD,
    data_uri,
    dress,
    new_figure,
)
from .routes import RouteLearned

_CONFIDENCE = 0.95
_COLOURS: dict[ReachName, str] = {"cascade routing": MAIN, "cascade": THIRD, "routing": QUIET}


def route_markdown(found: RouteLearned) -> str:
    """Return the decision, what every way costs and brings, and both as a picture."""
    return "\n".join(_lines(found))


def _lines(found: RouteLearned) -> Iterator[str]:
    learned, chosen = found.route, found.chosen
    yield f"# {learned.step}: {'open' if chosen else 'closed'}"
    yield ""
    if chosen is None:
        yield f"{found.refusal}. Until then one tier answers alone."
    else:
        yield (
            f"An answer costs ${chosen.likely_usd:.2g} in the mean, and {chosen.right} of "
            f"{chosen.proved} items that taught nothing were right: "
            f"{chosen.quality_lower(_CONFIDENCE):.1%} or more is proven at {_CONFIDENCE:.0%} "
            "confidence."
        )
    yield from ("", f"Learned from {learned.items} items.", "")
    yield from (f"![Right answers by cost]({_picture(found)})", "")
    yield "| way | USD an answer | right | proven | tiers asked |"
    yield "| --- | --- | --- | --- | --- |"
    for name, alone in learned.alone.items():
        yield f"| {name} alone | {alone.cost_usd:.2g} | {alone.quality:.1%} | | 1 |"
    for reach in get_args(ReachName):
        for offer in learned.of(reach):
            yield _row(offer, is_chosen=offer == chosen)


def _row(offer: Offer, *, is_chosen: bool) -> str:
    name = f"**{offer.reach}, chosen**" if is_chosen else offer.reach
    return (
        f"| {name} | {offer.likely_usd:.2g} | {offer.right / offer.proved:.1%} "
        f"| {offer.quality_lower(_CONFIDENCE):.1%} | {offer.asks:.2f} |"
    )


def _picture(found: RouteLearned) -> str:
    learned = found.route
    figure = new_figure(672, 480)
    axes = figure.subplots()
    dress(axes, x="cost of an answer, USD", y="right answers, %")
    for reach, colour in _COLOURS.items():
        offers = learned.of(reach)
        axes.plot(
            [each.proved_usd for each in offers],
            [100 * each.right / each.proved for each in offers],
            color=colour,
            marker="o",
            markersize=4,
            linewidth=1.6,
            label=reach,
        )
    axes.plot(
        [each.cost_usd for each in learned.alone.values()],
        [100 * each.quality for each in learned.alone.values()],
        linestyle="none",
        marker="s",
        markersize=7,
        color=INK,
        markeredgecolor=GROUND,
        label="one tier alone",
    )
    for name, alone in learned.alone.items():
        axes.annotate(
            name,
            (alone.cost_usd, 100 * alone.quality),
            xytext=(6, -10),
            textcoords="offset points",
            fontsize=SMALL,
            color=INK,
        )
    if found.chosen is not None:
        axes.plot(
            [found.chosen.proved_usd],
            [100 * found.chosen.right / found.chosen.proved],
            linestyle="none",
            marker="o",
            markersize=10,
            color=OTHER,
            markeredgecolor=GROUND,
            label="chosen",
            zorder=4,
        )
    axes.set_xlim(left=0)
    axes.margins(0.08)
    axes.legend(loc="lower right", frameon=False, fontsize=SMALL, labelcolor=INK)
    return data_uri(figure)
