"""Step task: how a Prefect task behaves whose body names its own state, and how it is made."""

import inspect
import os
from collections.abc import Generator, Iterable, Mapping, Sized
from contextlib import contextmanager, suppress
from copy import copy
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload

from opentelemetry.context import Context
from prefect import Task, unmapped
from prefect.client.schemas.objects import State

from ..caching.prefix import expecting
from ..errors import ConfigError
from ..settings import settings
from ..tracing import set_up
from ..tracing.joining import within
from ..tracing.prefect_ui import report_at_end
from ..tracing.workflow import enter_workflow
from .ordering import Turns, map_turns, permuted

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
            with _in_its_flow() as context:
                ended = super().__call__(
                    *args, return_state=return_state, wait_for=wait_for, **kwargs
                )
            if inspect.isawaitable(ended):
                return _value_later(ended, context, return_state)
            return ended if return_state else _value(ended)

        def submit(self, *args: Any, **kwargs: Any) -> Any:
            """Hand the step to the flow's task runner."""
            with _in_its_flow():
                return super().submit(*args, **kwargs)

        def map(self, *args: Any, **kwargs: Any) -> Any:
            """Hand a call for each item to the flow's task runner; each knows how many follow."""
            with _in_its_flow(), expecting(mapped_calls((*args, *kwargs.values()))):
                turns = self._turns(args, kwargs)
                if turns is None:
                    return super().map(*args, **kwargs)
                args, kwargs = permuted(turns.order, args, kwargs)
                futures: Any = super().map(*args, **kwargs)
                return type(futures)(turns.back(futures))

        def _turns(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Turns | None:
            """Return the order of a map's calls; None for that of its arguments."""
            # Only a step itself has these; its batch is mapped over lists of items.
            spec, prompt = getattr(self, "spec", None), getattr(self, "prompt", None)
            if spec is None or prompt is None or hasattr(self, "like"):
                return None
            return map_turns(spec, prompt, args, kwargs)

        def with_options(self, **options: Any) -> Any:
            """Return a copy with other options."""
            # Task.with_options builds a plain Task; take over what it decided, and stay ourselves.
            chosen = super().with_options(**options)
            changed = copy(self)
            changed.__dict__.update(chosen.__dict__, task_key=self.task_key)
            return changed

        def __getstate__(self) -> dict[str, Any]:
            return {**self.__dict__, "_pickled_in": os.getpid()}

        def __setstate__(self, state: dict[str, Any]) -> None:
            pickled_in = state.pop("_pickled_in")
            self.__dict__.update(state)
            if pickled_in != os.getpid():
                # Before Prefect begins the span of its task run here.
                _set_up_telemetry()


def mapped_calls(given: Iterable[Any]) -> int | None:
    """How many calls `map` will make, as far as its arguments tell; what is no list is constant."""
    lengths = [len(each) for each in given if isinstance(each, Sized) and not _is_constant(each)]
    return max(lengths, default=None)


def _is_constant(value: object) -> bool:
    return isinstance(value, str | bytes | unmapped)


@contextmanager
def _in_its_flow() -> Generator[Context | None]:
    """Call a step as one of its flow run: in the report at its end, and below its span."""
    report_at_end()
    _set_up_telemetry()
    context = enter_workflow()
    with within(context):
        yield context


def _set_up_telemetry() -> None:
    # Wrong settings are the step's own to raise, in its task run.
    with suppress(ConfigError):
        set_up(settings().telemetry)


def _value(ended: Any) -> Any:
    # Inside an async flow `result()` alone would be a coroutine.
    return ended.result(_sync=True) if _is_state(ended) else ended


def _is_state(ended: Any) -> bool:
    return isinstance(ended, State)


async def _value_later(ending: Any, context: Context | None, return_state: bool) -> Any:
    with within(context):
        ended = await ending
    return await ended.aresult() if not return_state and _is_state(ended) else ended
