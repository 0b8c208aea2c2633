"""Chain: a step's tiers, resolved, and how they are asked. Decides only; a driver asks."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..errors import AllDeploymentsFailedError, AttemptError, UnparseableReplyError
from ..request import Verdict
from ..tracing import within_judge
from .asking import Parsed, Question, ask_tier
from .cascade import Cascade
from .gate import Closed, Open
from .judges import Case
from .routes import OpenRoute, run_route
from .tiers import NamedTier

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Chain:
    """Resolved tiers, cheapest first; one of them where there is neither `rule` nor `route`.

    `lines`: the least score by cheaper tier that was proven; None where the rule draws the line.
    `proofs`: the calibrations they come from: what they accepted is not served without them.
    """

    tiers: Sequence[NamedTier]
    helpers: Mapping[str, NamedTier]
    rule: Cascade | None = None
    lines: Mapping[str, float] | None = None
    proofs: tuple[str, ...] = ()
    route: OpenRoute | None = None

    @property
    def identity(self) -> tuple[str, ...]:
        """All of the chain that decides an answer, for the cache key."""
        named = (*self.tiers, *self.helpers.values())
        lines = "".join(f"{tier.name}>={self.least_score(tier)};" for tier in self.tiers[:-1])
        rule = (f"{self.rule.judge.identity}:{lines}", *self.proofs) if self.rule else ()
        route = (self.route.identity,) if self.route else ()
        return (*(each.identity for each in named), *rule, *route)

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
    """Ask as the route says; else the cheapest first, until a reply is accepted, or the last.

    Raises what the last tier raises; a reply that was not accepted is never returned.
    """
    if chain.route is not None:
        return (yield from run_route(question, chain.tiers, chain.route))
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
