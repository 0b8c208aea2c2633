"""Step: one LLM step under way, and how it ends in the ledger, well or badly."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeAlias, TypeVar

from ..budgets import Budget
from ..caching import ExactCache, Labels, prefix_key
from ..request import Answer, Request
from ..routing import Chain, NamedTier, Trail, temperature_of
from ..routing.budgets import Purse, Spender, purse_of, refuse_unpriced
from ..tracing import Within, span_ids, within_step
from .account import answer_without, calls_of, row_of
from .spec import Account, StepSpec, Surroundings

T = TypeVar("T")
Plan: TypeAlias = Generator[Any, Any, T]


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
    """One step under way. `started`: on the surroundings' clock. `volatile`: see Prompt.

    `prompted_by`: names the code of the prompt function, see StepSpec. `evaluators`: the tiers that
    evaluators ask, by name; they decide no answer.
    """

    spec: StepSpec[T]
    around: Surroundings
    chain: Chain
    request: Request
    started: float
    volatile: bool = False
    trail: Trail = field(default_factory=Trail)
    prompted_by: str = ""
    evaluators: Mapping[str, NamedTier] = field(default_factory=dict[str, NamedTier])

    @property
    def latency_ms(self) -> float:
        """How long it has taken so far."""
        return 1000 * (self.around.clock() - self.started)

    @property
    def route(self) -> tuple[str, ...]:
        """All but the request that decides the answer, for the keys."""
        return (*self.chain.identity, *self.recordings)

    @property
    def recordings(self) -> tuple[str, ...]:
        """The folder of recordings, if answers come from there: another's are other answers."""
        return (str(self.around.settings.replay_dir),) if reads_items(self.chain) else ()

    @property
    def terms(self) -> ExactCache | None:
        """On what terms answers are kept and served, None for not at all."""
        cache, mode = self.spec.cache, self.around.settings.cache.mode
        if cache is None or mode == "off" or self.volatile:
            return None
        temperatures = (
            temperature_of(self.spec.sampling, deployment, each.tier)
            for each in self.chain.tiers
            for deployment in each.tier.deployments
        )
        if not cache.allows(temperatures):
            return None
        match mode:
            case "refresh":
                return replace(cache, refresh=True, read_only=False)
            case "read-only":
                return replace(cache, refresh=False, read_only=True)
            case _:
                return cache

    def labels(self, terms: ExactCache) -> Labels:
        """Return what answers and questions of the step can be invalidated by."""
        request = self.request
        return Labels(request.step, request.tenant, prefix_key(request), terms.tags)

    def anew(self) -> "Step[T]":
        """Return the step as if it began now, with nothing paid yet and nobody listening."""
        unheard, started = replace(self.spec, on_chunk=None), self.around.clock()
        # What it is paid from stays the same, whatever it is called.
        trail = new_trail(unheard, self.chain, self.around, started, self.trail.purse)
        # Its batch may be over by then.
        trail.batch = 0
        return replace(self, spec=unheard, started=started, trail=trail)

    def within(self, plan: Plan[Answer[T]]) -> Within:
        """Return the effect that carries out a plan in the step's span, and accounts for it."""
        first = self.chain.tiers[0].name
        return within_step(self.request, first, self.around.where, _accounted(self, plan))


def new_trail(
    spec: StepSpec[Any], chain: Chain, around: Surroundings, started: float, purse: Purse | None
) -> Trail:
    """Return the trail of a step that began then: its deadline is the spec's, else the tier's."""
    deadline_s = spec.deadline_s or chain.tiers[0].tier.deadline_s
    trail = trail_until(deadline_s, around, started, purse)
    trail.batch = around.batch
    return trail


def trail_until(
    deadline_s: float | None, around: Surroundings, started: float, purse: Purse | None
) -> Trail:
    """Return the trail of what began then and ends within so many seconds; None for no limit."""
    if deadline_s is None:
        return Trail(purse=purse, session=around.session)
    ends = started + deadline_s
    return Trail(left_s=lambda: ends - around.clock(), purse=purse, session=around.session)


def purse_for(
    budgets: Sequence[Budget],
    own_usd: float | None,
    tiers: Iterable[NamedTier],
    around: Surroundings,
    *,
    name: str,
    tenant: str,
) -> Purse | None:
    """Return the budgets that a step of that name is paid from, None for none.

    `own_usd`: the step's own, a flow run. `tiers`: all it might ask. Raises ConfigError where a
    budget holds for a deployment without a price.
    """
    if not budgets and own_usd is None:
        return None
    where = around.where
    run = where.flow_run_id or where.task_run_id or around.new_ref()
    spender = Spender(name, run, where.flow or "", tenant)
    purse = purse_of(budgets, own_usd, spender, around.now)
    if purse is not None:
        for tier in tiers:
            refuse_unpriced(purse, tier.tier.deployments)
    return purse


def reads_items(chain: Chain) -> bool:
    """Tell whether an item's id matters to a chain: only recordings are found by it."""
    tiers = (*chain.tiers, *chain.helpers.values())
    providers = {each.provider for tier in tiers for each in tier.tier.deployments}
    return not providers.isdisjoint({"replay", "record"})


def _accounted(step: Step[T], plan: Plan[Answer[T]]) -> Plan[Answer[T]]:
    trace_id, span_id = span_ids()

    def ended(answer: Answer[T]) -> Answer[T]:
        return replace(
            answer,
            latency_ms=step.latency_ms,
            trace_id=trace_id,
            span_id=span_id,
            ref=step.around.new_ref(),
        )

    try:
        answer = yield from plan
    except BaseException as error:
        # What was paid was paid, also when the step was cancelled or a listener of its failed.
        answer = answer_without(step.request, step.trail, "off" if step.terms is None else "miss")
        yield _account(step, ended(answer), outcome=type(error).__name__)
        raise
    answer = ended(answer)
    yield _account(step, answer, outcome="ok")
    return answer


def _account(step: Step[Any], answer: Answer[Any], *, outcome: str) -> Account:
    row = row_of(answer, step.request, step.around.where, outcome=outcome)
    return Account(row, calls_of(step.trail, answer.ref))
