"""Running a route: ask the tier that it names, then the next, until it takes one's answer.

Decides only; a driver asks. numpy is loaded when the first question is routed.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ...errors import AllDeploymentsFailedError, UnparseableReplyError
from ...request import Verdict
from ..asking import Parsed, Question, ask_tier
from ..texts import ask_of, text_of
from ..tiers import NamedTier

if TYPE_CHECKING:
    from ..supermodels import State, Strategy

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OpenRoute:
    """A strategy in force. `identity`: names it and what it aims at, for the cache key."""

    identity: str
    strategy: "Strategy"


def run_route(
    question: Question[T], tiers: Sequence[NamedTier], route: OpenRoute
) -> Generator[Any, Any, Parsed[T]]:
    """Ask tiers as the route says, and return the answer that it takes.

    A tier that is down, or whose reply cannot be used, has said nothing: it counts as run, and its
    answer is never taken. Where all that the route asked have failed the others are asked, the
    strongest first. Raises what the last of them raises; RejectedError at once.
    """
    going = _Going(question, {each.name: each for each in tiers})
    return (yield from going.run(route.strategy))


class _Going(Generic[T]):
    """One question on its way. `answers`: the usable ones, by tier."""

    def __init__(self, question: Question[T], tiers: Mapping[str, NamedTier]) -> None:
        self._question, self._tiers = question, tiers
        self._answers: dict[str, Parsed[T]] = {}
        self._failure: Exception | None = None

    def run(self, strategy: "Strategy") -> Generator[Any, Any, Parsed[T]]:
        from ..supermodels import Run, State  # noqa: PLC0415  # imports numpy

        request = self._question.request
        state = State(ask_of(request), request.stratum)
        while isinstance(decision := strategy.next(state), Run):
            if state.replies:
                self._say(decision.quality, f"asks {decision.model} too", accepted=False)
            state = yield from self._asked(state, decision.model)
        taken = self._answers.get(decision.model)
        if taken is None:
            return (yield from self._rest(state))
        self._say(decision.quality, f"takes the answer of {decision.model}", accepted=True)
        self._question.trail.tier = decision.model
        return taken

    def _asked(self, state: "State", name: str) -> Generator[Any, Any, "State"]:
        from ..supermodels import Reply  # noqa: PLC0415  # imports numpy

        reply = Reply("", "")
        try:
            parsed = yield from ask_tier(self._question, self._tiers[name])
        except (AllDeploymentsFailedError, UnparseableReplyError) as exc:
            self._failure = exc
            self._say(0.0, f"{name}: {type(exc).__name__}", accepted=False)
        else:
            if not parsed.reply.is_cut_off:
                self._answers[name] = parsed
                reply = Reply(parsed.reply.text, text_of(parsed.value))
        return replace(state, replies={**state.replies, name: reply})

    def _rest(self, state: "State") -> Generator[Any, Any, Parsed[T]]:
        """Return the strongest usable answer; without any, ask who was not asked."""
        strongest_first = list(self._tiers)[::-1]
        for name in strongest_first:
            if name in self._answers:
                return self._answers[name]
        for name in strongest_first:
            if name not in state.replies:
                try:
                    return (yield from ask_tier(self._question, self._tiers[name]))
                except (AllDeploymentsFailedError, UnparseableReplyError) as exc:
                    self._failure = exc
        raise self._failure or AllDeploymentsFailedError("No tier of the route gave an answer.")

    def _say(self, score: float, reason: str, *, accepted: bool) -> None:
        self._question.trail.verdicts.append(Verdict("route", score, accepted, reason))
