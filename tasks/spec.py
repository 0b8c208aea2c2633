"""Spec: what a step was told by its decorator, and what its plan may know of the world."""

import inspect
import math
import random
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..caching import ExactCache
from ..request import Sampling
from ..rollouts import Rollout
from ..routing import Cascade, OnChunk, Route
from ..routing.evaluators import Evaluator, Found
from ..settings import Settings
from ..tracing import Call, Row, Where
from .returns import Returns

T = TypeVar("T")


def _new_ref() -> str:
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class StepSpec(Generic[T]):
    """What the decorator was told. Travels to workers, so it holds values and functions only.

    `reason`: why a premium tier, for readers and `tierflow lint`. `tags`: the task's, for [policy].
    `prompted_by`: names the code of its prompt function, for what is proven of it. `budget_usd`:
    what one flow run may spend on it; outside of one, a call of it. `evaluate`: who looks at a
    sample of its answers afterwards.
    """

    name: str
    tier: str
    returns: Returns[T]
    cascade: Cascade | None = None
    route: Route | None = None
    cache: ExactCache | None = field(default_factory=ExactCache)
    sampling: Sampling = field(default_factory=Sampling)
    rollout: Rollout | None = None
    on_chunk: OnChunk | None = None
    deadline_s: float | None = None
    budget_usd: float | None = None
    reason: str | None = None
    tags: frozenset[str] = frozenset()
    prompted_by: str = ""
    evaluate: tuple[Evaluator, ...] = ()

    def __post_init__(self) -> None:
        for name, value, kind, remedy in (
            ("cache", self.cache, ExactCache, "ExactCache(...), or None for off"),
            ("cascade", self.cascade, Cascade, 'Cascade(to="frontier", judge=...), or None'),
            ("rollout", self.rollout, Rollout, "Rollout(...), or None"),
            ("route", self.route, Route, 'Route(to="frontier", budget_usd=...), or None'),
            ("sampling", self.sampling, Sampling, "Sampling(...)"),
        ):
            if not isinstance(value, kind) and (value is not None or name == "sampling"):
                raise TypeError(f"{name}={value!r:.60} is no {kind.__name__}. Give {remedy}.")
        self._check_route()
        self._check_evaluators()
        if self.deadline_s is not None and not self.deadline_s > 0:
            raise ValueError(
                f"deadline_s={self.deadline_s!r} leaves no time. Give seconds above 0."
            )
        if self.budget_usd is not None and not 0 < self.budget_usd < math.inf:
            raise ValueError(f"budget_usd={self.budget_usd!r} is no sum. Give dollars above 0.")
        if self.reason is not None and not self.reason.strip():
            raise ValueError("reason is blank. Say in words why the step needs its tier.")
        if inspect.iscoroutinefunction(self.on_chunk):
            raise TypeError("on_chunk is an async function, and nobody would await it. Give a def.")

    def _check_route(self) -> None:
        if self.route is None:
            return
        if self.cascade is not None:
            raise ValueError("route= and cascade= both say who is asked. Give one of them.")
        if self.on_chunk is not None:
            raise ValueError(
                "A route may take an earlier answer than the one that was streamed last. Drop "
                "on_chunk, or take a cascade."
            )
        if self.tier in self.route.stronger:
            raise ValueError(f"Route(to=...) names {self.tier!r}, which is the step's own tier.")

    def _check_evaluators(self) -> None:
        for each in self.evaluate:
            if not hasattr(each, "sample") or isinstance(each, type):
                raise TypeError(
                    f"evaluate=[{each!r:.60}] has no evaluator. Give safety(...), judged(...), "
                    "checked(...), or others of theirs."
                )
        names = [each.name for each in self.evaluate]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(
                f"evaluate= has more than one {', '.join(twice)}, and nobody could tell them apart."
            )

    @property
    def stronger(self) -> tuple[str, ...]:
        """The tiers after the first, of the cascade or the route."""
        rule = self.cascade or self.route
        return rule.stronger if rule else ()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a plan may know of the world. `environ`: API keys. `clock`: monotonic seconds.

    `batch`: names the batch of this process that the step is an item of; 0 for none. `now`: Unix
    seconds, for what is kept. `chance`: a float in [0, 1), for samples. `new_ref`: a
    name for an answer that no other has.
    """

    settings: Settings
    environ: Mapping[str, str]
    where: Where
    clock: Callable[[], float]
    now: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random
    new_ref: Callable[[], str] = _new_ref
    batch: int = 0

    @property
    def session(self) -> str:
        """The run that all of it belongs to: the flow run, else the task run; empty for none."""
        return self.where.flow_run_id or self.where.task_run_id or ""


@dataclass(frozen=True, slots=True)
class Render:
    """Effect: call a prompt function with the step's arguments; None means the step's own.

    Sends back what the function returned, awaited if need be.
    """

    prompt: Callable[..., Any] | None


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Effect: record what an evaluator found of the answer that `row` is about. Sends back None."""

    row: Row
    found: Found
    by: Evaluator


@dataclass(frozen=True, slots=True)
class Account:
    """Effect: enter a step's end and its calls in the ledger. Sends back None."""

    row: Row
    calls: tuple[Call, ...] = ()
