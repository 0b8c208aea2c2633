"""Gate: calibrations. What was measured of a judge, of whom, and whether it may accept. No I/O.

A stratum opens only by a bound of its own, each with the full confidence: of strata that should
stay closed, each opens with probability 1 - confidence at most. (For all k of them together, ask
for the confidence 1 - (1 - confidence) / k.) Which rule applies depends on what is known, never on
how it came out:

paired       every item's strong reply is known: loses_less than max_loss
break-even   outcomes of other pairs are known:  loss_upper <= max_loss
floor        neither: the lower bound of accuracy, and of balanced accuracy, >= floor

Pooled opens if its own bound clears and every stratum opens. A stratum that was not measured is
closed, and so is a question of unknown stratum unless pooled opens.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...errors import StoreError
from .pairs import Pairs, loses_less, loss_upper, precision_floor
from .reliability import Reliability, auroc, calibration_error, reliability
from .tally import FROZEN, Choices, Compared, Counts, Judged, Tally, total

FLOOR = 0.80
"""The least proven reliability where nothing is known of the pair of tiers."""

MAX_AGE_S = 30 * 86_400.0
"""How long a calibration proves anything where a cascade says nothing else."""

_LEAST_WATCHED, _MOST_WATCHED = 0.05, 0.95


def _is_blank(text: str) -> bool:
    return not text


def _is_usual(max_age_s: float) -> bool:
    return max_age_s == MAX_AGE_S


class Binding(BaseModel):
    """What a calibration is of; it says nothing of anything else.

    `models`: of the tiers, cheapest first. `prompt`, `rubric`: fingerprints. `judge`: its identity.
    """

    model_config = FROZEN

    models: tuple[str, ...]
    prompt: str
    judge: str
    rubric: str = ""

    def differs(self, other: Self) -> tuple[str, ...]:
        """Return the names of what is not the same."""
        return tuple(
            name
            for name in ("models", "prompt", "judge", "rubric")
            if getattr(self, name) != getattr(other, name)
        )


class Stratum(BaseModel):
    """A stratum's counts, whether the judge may accept in it, and why, in one line."""

    model_config = FROZEN

    counts: Annotated[Counts, Field(discriminator="kind")]
    rule: Literal["paired", "break-even", "floor"]
    opens: bool
    reason: str
    pairs: Pairs | None = None

    def reliability(self, confidence: float) -> Reliability:
        """Return shares and bounds, worked out from the counts."""
        return reliability(self.counts, confidence)


class Calibration(BaseModel):
    """What was measured of a step's judge, and what follows from it. `at`: seconds since 1970.

    `threshold`: the least score that is accepted; it was chosen on other items than these.
    `watch_floor`: the least share of right ones among accepted answers that audits may show.
    `max_age_s`: of the cascade that it was asked for; that of the one in use decides.
    `pointless`: why a cascade does not pay, "" where it does: then it stays closed, proof or not.
    `ece`, `auroc`: of the scores of all items, None without scores or labels of both kinds.
    """

    # A proof may be for ever, and JSON has no infinity.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    version: Literal[1] = 1
    step: str
    bound_to: Binding
    at: float
    threshold: float
    max_loss: float
    confidence: float
    floor: float
    watch_floor: float
    strata: dict[str, Stratum]
    pooled: Stratum
    ece: float | None = None
    auroc: float | None = None
    # Left out where it is the usual one: records from before it keep their id, and workers from
    # before it read the new ones.
    max_age_s: float = Field(default=MAX_AGE_S, exclude_if=_is_usual)
    pointless: str = Field(default="", exclude_if=_is_blank)

    @property
    def id(self) -> str:
        """A hash of all of it."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    @property
    def open_strata(self) -> tuple[str, ...]:
        """The strata in which the judge may accept."""
        return tuple(name for name, stratum in self.strata.items() if stratum.opens)

    @property
    def opens(self) -> bool:
        """Whether the judge may accept anywhere."""
        return bool(self.open_strata)

    @property
    def state(self) -> Literal["open", "open in part", "closed"]:
        """Whether the judge may accept: everywhere, in some strata, or nowhere."""
        if self.pointless:
            return "closed"
        if self.pooled.opens:
            return "open"
        return "open in part" if self.opens else "closed"

    @property
    def reason(self) -> str:
        """The decision in one line."""
        if self.pointless:
            return self.pointless
        if not self.strata:
            return "no labelled items"
        if len(self.strata) == 1 or self.pooled.opens:
            return self.pooled.reason
        open_ = ", ".join(self.open_strata) or "none"
        return f"{len(self.open_strata)} of {len(self.strata)} strata open: {open_}"

    def only(self, strata: Collection[str]) -> Self:
        """Return the calibration with every other stratum closed."""
        kept = {
            name: each
            if name in strata or not each.opens
            else each.model_copy(
                update={"opens": False, "reason": f"{each.reason}; not at a safer threshold"}
            )
            for name, each in self.strata.items()
        }
        pooled = self.pooled.model_copy(
            update={"opens": self.pooled.opens and all(each.opens for each in kept.values())}
        )
        return self.model_copy(update={"strata": kept, "pooled": pooled})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `model_dump_json` wrote. Raises StoreError for what cannot be read."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as exc:
            # Its own words would quote what was found.
            first = ".".join(map(str, exc.errors()[0]["loc"]))
            raise StoreError(
                f"A calibration cannot be read: {first or 'it is no JSON'}. It is damaged or of "
                "another version; calibrate anew: `tierflow judge calibrate`."
            ) from None


def calibrate(
    step: str,
    items: Iterable[Judged] | Iterable[Compared],
    bound_to: Binding,
    *,
    at: float,
    threshold: float,
    pairs: Mapping[str, Pairs] | None = None,
    max_loss: float = 0.0,
    confidence: float = 0.95,
    floor: float = FLOOR,
    max_age_s: float = MAX_AGE_S,
) -> Calibration:
    """Return what labelled items say of a judge, and whether it may accept.

    `pairs`: by stratum, which tiers were right on other questions of it; a stratum without falls
    back on `floor`. `max_loss`: the accuracy, 0-1, that accepting may cost against the strong tier
    alone. `max_age_s`: how long it may be relied on. Items must be independent, and none of them
    may have been used to choose the judge or its threshold. Raises ValueError for judged and
    compared items in one calibration, or limits outside their range.
    """
    if not 0 <= max_loss < 1 or not 0 < floor < 1:
        raise ValueError(f"max_loss {max_loss} must be in [0, 1), floor {floor} in (0, 1).")
    listed: list[Judged | Compared] = list(items)
    known = pairs or {}
    counted = _counted(listed)
    rules = _Rules(max_loss, confidence, floor)
    strata = {name: rules.stratum(counts, known.get(name)) for name, counts in counted.items()}
    scored = [
        (each.score, each.right)
        for each in listed
        if isinstance(each, Judged) and each.score is not None
    ]
    scores, right = [score for score, _ in scored], [good for _, good in scored]
    return Calibration(
        step=step,
        bound_to=bound_to,
        at=at,
        threshold=threshold,
        max_loss=max_loss,
        confidence=confidence,
        floor=floor,
        watch_floor=_watch_floor(strata, max_loss, floor),
        strata=strata,
        pooled=rules.pooled(strata),
        ece=calibration_error(scores, right),
        auroc=auroc(scores, right),
        max_age_s=max_age_s,
    )


def _counted(items: Iterable[Judged | Compared]) -> dict[str, Counts]:
    judged: defaultdict[str, list[Judged]] = defaultdict(list)
    compared: defaultdict[str, list[Compared]] = defaultdict(list)
    for item in items:
        if isinstance(item, Judged):
            judged[item.stratum].append(item)
        else:
            compared[item.stratum].append(item)
    if judged and compared:
        raise ValueError("Judged and compared items cannot be mixed: calibrate each judge alone.")
    if judged:
        return {name: Tally.of(judged[name]) for name in sorted(judged)}
    return {name: Choices.of(compared[name]) for name in sorted(compared)}


class _Rules:
    def __init__(self, max_loss: float, confidence: float, floor: float) -> None:
        self._max_loss, self._confidence, self._floor = max_loss, confidence, floor

    def stratum(self, counts: Counts, pairs: Pairs | None) -> Stratum:
        if isinstance(counts, Tally) and counts.paired == counts.count > 0:
            return self._paired(counts)
        if pairs is not None and pairs.count:
            return self._break_even(counts, pairs)
        found = reliability(counts, self._confidence)
        proven = found.accuracy_lower
        if found.balanced_lower is not None:
            proven = min(proven, found.balanced_lower)
        right = f"{counts.right} of {counts.count} verdicts were right, {proven:.3f} is proven"
        opens = proven >= self._floor
        words = "over" if opens else "under"
        reason = f"{right}, {words} the floor of {self._floor:.2f}"
        return Stratum(counts=counts, rule="floor", opens=opens, reason=reason)

    def pooled(self, strata: Mapping[str, Stratum]) -> Stratum:
        if len(strata) == 1:
            return next(iter(strata.values()))
        if not strata:
            return Stratum(counts=Tally(), rule="floor", opens=False, reason="no labelled items")
        counts = total(each.counts for each in strata.values())
        pairs = None
        if all(each.pairs is not None for each in strata.values()):
            pairs = sum((each.pairs for each in strata.values() if each.pairs), Pairs())
        found = self.stratum(counts, pairs)
        closed = [name for name, each in strata.items() if not each.opens]
        if not closed:
            return found
        reason = f"closed in {', '.join(closed)}; all together: {found.reason}"
        return found.model_copy(update={"opens": False, "reason": reason})

    # Where nothing is accepted nothing is lost, and nothing gained either: both rules stay closed.

    def _paired(self, counts: Tally) -> Stratum:
        opens = counts.accepted > 0 and loses_less(counts, self._max_loss, self._confidence)
        reason = (
            f"of {counts.count} pairs {counts.won} were won and {counts.lost} lost, which "
            f"{'proves' if opens else 'does not prove'} a loss below {self._max_loss:.2%}"
        )
        return Stratum(counts=counts, rule="paired", opens=opens, reason=reason)

    def _break_even(self, counts: Counts, pairs: Pairs) -> Stratum:
        loss = loss_upper(counts, pairs, self._confidence)
        opens = loss <= self._max_loss and counts.accepted > 0
        words = "within" if opens else "over"
        reason = (
            f"{_rates(counts, pairs)}; up to {loss:.2%} is lost, {words} the "
            f"{self._max_loss:.2%} allowed"
        )
        return Stratum(counts=counts, rule="break-even", opens=opens, reason=reason, pairs=pairs)


def _rates(counts: Counts, pairs: Pairs) -> str:
    needs = pairs.break_even
    break_even = "no pair told the tiers apart" if needs is None else f"r* {needs:.2f}"
    if isinstance(counts, Choices):
        return f"{counts.right} of {counts.count} right, {break_even}"
    return (
        f"{counts.accepted_right} of {counts.right_replies} right and {counts.accepted_wrong} of "
        f"{counts.wrong_replies} wrong replies were accepted, {break_even}"
    )


def _watch_floor(strata: Mapping[str, Stratum], max_loss: float, floor: float) -> float:
    """Return what audits are held against: the least share of right ones among accepted answers.

    Of each open stratum that at which the promise is just kept, weighted by what it accepts.
    """
    opened = [each for each in strata.values() if each.opens and each.counts.accepted]
    if not opened:
        return floor
    least = sum(each.counts.accepted * _least_precision(each, max_loss, floor) for each in opened)
    return min(max(least / sum(e.counts.accepted for e in opened), _LEAST_WATCHED), _MOST_WATCHED)


def _least_precision(stratum: Stratum, max_loss: float, floor: float) -> float:
    counts = stratum.counts
    if isinstance(counts, Choices):
        return floor
    worth = None if stratum.pairs is None else stratum.pairs.worth()
    if stratum.rule == "paired":
        worth = (
            counts.won / max(1, counts.accepted_right),
            counts.lost / max(1, counts.accepted_wrong),
        )
    if worth is not None:
        least = precision_floor(worth, counts.accepted / counts.count, max_loss)
        return floor if least is None else least
    # What a judge would accept that is right on either side just as often as the floor asks.
    good, bad = floor * counts.right_replies, (1 - floor) * counts.wrong_replies
    return good / (good + bad)
