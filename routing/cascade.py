"""Cascade: ask the cheapest tier, judge, accept or escalate. Decides only; a driver asks."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

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
class Outcome(Generic[T]):
    """The accepted reply, and a verdict for each cheaper tier that was tried."""

    parsed: Parsed[T]
    verdicts: tuple[Verdict, ...]


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


def run_chain(question: Question[T], chain: Chain) -> Generator[Any, Any, Outcome[T]]:
    """Ask the cheapest tier first; return the first accepted reply, else the last tier's.

    Raises what the last tier raises; a reply that was not accepted is never returned.
    """
    *cheaper, last = chain.tiers
    verdicts: list[Verdict] = []
    if chain.rule is not None:
        for tier in cheaper:
            try:
                parsed = yield from ask_tier(question, tier)
            except (AllDeploymentsFailedError, UnparseableReplyError) as exc:
                verdicts.append(Verdict("reply", 0.0, accepted=False, reason=type(exc).__name__))
                continue
            judging = _judge(chain.rule, Case(question, tier, parsed, chain.helpers))
            verdict: Verdict = yield within_judge(chain.rule.judge.name, judging)
            verdicts.append(verdict)
            if verdict.accepted:
                return Outcome(parsed, tuple(verdicts))
    return Outcome((yield from ask_tier(question, last)), tuple(verdicts))


def _judge(rule: Cascade, case: Case[Any]) -> Generator[Any, Any, Verdict]:
    name = rule.judge.name
    try:
        score = yield from rule.judge.score(case)
    except (AttemptError, AllDeploymentsFailedError, UnparseableReplyError) as exc:
        # Fail closed: without a judge the cheap reply is not known to be good.
        return Verdict(name, 0.0, accepted=False, reason=f"no verdict: {type(exc).__name__}")
    return Verdict(name, score.value, accepted=score.value >= rule.least_score, reason=score.reason)
