"""Training: what labelled items teach a trained judge of a step. Proves nothing.

Texts of asks and replies stay in memory; what is learned from them is numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import AllDeploymentsFailedError, AttemptError, ConfigError, UnparseableReplyError
from ...routing import Cascade, NamedTier, Question, Trail, ask_of, ask_tier, text_of
from ...routing.learned import (
    Fitted,
    GainScorer,
    Recorded,
    Recordings,
    Refusal,
    Worth,
    describe_all,
    fit_scorer,
    refuse,
    weigh,
)
from ...routing.trained import STRATUM, TrainedJudge
from ..aside import Aside
from ..decorator import LLMTask
from ..plan import begun
from ..spec import StepSpec, Surroundings
from ..step import Plan, Step
from .asking import ask_each, begin
from .calibration import pair_of
from .items import Item, label_text

T = TypeVar("T")
Floats = NDArray[np.float64]

FEWEST = 50
"""Below it `fit_scorer` learns nothing."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a tier answered: `text` and `value` are "" for a reply that cannot be used."""

    text: str
    value: str
    right: bool
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class Lesson:
    """One item, and what each tier answered. `helper`: None where the judge has none."""

    ask: str
    stratum: str
    weak: Answered
    strong: Answered
    helper: Answered | None


@dataclass(frozen=True, slots=True)
class Training:
    """What was learned. `items`: how many from. `errors`: of the others, by the item's place.

    `weak_right`, `strong_right`: shares. `worth`: what a cascade with this judge promises, out of
    fold; None where a price is unknown. `refusal`: why it is pointless.
    """

    scorer: GainScorer
    items: int
    errors: Mapping[int, Exception]
    weak_right: float
    strong_right: float
    worth: Worth | None
    refusal: Refusal | None


def lesson_plan(
    spec: StepSpec[T], around: Surroundings, tier: str, item: Item, aside: Aside
) -> Plan[Lesson]:
    """Ask a cheaper tier, the judge's helper and the strongest tier about one item.

    Raises what the strongest tier raises: without its answer nothing is known of the pair.
    """
    step = yield from begun(spec, around)
    pair = pair_of(step, tier)
    lesson: Lesson = yield aside.within(step, tier, _lesson(step, pair, item, aside))
    return lesson


def _lesson(
    step: Step[T], pair: tuple[Cascade, NamedTier], item: Item, aside: Aside
) -> Plan[Lesson]:
    (rule, cheap), spec, trail = pair, step.spec, aside.trail(step)
    parsed = yield from ask_tier(_question(step, trail), step.chain.strongest)
    wanted = parsed.value if item.label is None else spec.returns.read(label_text(spec, item))
    right = item.label is None or rule.agree(parsed.value, wanted)
    strong = Answered(parsed.reply.text, text_of(parsed.value), right, trail.cost_usd)
    helper = _helper_of(step)
    return Lesson(
        ask_of(step.request),
        step.request.stratum or STRATUM,
        weak=(yield from _answered(step, cheap, wanted, aside.trail(step))),
        strong=strong,
        helper=(yield from _answered(step, helper, wanted, aside.trail(step))) if helper else None,
    )


def _helper_of(step: Step[Any]) -> NamedTier | None:
    rule = step.chain.rule
    if rule is None or not isinstance(rule.judge, TrainedJudge) or not rule.judge.tiers:
        return None
    return step.chain.helpers[rule.judge.tiers[0]]


def _answered(step: Step[T], tier: NamedTier, wanted: T, trail: Trail) -> Plan[Answered]:
    rule = step.chain.rule
    try:
        parsed = yield from ask_tier(_question(step, trail), tier)
    except (AttemptError, AllDeploymentsFailedError, UnparseableReplyError):
        return Answered("", "", right=False, cost_usd=trail.cost_usd)
    if parsed.reply.is_cut_off or rule is None:
        return Answered("", "", right=False, cost_usd=trail.cost_usd)
    right = rule.agree(parsed.value, wanted)
    return Answered(parsed.reply.text, text_of(parsed.value), right, trail.cost_usd)


def _question(step: Step[T], trail: Trail) -> Question[T]:
    return Question(step.request, step.spec.returns.read, trail)


def train_judge(
    step: LLMTask[..., Any],
    items: Sequence[Item],
    *,
    tier: str | None = None,
    ended: Callable[[], None] = lambda: None,
) -> Training:
    """Ask about items, and learn which of the cheaper tier's replies are worth keeping.

    `tier`: the cheaper one, None for the step's own. `ended` is called at each item's end. An item
    that is there twice counts once. Raises ConfigError for what cannot be learned from: before
    anything is asked for an async step, one without a cascade, or fewer than 50 items.
    """
    count = len({item.key for item in items})
    first, cheap = begin(step, items), tier or step.spec.tier
    if count < FEWEST:
        raise ConfigError(f"{count} items teach nothing. Give at least {FEWEST}.")
    pair_of(first, cheap)

    def plan(around: Surroundings, item: Item, aside: Aside) -> Plan[Lesson]:
        return lesson_plan(step.spec, around, cheap, item, aside)

    asked = ask_each(step, items, "training", plan, ended)
    return learn(asked.found, asked.errors, weak=cheap, strong=first.chain.strongest.name)


def learn(
    lessons: Sequence[Lesson], errors: Mapping[int, Exception], *, weak: str, strong: str
) -> Training:
    """Fit a scorer to lessons, and weigh what it is worth. Raises ConfigError for too few."""
    known = _recordings(lessons)
    described = describe_all(known, "weak", "helper" if "helper" in known.models else None)
    try:
        fitted = fit_scorer(described, known["weak"].quality, known["strong"].quality)
    except ValueError as exc:
        raise ConfigError(f"Nothing can be learned: {exc}") from exc
    worth = _worth(fitted, known)
    return Training(
        fitted.scorer,
        len(lessons),
        errors,
        float(known["weak"].quality.mean()),
        float(known["strong"].quality.mean()),
        worth,
        refuse(worth, weak=weak, strong=strong) if worth else None,
    )


def _recordings(lessons: Sequence[Lesson]) -> Recordings:
    answers = {
        "weak": [each.weak for each in lessons],
        "strong": [each.strong for each in lessons],
        "helper": [each.helper for each in lessons if each.helper],
    }
    return Recordings(
        [each.ask for each in lessons],
        [each.stratum for each in lessons],
        {name: _recorded(name, given) for name, given in answers.items() if given},
    )


def _recorded(name: str, answers: Sequence[Answered]) -> Recorded:
    return Recorded(
        name,
        [each.text for each in answers],
        [each.value for each in answers],
        np.array([each.right for each in answers], np.float64),
        # An unknown price is no number, and makes every sum unknown.
        np.array([each.cost_usd for each in answers], np.float64),
    )


def _worth(fitted: Fitted, known: Recordings) -> Worth | None:
    costs = {name: each.cost_usd for name, each in known.models.items()}
    if any(np.isnan(cost).any() for cost in costs.values()) or not costs["strong"].sum():
        return None
    # A free tier is any number of times cheaper.
    with np.errstate(divide="ignore"):
        return weigh(
            fitted.scores,
            fitted.losses,
            costs["weak"],
            costs["strong"],
            helper_cost=costs.get("helper"),
        )
