"""Decorator: `@llm_task` makes a prompt function a Prefect task that answers.

An LLMTask is a prefect.Task: calling, `.submit`, `.map`, retries, hooks and pickling are
Prefect's. What is ours is the body: render the prompt, carry out the plan, name the task run.
"""

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable, Sized
from copy import copy
from dataclasses import replace
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    overload,
)

from prefect import Task, unmapped
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.tasks import TaskOptions
from typing_extensions import Unpack

from ..caching import ExactCache
from ..caching.prefix import expecting
from ..errors import ConfigError, PromptError, RecordingNotFoundError, RejectedError
from ..request import Answer, PromptLike, Sampling
from ..rollouts import Rollout
from ..routing import Cascade, OnChunk
from ..tracing.prefect_ui import conclude, report_at_end
from .drive import drive, drive_async
from .hands import Hands, hands
from .plan import step_plan
from .result_cache import with_step_keyed
from .returns import Returns
from .spec import StepSpec
from .step import Plan

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class StepOptions(TaskOptions, total=False):
    """What `@llm_task` takes besides `tier` and `returns`: all of `prefect.task`'s, and these."""

    cascade: Cascade | None
    cache: ExactCache | None
    sampling: Sampling
    rollout: Rollout | None
    on_chunk: OnChunk | None


class ChangedOptions(StepOptions, total=False):
    """What `with_options` of a step takes."""

    tier: str


_OURS = ChangedOptions.__optional_keys__ - TaskOptions.__optional_keys__


class _Step(Task[P, R]):
    """A task whose body names its own state, which callers never see."""

    if TYPE_CHECKING:
        # Task's overloads take a result of type Any for a coroutine.
        @overload
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
        @overload
        def __call__(
            self, *args: Any, return_state: Literal[False], wait_for: Any = None, **kwargs: Any
        ) -> R: ...
        @overload
        def __call__(
            self, *args: Any, return_state: Literal[True], wait_for: Any = None, **kwargs: Any
        ) -> State[R]: ...
        @overload
        def __call__(
            self, *args: Any, wait_for: Any, return_state: Literal[False] = False, **kwargs: Any
        ) -> R: ...
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...  # pyright: ignore[reportIncompatibleMethodOverride]  # fewer overloads than Task's

    else:  # Task's own overloads say what `submit` and `map` take and return

        def __call__(
            self, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any
        ) -> Any:
            report_at_end()
            ended = super().__call__(*args, return_state=return_state, wait_for=wait_for, **kwargs)
            if return_state:
                return ended
            return _value_later(ended) if inspect.isawaitable(ended) else _value(ended)

        def submit(self, *args: Any, **kwargs: Any) -> Any:
            report_at_end()
            return super().submit(*args, **kwargs)

        def map(self, *args: Any, **kwargs: Any) -> Any:
            report_at_end()
            with expecting(mapped_calls((*args, *kwargs.values()))):
                return super().map(*args, **kwargs)

        def with_options(self, **options: Any) -> Any:
            # Task.with_options builds a plain Task; take over what it decided, and stay ourselves.
            chosen = super().with_options(**options)
            changed = copy(self)
            changed.__dict__.update(chosen.__dict__, task_key=self.task_key)
            return changed


def mapped_calls(given: Iterable[Any]) -> int | None:
    """How many calls `map` will make, as far as its arguments tell; what is no list is constant."""
    lengths = [len(each) for each in given if isinstance(each, Sized) and not _is_constant(each)]
    return max(lengths, default=None)


def _is_constant(value: object) -> bool:
    return isinstance(value, str | bytes | unmapped)


def _value(ended: Any) -> Any:
    # Inside an async flow `result()` alone would be a coroutine.
    return ended.result(_sync=True) if _is_state(ended) else ended


def _is_state(ended: Any) -> bool:
    return isinstance(ended, State)


async def _value_later(ending: Any) -> Any:
    ended = await ending
    return await ended.aresult() if _is_state(ended) else ended


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
        task = cast(Any, _Step.__new__(_Step))
        body = _bound_like(_body(step.prompt, step.spec, _whole), step.fn)
        task.__dict__.update(step.__dict__, fn=body)
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
        self.spec = replace(spec, name=self.name)
        self.fn = _body(prompt, self.spec, _bare)

    def with_options(self, **options: Unpack[ChangedOptions]) -> "LLMTask[P, R]":  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # takes more than Task's
        """Return a copy with other options of the decorator's or of Prefect's."""
        given = cast("dict[str, Any]", options)
        ours = {name: given.pop(name) for name in _OURS if name in given}
        changed = cast("LLMTask[P, R]", super().with_options(**with_step_keyed(given)))
        changed.spec = replace(self.spec, name=changed.name, **ours)
        changed.fn = _bound_like(_body(self.prompt, changed.spec, _bare), self.fn)
        return changed


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
            mine = hands()
            answer = await drive_async(_plan(spec, mine), mine, _renderer(prompt, args, kwargs))
            return conclude(answer, shape(answer), run_async)

        return run_async

    @functools.wraps(prompt)
    def run(*args: Any, **kwargs: Any) -> Any:
        mine = hands()
        answer = drive(_plan(spec, mine), mine, _renderer(prompt, args, kwargs))
        return conclude(answer, shape(answer), run)

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


_LASTING = (ConfigError, PromptError, RejectedError, RecordingNotFoundError)


def _may_help(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Tell Prefect whether to retry: what is wrong with the step itself stays wrong."""
    return not isinstance(state.data, _LASTING)


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
    where and when to escalate. `cache`: ExactCache or SemanticCache, None for off. `sampling`: put
    over the tier's. `rollout`: a candidate for a share of the flow runs. `on_chunk`: stream, and
    receive each piece. All options of `prefect.task` work; Prefect's own result cache is off
    unless `cache_policy` says otherwise, and `retries` skip errors that would only come again.

    Raises when the step runs: ConfigError (before any call), PromptError,
    AllDeploymentsFailedError, RejectedError, UnparseableReplyError.
    """
    given = cast("dict[str, Any]", options)
    ours = {name: given.pop(name) for name in _OURS if name in given}
    spec = StepSpec(name="", tier=tier, returns=Returns[Any](returns), **ours)
    given.setdefault("cache_policy", NO_CACHE)
    given.setdefault("retry_condition_fn", _may_help)

    def decorate(prompt: Callable[..., Any]) -> LLMTask[..., Any]:
        return LLMTask(prompt, spec, **with_step_keyed(given))

    return cast("_Decorator[Any]", decorate)
