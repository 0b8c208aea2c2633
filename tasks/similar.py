"""Similar: one step's dealings with the similar-question cache. Decides only.

What is served was verified there. What is asked for anew teaches it: the new answer is compared
with the one that might have been served.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar, cast

from ..caching import (
    Entry,
    ExactCache,
    Find,
    Forget,
    Key,
    Learn,
    Remember,
    Resemble,
    SemanticCache,
    partition_key,
    scope_key,
    value_key,
)
from ..caching.similar import Candidate, Finding, Place, Served
from ..errors import (
    AllDeploymentsFailedError,
    AttemptError,
    BudgetExhaustedError,
    UnparseableReplyError,
)
from ..request import Answer, Request, Stored
from ..routing import Question, ask_tier, source_of
from .returns import Returns
from .step import Plan, Step

T = TypeVar("T")
_LOG = logging.getLogger("tierflow")

_JUDGED_SHARE = 0.1
"""Of the cases too doubtful to count for the proof, so many are put to a judge, who costs money."""

_TOOLS = frozenset({"functions", "mcp_servers", "plugins", "tools", "web_search_options"})
"""Options of a chat request by which a model looks things up."""

_SAME = Returns[bool](bool)
_QUESTION = (
    "Two answers were given to one request. Do they say the same in everything that matters to "
    "whoever asked, with no fact, number, name or instruction that differs? In doubt: no."
)


@dataclass(slots=True)
class Similar(Generic[T]):
    """The similar-question cache as one step sees it. `key`: of its exact answer."""

    step: Step[T]
    terms: ExactCache
    key: Key
    _finding: Finding | None = field(default=None, init=False)

    def look(self) -> Plan[Candidate | None]:
        """Return the stored question whose answer may be served, None for none."""
        terms, ask = self.terms, _ask(self.step)
        if not isinstance(terms, SemanticCache) or ask is None:
            return None
        self._finding = yield Resemble(_place(self.step, terms), ask, terms)
        return self._finding.candidate if self._finding and self._finding.served else None

    def as_served(self) -> Served | None:
        """Return what takes the hit back."""
        return self._finding.as_served() if self._finding else None

    def is_verified(self, value: T) -> bool:
        """Tell whether a value is the one that was found to be right for the question."""
        candidate = self._finding.candidate if self._finding else None
        return candidate is not None and candidate.value == self._hash(value)

    def gone(self) -> Plan[None]:
        """Remove the candidate, whose answer is no longer kept."""
        if self._finding is not None:
            if not self._finding.terms.read_only:
                yield Forget(self._finding)
            self._finding = replace(self._finding, candidate=None, served=False)

    def learn(self, answer: Answer[T], *, keep: bool) -> Plan[None]:
        """Compare a new answer with the candidate's, and keep the question if `keep`."""
        finding = self._finding
        if finding is None or finding.terms.read_only:
            return
        if finding.candidate is not None and finding.candidate.key == self.key:
            # Its own older answer: it tells nothing of other questions, and is replaced.
            if keep:
                yield Forget(finding)
        elif finding.teaches:
            yield from self._compare(finding, answer)
        if keep:
            yield Remember(finding, self.key, self._hash(answer.value))

    def _compare(self, finding: Finding, answer: Answer[T]) -> Plan[None]:
        terms, candidate = finding.terms, cast(Candidate, finding.candidate)
        if terms.same is None and terms.judge is None:
            yield Learn(finding, candidate.value == self._hash(answer.value))
            return
        weight = self._weight(finding)
        if not weight:
            return
        entry: Entry | None = yield Find(candidate.key)
        if entry is None or not isinstance(entry.content, Stored):
            yield Forget(finding)
            return
        same = yield from self._same(terms, entry.content.text, answer)
        if same is not None:
            yield Learn(finding, same, weight)

    def _weight(self, finding: Finding) -> float:
        """Return one over the share of such cases that are compared, 0 to leave this one out."""
        if finding.terms.judge is None or finding.counts:
            return 1.0
        return 1 / _JUDGED_SHARE if self.step.around.chance() < _JUDGED_SHARE else 0.0

    def _same(self, terms: SemanticCache, text: str, answer: Answer[T]) -> Plan[bool | None]:
        try:
            stored = self.step.spec.returns.read(text)
        except UnparseableReplyError:
            return None
        if terms.same is not None:
            return _same_by(terms.same, stored, answer.value)
        if self._hash(stored) == self._hash(answer.value):
            return True
        return (yield from self._judged(cast(str, terms.judge), text, answer.text))

    def _judged(self, tier: str, one: str, other: str) -> Plan[bool | None]:
        request = self.step.request
        asked = f"Request:\n{_ask(self.step)}\n\nAnswer A:\n{one}\n\nAnswer B:\n{other}"
        question = Question(
            Request(
                step=f"{request.step} (same answer?)",
                messages=(
                    {"role": "system", "content": _QUESTION},
                    {"role": "user", "content": asked},
                ),
                prefix_messages=1,
                schema=_SAME.schema,
                tenant=request.tenant,
            ),
            _SAME.read,
            self.step.trail,
            role="judge",
        )
        try:
            verdict = yield from ask_tier(question, self.step.chain.helpers[tier])
        except (
            AttemptError,
            AllDeploymentsFailedError,
            BudgetExhaustedError,
            UnparseableReplyError,
        ):
            # The answer is there; that nobody compared it costs only this lesson.
            return None
        return verdict.value

    def _hash(self, value: Any) -> str:
        return value_key(self.step.spec.returns.write(value))


def _ask(step: Step[Any]) -> str | None:
    """Return the text that is compared, None where similar questions must not be served."""
    *_, last = step.request.messages
    text = last.get("content")
    if last.get("role") != "user" or not isinstance(text, str) or not text.strip():
        return None
    tiers = (deployment for each in step.chain.tiers for deployment in each.tier.deployments)
    # What a tool brings depends on more than the question.
    return None if any(_TOOLS & each.params.keys() for each in tiers) else text


def _place(step: Step[Any], terms: SemanticCache) -> Place:
    request, route = step.request, step.route
    # What was learned by one way of comparing proves nothing of another.
    scope = scope_key(request, (*route, _comparison(terms)))
    return Place(scope, partition_key(request, route), step.labels(terms))


def _comparison(terms: SemanticCache) -> str:
    """Name how answers are compared."""
    if terms.same is None:
        return "value" if terms.judge is None else f"judge {terms.judge}"
    try:
        return f"same {source_of(terms.same)}"
    except ValueError:
        # An object that can be called: what it does cannot be read, so its class stands for it.
        kind = type(terms.same)
        return f"same {kind.__module__}.{kind.__qualname__}"


def _same_by(same: Callable[[Any, Any], bool], stored: Any, new: Any) -> bool | None:
    try:
        return bool(same(stored, new))
    except Exception:  # noqa: BLE001  # the user's own; the answer is paid for, a lesson is lost
        _LOG.warning("same=%r failed, so two answers were not compared.", same, exc_info=True)
        return None
