"""Learned route: what was learned of a step's tiers, and what each way through them costs.

An offer is one way: prices for a reach, with what it did on the items that it was learned from, and
on others. Budgets and qualities choose among offers; nothing is learned for them anew.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self, cast

from ...bounds import lower_share
from ...errors import StoreError
from ..gate import Binding
from ..learned import Refusal
from ..supermodels import Reach, Strategy
from .route import ReachName, Route

_VERSION = 1

REACHES = {
    "cascade routing": Reach.anything,
    "routing": Reach.one,
    "cascade": Reach.prefixes,
}


@dataclass(frozen=True, slots=True)
class Offer:
    """A way through the tiers. `cost_usd`, `quality`: means of the items it was learned from.

    Of `proved` other items it gave `right` right answers, for `proved_usd` in the mean. `asks`: how
    many tiers were asked for one of those, in the mean.
    """

    reach: ReachName
    prices: tuple[float, ...]
    cost_usd: float
    quality: float
    proved: int
    right: int
    proved_usd: float
    asks: float

    @property
    def likely_usd(self) -> float:
        """The mean cost of an answer, by the dearer of both kinds of items."""
        return max(self.cost_usd, self.proved_usd)

    def quality_lower(self, confidence: float) -> float:
        """Return a bound that the true share of right answers is not below."""
        return lower_share(self.right, self.proved, confidence)


@dataclass(frozen=True, slots=True)
class Alone:
    """One tier asked for everything: share right and mean cost of the proving items."""

    quality: float
    cost_usd: float


@dataclass(frozen=True, slots=True)
class LearnedRoute:
    """What is known of a step's tiers. `at`: when they were asked, seconds since 1970.

    `items`: how many questions, of both kinds. `alone`: by tier.
    """

    step: str
    bound_to: Binding
    at: float
    items: int
    strategy: Strategy
    offers: tuple[Offer, ...]
    alone: Mapping[str, Alone]

    def of(self, reach: ReachName) -> Sequence[Offer]:
        """Return the offers of one reach, the cheapest first."""
        return sorted((each for each in self.offers if each.reach == reach), key=_cost)

    def choose(self, route: Route) -> Offer | Refusal:
        """Return the offer that keeps what a route asks for, or why none does.

        A quality is proven by fixed-sequence testing: offers are tested in the order of what the
        learning items said of them, each on the proving items at full confidence, until one fails;
        of those that passed the cheapest is taken.
        """
        offers = self.of(route.reach)
        if route.budget_usd is not None:
            return _within(offers, route.budget_usd)
        return _proven(offers, route.min_quality or 0.0, route.confidence)

    def taking(self, offer: Offer) -> Strategy:
        """Return the strategy that goes an offer's way."""
        reach = REACHES[offer.reach](self.strategy.reach.order)
        return replace(self.strategy, reach=reach, prices=offer.prices)

    def to_json(self) -> str:
        """Write all of it as JSON text. It holds words of the asks, those in three or more."""
        return json.dumps(
            {
                "version": _VERSION,
                "step": self.step,
                "bound_to": self.bound_to.model_dump(mode="json"),
                "at": self.at,
                "items": self.items,
                "strategy": json.loads(self.strategy.to_json()),
                "offers": [asdict(each) for each in self.offers],
                "alone": {name: asdict(each) for name, each in self.alone.items()},
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote. Raises StoreError for what cannot be read."""
        try:
            read = _of_this_version(json.loads(text))
            return cls(
                read["step"],
                Binding.model_validate({**read["bound_to"], "models": tuple(_models(read))}),
                float(read["at"]),
                int(read["items"]),
                Strategy.from_json(json.dumps(read["strategy"])),
                tuple(_offer(each) for each in read["offers"]),
                {name: Alone(**each) for name, each in read["alone"].items()},
            )
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as exc:
            # Its own words may quote what was found.
            raise StoreError(
                f"A learned route cannot be read ({type(exc).__name__}): it is damaged or of "
                "another version. Learn it again: `tierflow route learn`."
            ) from None


def _of_this_version(read: Any) -> Mapping[str, Any]:
    if read["version"] != _VERSION:
        raise ValueError(f"version {read['version']!r}")
    return cast("Mapping[str, Any]", read)


def _models(read: Mapping[str, Any]) -> Iterable[str]:
    return map(str, read["bound_to"]["models"])


def _offer(read: Mapping[str, Any]) -> Offer:
    given: dict[str, Any] = {**read, "prices": tuple(map(float, read["prices"]))}
    return Offer(**given)


def _cost(offer: Offer) -> float:
    return offer.likely_usd


def _within(offers: Sequence[Offer], budget_usd: float) -> Offer | Refusal:
    fitting = [each for each in offers if each.likely_usd <= budget_usd]
    if fitting:
        return max(fitting, key=lambda each: (each.quality, -each.likely_usd))
    least = f"${offers[0].likely_usd:.2g}" if offers else "more"
    return Refusal(
        f"An answer costs {least} at least, over the budget of ${budget_usd:.2g}. Raise budget_usd"
    )


def _proven(offers: Sequence[Offer], min_quality: float, confidence: float) -> Offer | Refusal:
    passed = list[Offer]()
    for offer in sorted(offers, key=lambda each: (-each.quality, each.likely_usd)):
        if offer.quality_lower(confidence) < min_quality:
            if not passed:
                return Refusal(
                    f"Not proven: the best way was right on {offer.right} of {offer.proved} items, "
                    f"which proves {offer.quality_lower(confidence):.3f} at {confidence:.0%} "
                    f"confidence, under the {min_quality:g} asked for. Lower min_quality, add a "
                    "stronger tier, or learn from more items"
                )
            break
        passed.append(offer)
    return min(passed, key=_cost) if passed else Refusal("No way was learned. Learn it again")
