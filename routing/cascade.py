"""Cascade: ask the cheapest tier, judge, accept or escalate. Decides only; a driver asks."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import AllDeploymentsFailedError, AttemptError, UnparseableReplyError
from ..request import Verdict
from ..tracing import within_judge
from .asking import Parsed, Question, ask_tier
from .judges import Case, Judge
from .tiers import NamedTier

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cascade:
    """Where a step may escalate to, and who decides.

    `to`: the stronger tier, or several in order. `judge`: scores a reply 0-1. `threshold`: the
    least score that is accepted; None takes the judge's own. A reply that does not parse, or a
    tier that is down, escalates unjudged; a judge that fails does not accept.
    """

    to: str | tuple[str, ...]
    judge: Judge
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold is {self.threshold}, but a judge scores from 0 to 1.")
        if not hasattr(self.judge, "score"):
            raise TypeError(f"judge={self.judge!r:.60} is no judge. Call it: judge=agreement().")
        if not self.stronger:
            raise ValueError("Cascade(to=...) names no tier. Name the stronger one, or drop it.")

    @property
    def stronger(self) -> tuple[str, ...]:
        """The tiers after the first, in order."""
        return (self.to,) if isinstance(self.to, str) else self.to

    @property
    def least_score(self) -> float:
        """The least score that is accepted."""
        return self.judge.threshold if self.threshold is None else self.threshold

    @property
    def identity(self) -> str:
        """All of the decision that decides an answer; part of the cache key."""
        return f"{self.judge.identity}>={self.least_score}"


@dataclass(frozen=True, slots=True)
class Chain:
    """A cascade with its tiers resolved. `tiers`: cheapest first, one if there is no `rule`."""

    tiers: Sequence[NamedTier]
    helpers: Mapping[str, NamedTier]
    rule: Cascade | None = None

    @property
    def identity(self) -> tuple[str, ...]:
        """All of the chain that decides an answer, for the cache key."""
        named = (*self.tiers, *self.helpers.values())
        rule = (self.rule.identity,) if self.rule else ()
        return (*(each.identity for each in named), *rule)


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
    judging = _judge(rule, Case(question, tier, parsed, chain.helpers))
    verdict: Verdict = yield within_judge(rule.judge.name, judging)
    verdicts.append(verdict)
    return parsed if verdict.accepted else None


def _judge(rule: Cascade, case: Case[Any]) -> Generator[Any, Any, Verdict]:
    name = rule.judge.name
    try:
        score = yield from rule.judge.score(case)
    except (AttemptError, AllDeploymentsFailedError, UnparseableReplyError) as exc:
        # Fail closed: without a judge the cheap reply is not known to be good.
        return Verdict(name, 0.0, accepted=False, reason=f"no verdict: {type(exc).__name__}")
    return Verdict(name, score.value, accepted=score.value >= rule.least_score, reason=score.reason)
