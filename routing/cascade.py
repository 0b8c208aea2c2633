"""Cascade: ask the cheapest tier, judge, accept or escalate. Decides only; a driver asks."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..errors import AllDeploymentsFailedError, AttemptError, UnparseableReplyError
from ..request import Verdict
from ..tracing import within_judge
from .asking import Parsed, Question, ask_tier
from .gate import Closed, Open
from .gate.decision import MAX_AGE_S
from .judges import Case, Judge
from .tiers import NamedTier

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cascade:
    """Where a step may escalate to, and who decides.

    `to`: the stronger tier, or several in order. `judge`: scores a reply 0-1. A reply that does
    not parse, or a tier that is down, escalates unjudged; a judge that fails does not accept.

    `max_loss`: the accuracy, 0-1, that accepting cheaper answers may cost against the strongest
    tier alone, proven at `confidence` by `tierflow judge calibrate`, which also sets the least
    score that is accepted. Without that proof, or when it is older than `max_age_s` seconds, the
    strongest tier answers. `audit`: the share of accepted answers that the strongest tier answers
    as well, afterwards, to see whether the proof still holds; `same(a, b)` compares them, None
    takes `==`.

    `max_loss=None`: nothing is proven, and `threshold` (None: the judge's own) is the author's.
    """

    to: str | tuple[str, ...]
    judge: Judge
    threshold: float | None = None
    max_loss: float | None = 0.01
    confidence: float = 0.95
    audit: float = 0.02
    same: Callable[[Any, Any], bool] | None = None
    max_age_s: float = MAX_AGE_S

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold is {self.threshold}, but a judge scores from 0 to 1.")
        if not hasattr(self.judge, "score"):
            raise TypeError(f"judge={self.judge!r:.60} is no judge. Call it: judge=agreement().")
        if not self.stronger:
            raise ValueError("Cascade(to=...) names no tier. Name the stronger one, or drop it.")
        if self.max_loss is not None and not 0 <= self.max_loss < 1:
            raise ValueError(f"max_loss is {self.max_loss}, but accuracy goes from 0 to 1.")
        if self.max_loss is not None and self.threshold is not None:
            raise ValueError(
                "Cascade(threshold=...) is a line of your own, and max_loss asks for one that is "
                "proven. Drop the threshold, or write max_loss=None to go without proof."
            )
        if self.max_loss is not None and len(self.stronger) > 1:
            raise ValueError(
                f"Cascade(to={self.stronger}) names several tiers, and proof is of one pair. Name "
                "one, or write max_loss=None to go without proof."
            )
        for name, value in (("confidence", self.confidence), ("audit", self.audit)):
            if not 0 <= value <= 1 or (name == "confidence" and value in (0, 1)):
                raise ValueError(f"{name} is {value}, but it is a share between 0 and 1.")

    @property
    def stronger(self) -> tuple[str, ...]:
        """The tiers after the first, in order."""
        return (self.to,) if isinstance(self.to, str) else self.to

    @property
    def least_score(self) -> float:
        """The least score that is accepted where nothing is proven."""
        return self.judge.threshold if self.threshold is None else self.threshold

    @property
    def identity(self) -> str:
        """All of the rule that decides an answer, but for what was proven since."""
        line = self.least_score if self.max_loss is None else f"{self.max_loss}@{self.confidence}"
        return f"{self.judge.identity}:{line}"

    def agree(self, mine: Any, other: Any) -> bool:
        """Tell whether two values are the same answer."""
        return bool(mine == other if self.same is None else self.same(mine, other))


@dataclass(frozen=True, slots=True)
class Chain:
    """A cascade with its tiers resolved. `tiers`: cheapest first, one if there is no `rule`.

    `lines`: the least score by cheaper tier that was proven; None where the rule draws the line.
    `proofs`: the calibrations they come from: what they accepted is not served without them.
    """

    tiers: Sequence[NamedTier]
    helpers: Mapping[str, NamedTier]
    rule: Cascade | None = None
    lines: Mapping[str, float] | None = None
    proofs: tuple[str, ...] = ()

    @property
    def identity(self) -> tuple[str, ...]:
        """All of the chain that decides an answer, for the cache key."""
        named = (*self.tiers, *self.helpers.values())
        lines = "".join(f"{tier.name}>={self.least_score(tier)};" for tier in self.tiers[:-1])
        rule = (f"{self.rule.judge.identity}:{lines}", *self.proofs) if self.rule else ()
        return (*(each.identity for each in named), *rule)

    @property
    def strongest(self) -> NamedTier:
        """The last tier, whose answer is not judged."""
        return self.tiers[-1]

    def least_score(self, tier: NamedTier) -> float:
        """Return the least score of a tier's reply that is accepted."""
        if self.lines is not None:
            return self.lines[tier.name]
        return self.rule.least_score if self.rule else 1.0

    def through(self, decisions: Mapping[str, Open | Closed], proofs: Sequence[str]) -> "Chain":
        """Return the chain with only those cheaper tiers whose gate is open."""
        lines = {name: each.threshold for name, each in decisions.items() if isinstance(each, Open)}
        tiers = [tier for tier in self.tiers[:-1] if tier.name in lines]
        rule = self.rule if tiers else None
        return replace(
            self,
            tiers=[*tiers, self.strongest],
            rule=rule,
            lines=lines,
            proofs=tuple(proofs) if rule else (),
        )


def run_chain(question: Question[T], chain: Chain) -> Generator[Any, Any, Parsed[T]]:
    """Ask the cheapest tier first; return the first accepted reply, else the last tier's.

    Raises what the last tier raises; a reply that was not accepted is never returned.
    """
    *cheaper, last = chain.tiers
    if chain.rule is not None:
        for tier in cheaper:
            parsed = yield from _accepted(question, tier, chain, chain.rule)
            if parsed is not None:
                return parsed
    return (yield from ask_tier(question, last))


def _accepted(
    question: Question[T], tier: NamedTier, chain: Chain, rule: Cascade
) -> Generator[Any, Any, Parsed[T] | None]:
    """Ask a cheaper tier and have its reply judged; None if it is to be passed by."""
    verdicts = question.trail.verdicts
    try:
        parsed = yield from ask_tier(question, tier)
    except (AllDeploymentsFailedError, UnparseableReplyError) as exc:
        verdicts.append(Verdict("reply", 0.0, accepted=False, reason=type(exc).__name__))
        return None
    if parsed.reply.is_cut_off:
        reason = f"cut off: {parsed.reply.finish_reason}"
        verdicts.append(Verdict("reply", 0.0, accepted=False, reason=reason))
        return None
    judging = _judge(rule, chain.least_score(tier), Case(question, tier, parsed, chain.helpers))
    verdict: Verdict = yield within_judge(rule.judge.name, judging)
    verdicts.append(verdict)
    return parsed if verdict.accepted else None


def _judge(rule: Cascade, least: float, case: Case[Any]) -> Generator[Any, Any, Verdict]:
    name = rule.judge.name
    try:
        score = yield from rule.judge.score(case)
    except (AttemptError, AllDeploymentsFailedError, UnparseableReplyError) as exc:
        # Fail closed: without a judge the cheap reply is not known to be good.
        return Verdict(name, 0.0, accepted=False, reason=f"no verdict: {type(exc).__name__}")
    return Verdict(name, score.value, accepted=score.value >= least, reason=score.reason)
