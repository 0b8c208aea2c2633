"""World: carries out routing's plans, with scripted answers and a clock that pauses move."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from tierflow.errors import AttemptError
from tierflow.request import Reply, Request, Usage
from tierflow.routing import (
    Admit,
    Ask,
    Foreign,
    NamedTier,
    Pause,
    Place,
    Placed,
    Rank,
    RunTests,
    Tell,
    run_tests,
)
from tierflow.routing.budgets import MemoryBudgets, Reserve, Settle, TellExhausted
from tierflow.routing.resilience import Guard
from tierflow.settings import Deployment, Tier
from tierflow.tracing import Within

Answering = Callable[[Ask], str | AttemptError]
"""What a deployment does when it is asked: it says a text, or fails."""


@dataclass
class World:
    """A driver of plans that reaches nothing real, but for the processes of unit tests.

    `asks`, `pauses`: what the plans wanted, in order, with the time on the world's own clock.
    `told`: what people were to hear; `exhausted`: of budgets. `spans`: name of each finished span,
    and what its result is described by. `on_pause`: what others do meanwhile. `replicas`: of its
    pool, which are placed in this order; `placed`: what was to be placed.
    """

    answering: Answering
    now: float = 0.0
    asks: list[tuple[float, Ask]] = field(default_factory=list[tuple[float, Ask]])
    pauses: list[float] = field(default_factory=list[float])
    told: list[Tell] = field(default_factory=list[Tell])
    exhausted: list[TellExhausted] = field(default_factory=list[TellExhausted])
    on_pause: Callable[[], object] = lambda: None
    replicas: tuple[str, ...] = ()
    placed: list[Place] = field(default_factory=list[Place])
    spans: list[tuple[str, dict[str, Any]]] = field(
        default_factory=list[tuple[str, dict[str, Any]]]
    )

    def __post_init__(self) -> None:
        self.guard = Guard(lambda: self.now, replicas=self._by_instance)
        self.budgets = MemoryBudgets(lambda: self.now)

    @property
    def asked(self) -> list[str]:
        """The models that were asked, in order, without their provider."""
        return [ask.deployment.model.partition("/")[2] for _, ask in self.asks]

    def run(self, plan: Generator[Any, Any, Any]) -> Any:
        """Carry a plan out to its end, and return its result or raise its error."""
        try:
            effect = next(plan)
            while True:
                try:
                    came = self._perform(effect)
                except Exception as exc:  # noqa: BLE001  # the plan decides what a failure means
                    effect = plan.throw(exc)
                else:
                    effect = plan.send(came)
        except StopIteration as done:
            return done.value

    def _perform(self, effect: object) -> Any:  # noqa: C901, PLR0911  # one an effect
        match effect:
            case Rank():
                return self.guard.rank(effect)
            case Admit():
                return self.guard.admit(effect)
            case Place():
                return self._place(effect)
            case Pause(seconds):
                self.pauses.append(seconds)
                self.now += seconds
                self.on_pause()
                return None
            case Reserve() | Settle() | TellExhausted():
                return self._spend(effect)
            case Within(name, _, plan, describe):
                result = self.run(plan)
                self.spans.append((name, dict(describe(result))))
                return result
            case RunTests():
                return run_tests(effect)
            case Foreign(work):
                return work(self.run)
            case Tell():
                self.told.append(effect)
                return None
            case Ask():
                return self._answer(effect)
            case _:
                raise TypeError(f"Routing has no effect {effect!r}.")

    def _by_instance(self, deployment: Deployment) -> dict[str, Deployment]:
        return {each.instance: each for each in map(deployment.at, self.replicas)}

    def _place(self, place: Place) -> Placed | None:
        self.placed.append(place)
        known = self._by_instance(place.deployment)
        barred = {*place.excluded, *self.guard.barred(known)}
        for each in known.values():
            if each.api_base in barred:
                continue
            if (probe := self.guard.probe(each, place.lease_s)) is not None:
                return Placed(each, ticket=len(self.placed), probe=probe)
        return None

    def _spend(self, effect: Reserve | Settle | TellExhausted) -> Any:
        match effect:
            case Reserve(accounts, usd, lease_s):
                return self.budgets.reserve(accounts, usd, lease_s)
            case Settle(reserved, usd):
                return self.budgets.settle(reserved, usd)
            case TellExhausted():
                return self.exhausted.append(effect)

    def _answer(self, ask: Ask) -> Reply:
        self.asks.append((self.now, ask))
        said = self.answering(ask)
        if isinstance(said, AttemptError):
            self.guard.failed(ask, said, 0.0)
            raise said
        reply = a_reply(said, tier=ask.tier.name, model=ask.deployment.model)
        self.guard.replied(ask, reply)
        return reply


def scripted(**scripts: list[str | AttemptError]) -> Answering:
    """Answer each model by its own list, the last entry for ever."""
    played = dict.fromkeys(scripts, 0)

    def answer(ask: Ask) -> str | AttemptError:
        model = ask.deployment.model.partition("/")[2]
        script = scripts[model]
        step = script[min(played[model], len(script) - 1)]
        played[model] += 1
        return step

    return answer


def a_tier(name: str, *models: str, **options: Any) -> NamedTier:
    """A tier of models of one provider."""
    deployments = tuple(Deployment(model=f"openai/{model}") for model in models)
    return NamedTier(name, Tier(deployments=deployments, **options))


def a_reply(text: str, **fields: Any) -> Reply:
    """A reply that took ten tokens in, two out, and one cent."""
    given: dict[str, Any] = {
        "tier": "fast",
        "deployment": "openai/a",
        "model": "openai/a",
        "usage": Usage(10, 2),
        "cost_usd": 0.01,
        "latency_ms": 1.0,
    }
    return Reply(text=text, **(given | fields))


def a_request(ask: str = "Where is it?", **fields: Any) -> Request:
    """A request of one user message."""
    return Request("step", ({"role": "user", "content": ask},), **fields)
