"""World: carries out what a step's plan asks for, from memory, and remembers what that was."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tierflow import Prompt, Usage
from tierflow.caching import (
    Entry,
    Find,
    Forget,
    Keep,
    Labels,
    Later,
    Learn,
    Lease,
    Once,
    Release,
    Remember,
    Resemble,
    Shared,
)
from tierflow.caching.similar import Finding
from tierflow.request import Reply, Stored
from tierflow.rollouts.enrolment import Enrol, Footing, Observe, Pin
from tierflow.rollouts.state import Epoch, RolloutState
from tierflow.routing import Ask, Pause, Rank
from tierflow.routing.effects import Standing
from tierflow.tasks.returns import Returns
from tierflow.tasks.spec import Account, Render, StepSpec, Surroundings
from tierflow.tracing import Row, Where, Within

T = TypeVar("T")
KEYS = {"ANTHROPIC_API_KEY": "a key"}
AT = "2026-01-02T03:04:05.678+00:00"
NOW = 1_800_000_000.0


@dataclass
class World:
    """Carries out effects from memory, and remembers which there were."""

    prompt: object = field(default_factory=lambda: Prompt(ask="Where is it?"))
    replies: list[str | BaseException] = field(default_factory=lambda: ["in the post"])
    stored: list[Entry | None] = field(default_factory=list[Entry | None])
    leads: bool = True
    finding: Finding | None = None
    leases: list[bool] = field(default_factory=list[bool])
    footing: Footing | None = None
    cut_off: set[int] = field(default_factory=set[int])
    seen: list[Any] = field(default_factory=list[Any])

    def play(self, plan: Generator[Any, Any, T]) -> T:
        """Carry a plan out to its end and return its result."""
        send: Callable[[], Any] = lambda: next(plan)  # noqa: E731
        while True:
            try:
                effect = send()
            except StopIteration as done:
                result: T = done.value
                return result
            self.seen.append(effect)
            try:
                answer = self.carry_out(effect)
                send = _sending(plan, answer)
            except BaseException as error:  # noqa: BLE001  # the plan decides what it means
                send = _throwing(plan, error)

    def carry_out(self, effect: object) -> Any:  # noqa: C901, PLR0911  # one an effect
        """Return what an effect sends back."""
        match effect:
            case Render():
                return self.prompt
            case Within():
                return self.play(effect.plan)
            case Once():
                return self._once(effect)
            case Find():
                return self.stored.pop(0) if self.stored else None
            case Rank():
                return tuple(Standing(each, 0.0) for each in effect.deployments)
            case Ask():
                return self._reply(effect)
            case Lease():
                return self.leases.pop(0) if self.leases else True
            case Resemble():
                return self.finding
            case Enrol():
                return self.footing
            case (
                Keep()
                | Learn()
                | Remember()
                | Forget()
                | Account()
                | Release()
                | Pause()
                | Later()
                | Observe()
            ):
                return None
            case _:
                raise AssertionError(f"Nobody told the world about {effect!r}.")

    def _once(self, once: Once) -> Shared:
        if self.leads:
            return Shared(self.play(once.plan), led=True)
        # The leader gave up, and leads no more.
        once.plan.close()
        self.leads = True
        return Shared(None, led=False)

    def _reply(self, ask: Ask) -> Reply:
        is_cut_off = len(self.of(Ask)) - 1 in self.cut_off
        said = self.replies.pop(0)
        if isinstance(said, BaseException):
            raise said
        return Reply(
            text=said,
            tier=ask.tier.name,
            deployment=ask.deployment.name,
            model=ask.deployment.model,
            usage=Usage(100, 10),
            cost_usd=0.5,
            latency_ms=1.0,
            finish_reason="length" if is_cut_off else None,
        )

    def names(self) -> list[str]:
        """Return the kinds of effects there were."""
        return [type(effect).__name__ for effect in self.seen]

    def of(self, kind: type[T]) -> list[T]:
        """Return the effects of one kind."""
        return [effect for effect in self.seen if isinstance(effect, kind)]

    @property
    def row(self) -> Row:
        """The one row that was entered in the ledger."""
        (account,) = self.of(Account)
        return account.row


def _sending(plan: Generator[Any, Any, Any], answer: Any) -> Callable[[], Any]:
    return lambda: plan.send(answer)


def _throwing(plan: Generator[Any, Any, Any], error: BaseException) -> Callable[[], Any]:
    return lambda: plan.throw(error)


def in_a_flow(around: Surroundings, run: str = "run-1") -> Surroundings:
    where = Where(AT, flow_run_id=run, flow="inbox", task_run_id="task-1")
    return Surroundings(around.settings, around.environ, where, around.clock)


def footing(name: str, weight: float, **options: Any) -> Footing:
    """Where a rollout stands that goes on under a weight, for the run of `in_a_flow`."""
    epoch = Epoch(number=3, weight=weight, step=0, since=NOW)
    given: dict[str, Any] = {"phase": "progressing", "epochs": (epoch,), **options}
    state = RolloutState(rollout=name, **given)
    return Footing(state, Pin.of(state), "run-1")


def a_spec(returns: Any = str, **options: Any) -> StepSpec[Any]:
    return StepSpec("find", options.pop("tier", "fast"), Returns[Any](returns), **options)


STORED = Entry(
    Stored("in the post", "fast", "d", "m", Usage(100, 10), 0.5),
    Labels("find"),
    NOW - 10,
    NOW + 10,
    NOW + 20,
)
