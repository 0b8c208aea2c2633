"""Decorator: `@llm_task` makes a prompt function a Prefect task that answers.

An LLMTask is a prefect.Task: calling, `.submit`, `.map`, retries, hooks and pickling are
Prefect's. What is ours is the body: render the prompt, carry out the plan, name the task run.
"""

import functools
import inspect
from collections.abc import Callable, Coroutine
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext, TaskRunContext
from prefect.states import State
from prefect.tasks import TaskOptions
from typing_extensions import Unpack

from ..caching import ExactCache
from ..request import Answer, PromptLike, Sampling
from ..rollouts import Rollout
from ..routing import Cascade, OnChunk
from ..tracing.prefect_ui import conclude, report_at_end
from .drive import drive, drive_async
from .hands import Hands, hands
from .plan import Plan, step_plan
from .returns import Returns
from .spec import StepSpec

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_SPEC_OPTIONS = ("tier", "cascade", "cache", "sampling", "rollout", "on_chunk")


class _Step(Task[P, R]):
    """A task whose body names its own state, which callers never see."""

    if not TYPE_CHECKING:  # Task's own overloads say what these take and return

        def __call__(self, *args, return_state=False, wait_for=None, **kwargs):
            report_at_end()
            ended = super().__call__(
                *args, return_state=return_state, wait_for=wait_for, **kwargs
            )
            if return_state:
                return ended
            return _value_later(ended) if inspect.isawaitable(ended) else _value(ended)

        def submit(self, *args, **kwargs):
            report_at_end()
            return super().submit(*args, **kwargs)

        def map(self, *args, **kwargs):
            report_at_end()
            return super().map(*args, **kwargs)

        def with_options(self, **options):
            # Task.with_options builds a plain Task; take over what it decided, and stay ourselves.
            chosen = super().with_options(**options)
            changed = copy(self)
            changed.__dict__.update(chosen.__dict__, task_key=self.task_key)
            return changed


def _value(ended: Any) -> Any:
    return ended.result() if isinstance(ended, State) else ended


async def _value_later(ending: Any) -> Any:
    ended = await ending
    return await ended.aresult() if isinstance(ended, State) else ended


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
        task = _Step.__new__(_Step)
        task.__dict__.update(step.__dict__, fn=_body(step.prompt, step.spec, _whole))
        return task


class LLMTask(_Step[P, R]):
    """A Prefect task that answers a prompt. Made by `@llm_task`.

    `prompt`: the undecorated prompt function. `spec`: what the decorator was told.
    `answer`: the same step as a task that returns the whole `Answer`.
    """

    answer = _AnswerTask[P, R]()

    def __init__(
        self, prompt: Callable[P, Any], spec: StepSpec[Any], **options: Unpack[TaskOptions]
    ) -> None:
        # Prefect reads name, source, task key and async-ness from the prompt function.
        super().__init__(prompt, **options)
        self.prompt = prompt
        self._set(replace(spec, name=self.name))

    def _set(self, spec: StepSpec[Any]) -> None:
        self.spec = spec
        self.fn = _body(self.prompt, spec, _bare)

    if not TYPE_CHECKING:

        def with_options(self, **options):
            ours = {name: options.pop(name) for name in _SPEC_OPTIONS if name in options}
            changed = super().with_options(**options)
            changed._set(replace(self.spec, name=changed.name, **ours))
            return changed

    else:

        def with_options(  # type: ignore[override]  # also takes what the decorator took
            self,
            *,
            tier: str = ...,
            cascade: Cascade | None = ...,
            cache: ExactCache | None = ...,
            sampling: Sampling = ...,
            rollout: Rollout | None = ...,
            on_chunk: OnChunk | None = ...,
            **options: Unpack[TaskOptions],
        ) -> "LLMTask[P, R]": ...


def _bare(answer: Answer[Any]) -> Any:
    return conclude(answer, answer.value)


def _whole(answer: Answer[Any]) -> Any:
    return conclude(answer, answer)


def _body(
    prompt: Callable[..., Any], spec: StepSpec[Any], conclusion: Callable[[Answer[Any]], Any]
) -> Callable[..., Any]:
    """Return the function that Prefect runs: async if the prompt function is."""
    if inspect.iscoroutinefunction(prompt):

        @functools.wraps(prompt)
        async def run_async(*args: Any, **kwargs: Any) -> Any:
            mine = hands()
            answer = await drive_async(_plan(spec, mine), mine, _renderer(prompt, args, kwargs))
            return conclusion(answer)

        return run_async

    @functools.wraps(prompt)
    def run(*args: Any, **kwargs: Any) -> Any:
        mine = hands()
        return conclusion(drive(_plan(spec, mine), mine, _renderer(prompt, args, kwargs)))

    return run


def _plan(spec: StepSpec[Any], mine: Hands) -> Plan[Answer[Any]]:
    flow, task = FlowRunContext.get(), TaskRunContext.get()
    named = None
    if flow is not None and flow.flow_run is not None:
        named = (str(flow.flow_run.id), flow.flow.name if flow.flow else flow.flow_run.name)
    return step_plan(spec, mine.surroundings(named, str(task.task_run.id) if task else None))


def _renderer(
    prompt: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[Callable[..., Any] | None], Any]:
    return lambda other: (other or prompt)(*args, **kwargs)


class _Decorator(Protocol[T]):
    """Turns a prompt function, async or not, into a step that returns T."""

    @overload
    def __call__(
        self, prompt: Callable[P, Coroutine[Any, Any, PromptLike]], /
    ) -> LLMTask[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __call__(self, prompt: Callable[P, PromptLike], /) -> LLMTask[P, T]: ...


@overload
def llm_task(
    *,
    tier: str,
    returns: type[T],
    cascade: Cascade | None = None,
    cache: ExactCache | None = ...,
    sampling: Sampling | None = None,
    rollout: Rollout | None = None,
    on_chunk: OnChunk | None = None,
    **options: Unpack[TaskOptions],
) -> _Decorator[T]: ...
@overload
def llm_task(
    *,
    tier: str,
    cascade: Cascade | None = None,
    cache: ExactCache | None = ...,
    sampling: Sampling | None = None,
    rollout: Rollout | None = None,
    on_chunk: OnChunk | None = None,
    **options: Unpack[TaskOptions],
) -> _Decorator[str]: ...
@overload
def llm_task(
    *,
    tier: str,
    returns: Any,
    cascade: Cascade | None = None,
    cache: ExactCache | None = ...,
    sampling: Sampling | None = None,
    rollout: Rollout | None = None,
    on_chunk: OnChunk | None = None,
    **options: Unpack[TaskOptions],
) -> _Decorator[Any]: ...
def llm_task(
    *,
    tier: str,
    returns: Any = str,
    cascade: Cascade | None = None,
    cache: ExactCache | None = ExactCache(),  # noqa: B008  # a frozen value
    sampling: Sampling | None = None,
    rollout: Rollout | None = None,
    on_chunk: OnChunk | None = None,
    **options: Unpack[TaskOptions],
) -> Any:
    """Make a prompt function a Prefect task that answers its prompt.

    The function returns a `Prompt`, a string or a list of messages, and may be async. Calling
    the task returns the result; `.answer(...)` the whole `Answer`.

    `tier`: who answers first: fast, standard, frontier or specialist.<domain>, as tierflow.toml
    defines them. `returns`: any type pydantic knows; `str` is the reply as it is. `cascade`:
    where and when to escalate. `cache`: the exact cache's terms, None for off. `sampling`: put
    over the tier's. `rollout`: a candidate for a share of the flow runs. `on_chunk`: stream, and
    receive each piece. All options of `prefect.task` work; Prefect's own result cache is off
    unless `cache_policy` says otherwise.

    Raises when the step runs: ConfigError (before any call), PromptError,
    AllDeploymentsFailedError, RejectedError, UnparseableReplyError.
    """
    spec = StepSpec(
        name="",
        tier=tier,
        returns=Returns[Any](returns),
        cascade=cascade,
        cache=cache,
        sampling=sampling or Sampling(),
        rollout=rollout,
        on_chunk=on_chunk,
    )
    options.setdefault("cache_policy", NO_CACHE)

    def decorate(prompt: Callable[..., Any]) -> LLMTask[..., Any]:
        return LLMTask(prompt, spec, **options)

    return cast("_Decorator[Any]", decorate)
