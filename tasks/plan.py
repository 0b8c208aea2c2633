"""Plan: the life of one step, top to bottom. Decides only; drive.py carries out what it yields.

1. pick the rollout's arm, and resolve the tiers: a wrong configuration fails before any call
2. render the prompt, build the request
3. exact cache: a hit ends here; identical requests under way are asked once
4. ask the cheapest tier, judge, accept or escalate; a reply that does not parse is a failure
5. store, trace, account
"""

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeAlias, TypeVar

from ..caching import ExactCache, Find, Keep, Key, Once, Shared, request_key
from ..errors import UnparseableReplyError
from ..request import Answer, Chunk, Request, Stored, render
from ..rollouts import Variant
from ..routing import Chain, Question, Trail, resolve, run_chain, temperature_of
from ..tracing import Within, describe_answer, span_ids, step_attributes
from .account import answer_of, answer_without, hit_of, row_of, stored_of
from .spec import Account, Render, StepSpec, Surroundings

T = TypeVar("T")
Plan: TypeAlias = Generator[Any, Any, T]


@dataclass(frozen=True, slots=True)
class _Step(Generic[T]):
    """One step under way. `started`: on the surroundings' clock."""

    spec: StepSpec[T]
    around: Surroundings
    chain: Chain
    request: Request
    started: float
    trail: Trail = field(default_factory=Trail)

    @property
    def latency_ms(self) -> float:
        return 1000 * (self.around.clock() - self.started)


def step_plan(spec: StepSpec[T], around: Surroundings) -> Plan[Answer[T]]:
    """Answer one step. Raises ConfigError before anything is asked, else what its tiers raise."""
    started = around.clock()
    arm, variant = _assigned(spec, around)
    chain = _chain(spec, variant, around)
    rendered = render((yield Render(variant.prompt)), spec.returns.write)
    request = Request(
        step=spec.name,
        messages=rendered.messages,
        prefix_messages=rendered.prefix_messages,
        schema=spec.returns.schema,
        sampling=spec.sampling,
        logprobs=spec.cascade is not None and spec.cascade.judge.logprobs,
        item=rendered.item if _reads_items(chain) else None,
        tenant=rendered.tenant,
        arm=arm,
    )
    answer: Answer[T] = yield Within(
        f"step {spec.name}",
        step_attributes(request, chain.tiers[0].name, around.where),
        _accounted(_Step(spec, around, chain, request, started)),
        describe_answer,
    )
    return answer


def _reads_items(chain: Chain) -> bool:
    """Tell whether an item's id matters: only recordings are found by it."""
    tiers = (*chain.tiers, *chain.helpers.values())
    providers = {each.provider for tier in tiers for each in tier.tier.deployments}
    return not providers.isdisjoint({"replay", "record"})


def _assigned(spec: StepSpec[Any], around: Surroundings) -> tuple[str, Variant]:
    """Pick the arm of this flow run; outside of one there is nothing to be sticky to."""
    unit = around.where.flow_run_id
    if spec.rollout is None or unit is None:
        return "", Variant()
    arm = spec.rollout.arm_of(unit)
    variant = spec.rollout.candidate if arm == "candidate" else Variant()
    return f"{spec.rollout.name}/{arm}", variant


def _chain(spec: StepSpec[Any], variant: Variant, around: Surroundings) -> Chain:
    rule, first = spec.cascade, variant.tier or spec.tier
    stronger = rule.stronger if rule else ()
    if first in stronger:
        # A candidate that starts further up has that much less to escalate to.
        stronger = stronger[stronger.index(first) + 1 :]
    helpers = rule.judge.tiers if rule else ()
    names = (first, *stronger)
    tiers = {
        name: resolve(around.settings.tiers, name, around.environ) for name in (*names, *helpers)
    }
    return Chain([tiers[name] for name in names], {name: tiers[name] for name in helpers}, rule)


def _accounted(step: _Step[T]) -> Plan[Answer[T]]:
    where, (trace_id, span_id) = step.around.where, span_ids()
    try:
        answer = yield from _cached_or_asked(step)
    except BaseException as error:
        # What was paid was paid, also when the step was cancelled or a listener of its failed.
        answer = answer_without(
            step.request, step.trail, "off" if _policy(step) is None else "miss"
        )
        answer = replace(answer, latency_ms=step.latency_ms, trace_id=trace_id, span_id=span_id)
        yield Account(row_of(answer, step.request, where, outcome=type(error).__name__))
        raise
    answer = replace(answer, latency_ms=step.latency_ms, trace_id=trace_id, span_id=span_id)
    yield Account(row_of(answer, step.request, where, outcome="ok"))
    return answer


@dataclass(frozen=True, slots=True)
class _Asked(Generic[T]):
    """A new answer, and how it is kept for others."""

    answer: Answer[T]
    stored: Stored


def _cached_or_asked(step: _Step[T]) -> Plan[Answer[T]]:
    if _policy(step) is None:
        asked = yield from _asked(step, None)
        return asked.answer
    # Recordings of another folder are other answers.
    recordings = (str(step.around.settings.replay_dir),) if _reads_items(step.chain) else ()
    key = request_key(step.request, (*step.chain.identity, *recordings))
    while True:
        stored: Stored | None = yield Find(key)
        if stored is not None and (hit := _hit(step, stored)) is not None:
            return hit
        shared: Shared = yield Once(key, _asked(step, key))
        brought: _Asked[T] | None = shared.result
        if brought is not None and shared.led:
            return brought.answer
        if brought is not None and (hit := _hit(step, brought.stored)) is not None:
            return hit
        # The leader gave up: look again, and then ask.


def _policy(step: _Step[Any]) -> ExactCache | None:
    """Return the terms on which the answer may be kept, None if it may not."""
    own, cache = step.spec.sampling, step.spec.cache
    temperatures = (
        temperature_of(own, deployment, each.tier)
        for each in step.chain.tiers
        for deployment in each.tier.deployments
    )
    if cache is None or not step.around.settings.cache.enabled:
        return None
    return cache if cache.allows(temperatures) else None


def _hit(step: _Step[T], stored: Stored) -> Answer[T] | None:
    """Return a stored answer as this step's own; None if it does not fit the result type."""
    try:
        value = step.spec.returns.read(stored.text)
    except UnparseableReplyError:
        return None
    if step.spec.on_chunk is not None:
        step.spec.on_chunk(Chunk(stored.text, stored.tier, stored.model, attempt=0))
    return hit_of(value, stored, step.request, step.around.settings.tiers)


def _asked(step: _Step[T], key: Key | None) -> Plan[_Asked[T]]:
    """Ask the chain; keep the answer under `key` unless it is None."""
    spec, settings = step.spec, step.around.settings
    question = Question(step.request, spec.returns.read, step.trail, on_chunk=spec.on_chunk)
    parsed = yield from run_chain(question, step.chain)
    answer = answer_of(parsed, step.request, step.trail, "miss" if key else "off", settings.tiers)
    stored = stored_of(answer, parsed.reply.usage)
    # A reply that was cut off may well come out whole the next time.
    if key is not None and spec.cache is not None and not parsed.reply.is_cut_off:
        yield Keep(key, stored, spec.name, spec.cache.ttl_s or settings.cache.ttl_s)
    return _Asked(answer, stored)
