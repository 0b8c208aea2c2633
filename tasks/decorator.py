"""Decorator: `@llm_task` makes a prompt function a Prefect task that answers.

An LLMTask is a prefect.Task: calling, `.submit`, `.map`, retries, hooks and pickling are
Prefect's. What is ours is the body: render the prompt, carry out the plan, name the task run.
"""

import functools
import inspect
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import (
    Any,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    overload,
)

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import TaskOptions
from typing_extensions import Unpack

from ..caching import ExactCache
from ..errors import (
    BatchError,
    BudgetExhaustedError,
    ConfigError,
    PromptError,
    RecordingNotFoundError,
    RejectedError,
)
from ..request import Answer, PromptLike, Sampling
from ..rollouts import Rollout
from ..routing import Cascade, OnChunk, Route
from ..routing.evaluators import Evaluator
from ..tracing.prefect_ui import conclude
from .batch import BatchTask, batch_body
from .body import answered, answered_async
from .gated import prompt_source
from .result_cache import with_step_keyed
from .returns import Returns
from .ruled import refuse_text
from .spec import StepSpec
from .step_task import StepTask

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class StepOptions(TaskOptions, total=False):
    """What `@llm_task` takes besides `tier` and `returns`: all of `prefect.task`'s, and these."""

    cascade: Cascade | None
    route: Route | None
    cache: ExactCache | None
    sampling: Sampling
    rollout: Rollout | None
    on_chunk: OnChunk | None
    deadline_s: float | None
    budget_usd: float | None
    reason: str | None
    evaluate: Sequence[Evaluator]


class ChangedOptions(StepOptions, total=False):
    """What `with_options` of a step takes."""

    tier: str


_OURS = ChangedOptions.__optional_keys__ - TaskOptions.__optional_keys__


class _AnswerTask(Generic[P, R]):
    """Descriptor: the step as a task that returns the whole Answer."""

    @overload
    def __get__(
        self, step: "LLMTask[P, Coroutine[Any, Any, T]]", owner: type | None = None
    ) -> Task[P, Coroutine[Any, Any, Answer[T]]]: ...
    @overload
    def __get__(self, step: "LLMTask[P, T]", owner: type | None = None) -> Task[P, Answer[T]]: ...
    @overload
    def __get__(self, step: None, owner: type | None = None) -> "_AnswerTask[P, R]": ...
    def __get__(self, step: Any, owner: type | None = None) -> Any:
        if step is None:
            return self
        task = cast(Any, StepTask.__new__(StepTask))
        body = _bound_like(_body(step.prompt, step.spec, _whole), step.fn)
        task.__dict__.update(step.__dict__, fn=body)
        return task


class _BatchOfStep(Generic[P, R]):
    """Descriptor: the step as a task that answers many items in one task run."""

    @overload
    def __get__(
        self, step: "LLMTask[P, Coroutine[Any, Any, T]]", owner: type | None = None
    ) -> Task[..., Coroutine[Any, Any, list[T]]]: ...
    @overload
    def __get__(self, step: "LLMTask[P, T]", owner: type | None = None) -> Task[..., list[T]]: ...
    @overload
    def __get__(self, step: None, owner: type | None = None) -> "_BatchOfStep[P, R]": ...
    def __get__(self, step: Any, owner: type | None = None) -> Any:
        if step is None:
            return self
        task = cast(Any, BatchTask.__new__(BatchTask))
        body = batch_body(step.spec, step.prompt)
        name = f"{step.name} batch"
        # A template of names speaks of one item's arguments.
        task.__dict__.update(step.__dict__, fn=body, like=step.fn, name=name, task_run_name=None)
        return task


class LLMTask(StepTask[P, R]):
    """A Prefect task that answers a prompt. Made by `@llm_task`.

    `prompt`: the undecorated prompt function. `spec`: what the decorator was told.
    `answer`: the same step as a task that returns the whole `Answer`. `batch`: the same step as a
    task that takes lists, as `map` does, and answers thousands of items in one task run: results
    in order; those of a run that broke off are in the cache.
    """

    answer = _AnswerTask[P, R]()
    batch = _BatchOfStep[P, R]()

    def __init__(
        self, prompt: Callable[P, Any], spec: StepSpec[Any], **options: Unpack[TaskOptions]
    ) -> None:
        refuse_text(options.get("tags"))
        # Prefect reads name, source, task key and async-ness from the prompt function.
        super().__init__(prompt, **options)
        self.prompt = prompt
        self.spec = replace(
            spec,
            name=self.name,
            tags=frozenset(self.tags),
            prompted_by=prompt_source(prompt),
        )
        self.fn = _body(prompt, self.spec, _bare)

    def with_options(self, **options: Unpack[ChangedOptions]) -> "LLMTask[P, R]":  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # takes more than Task's
        """Return a copy with other options of the decorator's or of Prefect's."""
        given = cast("dict[str, Any]", options)
        refuse_text(given.get("tags"))
        ours = _taken(given)
        changed = cast("LLMTask[P, R]", super().with_options(**with_step_keyed(given)))
        changed.spec = replace(self.spec, name=changed.name, tags=frozenset(changed.tags), **ours)
        changed.fn = _bound_like(_body(self.prompt, changed.spec, _bare), self.fn)
        return changed


def _taken(given: dict[str, Any]) -> dict[str, Any]:
    """Take our options out of all that were given."""
    ours = {name: given.pop(name) for name in _OURS if name in given}
    if "evaluate" in ours:
        ours["evaluate"] = tuple(ours["evaluate"])
    return ours


def _bare(answer: Answer[Any]) -> Any:
    return answer.value


def _whole(answer: Answer[Any]) -> Any:
    return answer


def _bound_like(body: Callable[..., Any], other: Callable[..., Any]) -> Callable[..., Any]:
    """Return `body` bound to the object that Prefect bound `other` to, if it is a method."""
    for name in ("__prefect_self__", "__prefect_cls__"):
        if hasattr(other, name):
            setattr(body, name, getattr(other, name))
    return body


def _body(
    prompt: Callable[..., Any], spec: StepSpec[Any], shape: Callable[[Answer[Any]], Any]
) -> Callable[..., Any]:
    """Return the function that Prefect runs: async if the prompt function is."""
    if inspect.iscoroutinefunction(prompt):

        @functools.wraps(prompt)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            answer = await answered_async(spec, prompt, args, kwargs)
            return conclude(answer, shape(answer), run_async)

        return run_async

    @functools.wraps(prompt)
    def run(*args: Any, **kwargs: Any) -> Any:
        answer = answered(spec, prompt, args, kwargs)
        return conclude(answer, shape(answer), run)

    return run


_LASTING = (
    BudgetExhaustedError,
    ConfigError,
    PromptError,
    RecordingNotFoundError,
    RejectedError,
)


def _may_help(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Tell Prefect whether to retry: what is wrong with the step itself stays wrong."""
    error = state.data
    errors = error.errors.values() if isinstance(error, BatchError) else (error,)
    return not all(isinstance(each, _LASTING) for each in errors)


class _Decorator(Protocol[T]):
    """Turns a prompt function, async or not, into a step that returns T."""

    @overload
    def __call__(
        self, prompt: Callable[P, Coroutine[Any, Any, PromptLike]], /
    ) -> LLMTask[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __call__(self, prompt: Callable[P, PromptLike], /) -> LLMTask[P, T]: ...


@overload
def llm_task(*, tier: str, returns: type[T], **options: Unpack[StepOptions]) -> _Decorator[T]: ...
@overload
def llm_task(*, tier: str, **options: Unpack[StepOptions]) -> _Decorator[str]: ...
@overload
def llm_task(*, tier: str, returns: Any, **options: Unpack[StepOptions]) -> _Decorator[Any]: ...
def llm_task(*, tier: str, returns: Any = str, **options: Unpack[StepOptions]) -> Any:
    """Make a prompt function a Prefect task that answers its prompt.

    The function returns a `Prompt`, a string or a list of messages, and may be async. Calling
    the task returns the result; `.answer(...)` the whole `Answer`.

    `tier`: who answers first: fast, standard, frontier or specialist.<domain>, as tierflow.toml
    defines them. `returns`: any type pydantic knows; `str` is the reply as it is. `cascade`:
    where and when to escalate. `route`: whom to ask, by what was learned, for a budget or a
    quality. `cache`: ExactCache or SemanticCache, None for off. `sampling`: put over the tier's.
    `rollout`: a candidate for a share of the flow runs. `on_chunk`: stream, and receive each piece.
    `deadline_s`: the step ends by then, all in all; else its tier's. `budget_usd`: what a flow run
    may spend on it, judges, repairs and audits included. `reason`: why a premium tier, for
    `tierflow lint`. `evaluate`: evaluators, each of which looks at a sample of the answers
    afterwards. All options of `prefect.task` work (`[policy]` knows
    steps by their `tags`); Prefect's own result cache is off unless `cache_policy` says otherwise,
    and `retries` skip errors that would only come again.

    Raises when the step runs: ConfigError (before any call), PromptError, BudgetExhaustedError,
    AllDeploymentsFailedError (DeadlineExceededError), RejectedError, UnparseableReplyError.
    """
    given = cast("dict[str, Any]", options)
    ours = _taken(given)
    spec = StepSpec(name="", tier=tier, returns=Returns[Any](returns), **ours)
    given.setdefault("cache_policy", NO_CACHE)
    given.setdefault("retry_condition_fn", _may_help)

    def decorate(prompt: Callable[..., Any]) -> LLMTask[..., Any]:
        return LLMTask(prompt, spec, **with_step_keyed(given))

    return cast("_Decorator[Any]", decorate)
