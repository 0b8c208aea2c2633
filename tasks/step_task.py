"""Step task: how a Prefect task behaves whose body names its own state, and how it is made."""

import inspect
from collections.abc import Iterable, Sized
from copy import copy
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload

from prefect import Task, unmapped
from prefect.client.schemas.objects import State

from ..caching.prefix import expecting
from ..tracing.prefect_ui import report_at_end

P = ParamSpec("P")
R = TypeVar("R")


class StepTask(Task[P, R]):
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
        def __call__(self, *args: Any, **kwargs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # fewer overloads than Task's
            """Run the step, as any task of Prefect's."""
            ...

    else:  # Task's own overloads say what `submit` and `map` take and return

        def __call__(
            self, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any
        ) -> Any:
            """Run the step, as any task of Prefect's."""
            report_at_end()
            ended = super().__call__(*args, return_state=return_state, wait_for=wait_for, **kwargs)
            if return_state:
                return ended
            return _value_later(ended) if inspect.isawaitable(ended) else _value(ended)

        def submit(self, *args: Any, **kwargs: Any) -> Any:
            """Hand the step to the flow's task runner."""
            report_at_end()
            return super().submit(*args, **kwargs)

        def map(self, *args: Any, **kwargs: Any) -> Any:
            """Hand a call for each item to the flow's task runner; each knows how many follow."""
            report_at_end()
            with expecting(mapped_calls((*args, *kwargs.values()))):
                return super().map(*args, **kwargs)

        def with_options(self, **options: Any) -> Any:
            """Return a copy with other options."""
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
