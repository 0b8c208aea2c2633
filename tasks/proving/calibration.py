"""Calibration: whether a step's judge has proven itself for the answers of a cheaper tier.

Both tiers answer labelled items, the judge scores the cheap reply, and what is proven follows from
the counts. Decides only; collecting.py asks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ...errors import ConfigError, UnparseableReplyError
from ...routing import Cascade, Case, NamedTier, Question, Trail, ask_tier
from ...routing.gate import Binding, Calibration, Judged, calibrate
from ...routing.learned import plan_path
from ...routing.learned.economics import LEAST_SAVING
from ..aside import Aside
from ..gated import binding_of, gate_of
from ..plan import begun
from ..spec import StepSpec, Surroundings
from ..step import Plan, Step
from .asking import summed
from .items import Item, falls_below, label_text

T = TypeVar("T")
Floats = NDArray[np.float64]

_LEARN_SHARE = 0.4
"""So many of the items choose the threshold; the others prove it."""

_FEWEST = 20
_LEAST_WATCHED, _MOST_WATCHED = 0.05, 0.999


class Outcome(BaseModel):
    """How an item went. `score`: the judge's, 0 for a reply that cannot be used. Costs in USD.

    `at`: when it was asked, Unix seconds. `agrees`: whether both tiers gave the same answer, right
    or wrong; audits by the strongest tier can tell no more. `letters`: the length of the cheap
    reply, 0 for none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    item: str
    at: float
    bound_to: Binding
    stratum: str
    score: float
    right: bool
    strong_right: bool
    agrees: bool
    weak_usd: float | None
    judge_usd: float | None
    strong_usd: float | None
    letters: int = 0


@dataclass(frozen=True, slots=True)
class Proof:
    """A calibration, and what its items say of money. `accepted`: share of the proving items.

    `weak_right`, `strong_right`, `cascade_right`: shares of right answers. `saving`: of what the
    strongest tier alone costs, judge included; None where a price is unknown.
    """

    calibration: Calibration
    items: int
    accepted: float
    weak_right: float
    strong_right: float
    cascade_right: float
    saving: float | None


def outcome_plan(
    spec: StepSpec[T], around: Surroundings, tier: str, item: Item, aside: Aside
) -> Plan[Outcome]:
    """Ask a cheaper tier, its judge and the strongest tier about one item.

    Raises what its tiers raise where they are down: nothing is known of the pair then.
    """
    step = yield from begun(spec, around)
    pair = pair_of(step, tier)
    outcome: Outcome = yield aside.within(step, tier, _outcome(step, pair, item, aside))
    return outcome


def _outcome(
    step: Step[T], pair: tuple[Cascade, NamedTier], item: Item, aside: Aside
) -> Plan[Outcome]:
    (rule, cheap), spec, around = pair, step.spec, step.around
    strong_trail, weak_trail, judge_trail = aside.trail(step), aside.trail(step), aside.trail(step)
    strong = yield from ask_tier(_question(step, strong_trail), step.chain.strongest)
    wanted = strong.value if item.label is None else spec.returns.read(label_text(spec, item))
    weak, score = None, 0.0
    try:
        weak = yield from ask_tier(_question(step, weak_trail), cheap)
        if not weak.reply.is_cut_off:
            judged = Case(_question(step, judge_trail), cheap, weak, step.chain.helpers)
            score = (yield from rule.judge.score(judged)).value
    except UnparseableReplyError:
        # A tier that is down says nothing of the judge: then the item has no outcome, and is
        # asked again.
        score = 0.0
    return Outcome(
        item=item.key,
        at=around.now(),
        bound_to=binding_of(step, cheap, rule),
        stratum=step.request.stratum or item.stratum,
        score=min(max(score, 0.0), 1.0),
        right=weak is not None and rule.agree(weak.value, wanted),
        strong_right=item.label is None or rule.agree(strong.value, wanted),
        agrees=weak is not None and rule.agree(weak.value, strong.value),
        weak_usd=weak_trail.cost_usd,
        judge_usd=judge_trail.cost_usd,
        strong_usd=strong_trail.cost_usd,
        letters=len(weak.reply.text) if weak is not None else 0,
    )


def pair_of(step: Step[T], tier: str) -> tuple[Cascade, NamedTier]:
    """Return a step's cascade and its cheaper tier of that name. Raises ConfigError."""
    rule = step.chain.rule
    cheaper = {each.name: each for each in step.chain.tiers[:-1]}
    if rule is None or tier not in cheaper:
        known = ", ".join(cheaper) or "it has no cascade"
        raise ConfigError(f"{step.spec.name} has no cheaper tier {tier!r}. Known: {known}.")
    return rule, cheaper[tier]


def _question(step: Step[T], trail: Trail) -> Question[T]:
    return Question(step.request, step.spec.returns.read, trail)


def prove(step: str, tier: str, rule: Cascade, outcomes: Sequence[Outcome]) -> Proof:
    """Return what outcomes prove of a judge, as of the oldest of them.

    An item's hash says whether it helps to choose the threshold or to prove it, however often
    and with however many others it is used. A second look at items that once failed to prove
    something is not at the stated confidence any more. Raises ConfigError for too few items, or
    for those of more than one prompt.
    """
    if len(outcomes) < _FEWEST:
        raise ConfigError(f"{len(outcomes)} items prove nothing. Give at least {_FEWEST}.")
    bindings = {each.bound_to.model_dump_json() for each in outcomes}
    if len(bindings) > 1:
        raise ConfigError(
            f"The items were asked with {len(bindings)} different prompts or models. What varies "
            "belongs into the ask, or give Prompt(template=...) a name for all such prefixes; the "
            "schema and the tiers must be the same for all."
        )
    learn = [each for each in outcomes if _chooses(each)]
    other = [each for each in outcomes if not _chooses(each)]
    max_loss = rule.max_loss if rule.max_loss is not None else 0.01
    at = min(each.at for each in outcomes)

    def at_threshold(threshold: float) -> Calibration:
        return calibrate(
            gate_of(step, tier),
            [_judged(each, threshold) for each in other],
            outcomes[0].bound_to,
            at=at,
            threshold=threshold,
            max_loss=max_loss,
            confidence=rule.confidence,
            max_age_s=rule.max_age_s,
        )

    calibration = _last_proven(map(at_threshold, thresholds(learn, max_loss=max_loss)))
    accepted = [each for each in other if each.score >= calibration.threshold]
    good = [each.right if rule.audit_by == "people" else each.agrees for each in accepted]
    floor = _watch_floor(good, len(other), max_loss)
    return _with_money(
        calibration.model_copy(update={"watch_floor": floor}), other, items=len(outcomes)
    )


def _judged(outcome: Outcome, threshold: float) -> Judged:
    return Judged(
        outcome.score >= threshold,
        outcome.right,
        outcome.stratum,
        score=outcome.score,
        strong_right=outcome.strong_right,
    )


def _last_proven(found: Iterable[Calibration]) -> Calibration:
    """Return the last calibration before one that proves less (fixed-sequence testing).

    They come with the safest threshold first. Whatever is open in the end was open at each step, so
    that all thresholds together are wrong about a stratum no more often than one is. The first,
    which is closed, where not even that one is proven.
    """
    found = iter(found)
    best = next(found)
    for each in found if best.opens else ():
        if not set(best.open_strata) <= set(each.open_strata):
            break
        best = each.only(best.open_strata)
    return best


def _watch_floor(good: Sequence[bool], items: int, max_loss: float) -> float:
    """Return how seldom audits may find an accepted answer good. `good`: whether each one was.

    Good to the strongest tier is what it answers, too; to people, what is right. As often as now,
    less what would cost `max_loss` of all items if each were an error.
    """
    if not good:
        return _MOST_WATCHED
    lowest = sum(good) / len(good) - max_loss * items / len(good)
    return min(max(lowest, _LEAST_WATCHED), _MOST_WATCHED)


def _chooses(outcome: Outcome) -> bool:
    return falls_below(_LEARN_SHARE, outcome.item)


def thresholds(outcomes: Sequence[Outcome], *, max_loss: float) -> tuple[float, ...]:
    """Return the least scores to try, from the one likeliest to be proven to ever lower ones.

    A score of 0 is the judge's no, and never accepted. The highest score seen where there is none.
    """
    scores = np.array([each.score for each in outcomes])
    losses = np.array([each.strong_right - each.right for each in outcomes], np.float64)
    path = plan_path(scores, losses, max_loss=max_loss)
    found = tuple(dict.fromkeys(each for each in path if each > 0))
    return found or (float(scores.max(initial=0.0)) or 1.0,)


def _with_money(calibration: Calibration, outcomes: Sequence[Outcome], *, items: int) -> Proof:
    accepted = np.array([each.score >= calibration.threshold for each in outcomes])
    right = np.array([each.right for each in outcomes])
    strong = np.array([each.strong_right for each in outcomes])
    saving = _saving(outcomes, accepted)
    if calibration.opens and saving is not None and saving < LEAST_SAVING:
        pointless = _pointless(outcomes, saving)
        calibration = calibration.model_copy(update={"pointless": pointless})
    return Proof(
        calibration,
        items,
        float(accepted.mean()),
        float(right.mean()),
        float(strong.mean()),
        float(np.where(accepted, right, strong).mean()),
        saving,
    )


def _pointless(outcomes: Sequence[Outcome], saving: float) -> str:
    cheap, strong = (
        summed(getattr(each, name) for each in outcomes) for name in ("weak_usd", "strong_usd")
    )
    ratio = f"{strong / cheap:.1f} times" if cheap and strong else "not known how many times"
    won = sum(each.right and not each.strong_right for each in outcomes)
    lost = sum(each.strong_right and not each.right for each in outcomes)
    needed = f"{lost / (won + lost):.2f}" if won + lost else "any share"
    return (
        f"No cascade: it saves {saving:.1%} of what the strongest tier alone costs, below the "
        f"{LEAST_SAVING:.0%} that pay for a second call's wait. The strongest tier costs {ratio} "
        f"as much, and the judge must be right r* = {needed} of the time"
    )


def _saving(outcomes: Sequence[Outcome], accepted: NDArray[np.bool_]) -> float | None:
    cheap = summed(each.weak_usd for each in outcomes)
    judge = summed(each.judge_usd for each in outcomes)
    strong = summed(each.strong_usd for each in outcomes)
    escalated = summed(
        each.strong_usd for each, kept in zip(outcomes, accepted, strict=True) if not kept
    )
    if cheap is None or judge is None or not strong or escalated is None:
        return None
    return 1 - (cheap + judge + escalated) / strong
