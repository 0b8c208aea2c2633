"""Batch: many items of one step inside one task run, so many at a time.

A place that becomes free is taken by the next item at once. What an item costs to answer is
decided by its plan, as in any other call of the step; here is only who goes when. How many of its
calls go at once is decided in routing/admission: what is found in a cache waits for nobody.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from contextvars import copy_context
from functools import partial
from itertools import count
from typing import Any, ParamSpec, TypeAlias, TypeVar

from prefect.futures import PrefectFuture
from prefect.utilities.callables import (
    expand_mapping_parameters,
    get_call_parameters,
    parameters_to_args_kwargs,
)

from ..caching.prefix import expecting
from ..errors import BatchError, ConfigError
from ..request import Answer
from ..settings import settings
from ..tracing.batch_progress import progress
from ..tracing.prefect_ui import conclude_batch
from .body import answered, answered_async
from .hands import hands
from .ordering import Turns
from .spec import StepSpec
from .step_task import StepTask

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Item: TypeAlias = Mapping[str, Any]
"""The arguments of one item, by name."""

_NUMBERS = count(1)
"""Name the batches of this process."""


class BatchTask(StepTask[P, R]):
    """A step as a task of many items. Takes what `map` takes: lists, and `unmapped` values.

    `like`: a function with the signature of the step's prompt function.
    """

    like: Callable[..., Any]

    def __call__(  # type: ignore[override]  # takes lists of what the step takes
        self, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any
    ) -> Any:
        """Answer the items and return their results, in order. Raises BatchError."""
        call: Any = super().__call__
        return call(self.items(args, kwargs), return_state=return_state, wait_for=wait_for)

    def submit(  # type: ignore[override]  # see above
        self, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any
    ) -> Any:
        """Hand the batch to the flow's task runner, as one task run."""
        submit: Any = super().submit
        return submit(self.items(args, kwargs), return_state=return_state, wait_for=wait_for)

    def items(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[dict[str, Any]]:
        """Return each item's arguments. Raises Prefect's errors for lists that do not fit."""
        given = get_call_parameters(self.like, args, kwargs, apply_defaults=False)
        arrived = {name: _arrived(value) for name, value in given.items()}
        expanded: list[dict[str, Any]] = expand_mapping_parameters(self.like, arrived)
        return expanded


def _arrived(value: Any) -> Any:
    if isinstance(value, PrefectFuture):
        # Its length must be known; futures within a list are Prefect's to wait for.
        return value.result()  # pyright: ignore[reportUnknownVariableType]  # of anything
    return value


def batch_body(spec: StepSpec[Any], prompt: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that Prefect runs for a batch: async if the prompt function is."""
    if inspect.iscoroutinefunction(prompt):

        async def answer_async(batch: int, item: Item) -> Answer[Any]:
            args, kwargs = parameters_to_args_kwargs(prompt, dict(item))
            return await answered_async(spec, prompt, args, kwargs, batch)

        async def run_async(items: list[dict[str, Any]]) -> Any:
            work = partial(answer_async, next(_NUMBERS))
            with expecting(len(items)), _progress(spec, len(items)) as ended:
                found = await each_async(work, items, _places(), ended)
            return _concluded(found, run_async)

        return run_async

    def run(items: list[dict[str, Any]]) -> Any:
        batch, turns = next(_NUMBERS), Turns(spec, prompt, items)

        def answer(item: Item) -> Answer[Any]:
            args, kwargs = parameters_to_args_kwargs(prompt, dict(item))
            return answered(spec, turns.prompt(item), args, kwargs, batch)

        with expecting(len(items)), _progress(spec, len(items)) as ended:
            stop = partial(_stop, batch)
            found = turns.back(each(answer, turns.items, _places(), ended, stop))
        return _concluded(found, run)

    return run


def each(
    work: Callable[[Item], T],
    items: Sequence[Item],
    places: int,
    ended: Callable[[bool], None],
    stop: Callable[[], None] = lambda: None,
) -> list[T | Exception]:
    """Do the work for each item, in so many threads. Return results and errors, in order.

    Raises ConfigError at once: it would come for every item. After that, or when this thread is
    interrupted, no further item begins and `stop` is called; those under way are waited for.
    `ended` is told of each item whether it has a result.
    """
    with ThreadPoolExecutor(places, thread_name_prefix="tierflow-batch") as pool:
        under_way = [pool.submit(copy_context().run, work, item) for item in items]
        try:
            for future in as_completed(under_way):
                if isinstance(future.exception(), ConfigError):
                    future.result()
                ended(future.exception() is None)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop()
            raise
    found: list[T | Exception] = []
    for future in under_way:
        error = future.exception()
        if error is not None and not isinstance(error, Exception):
            raise error
        found.append(future.result() if error is None else error)
    return found


async def each_async(
    work: Callable[[Item], Awaitable[T]],
    items: Sequence[Item],
    places: int,
    ended: Callable[[bool], None],
) -> list[T | Exception]:
    """Do the work for each item, so many at a time on this event loop. As `each` otherwise."""
    found = dict[int, T | Exception]()
    waiting = iter(enumerate(items))

    async def place() -> None:
        for at, item in waiting:
            try:
                found[at] = await work(item)
            except ConfigError:
                raise
            except Exception as error:  # noqa: BLE001  # the others go on; it is raised at the end
                found[at] = error
            ended(not isinstance(found[at], Exception))

    working = [asyncio.ensure_future(place()) for _ in range(min(places, len(items)))]
    try:
        await asyncio.gather(*working)
    finally:
        for each_place in working:
            each_place.cancel()
        await asyncio.gather(*working, return_exceptions=True)
    return [found[at] for at in range(len(items))]


def _places() -> int:
    return settings().batch.concurrency


def _stop(batch: int) -> None:
    hands().admissions.end(batch)


def _progress(spec: StepSpec[Any], total: int) -> AbstractContextManager[Callable[[bool], None]]:
    return progress(spec.name, total, lambda: hands().admissions.limit_of(spec.name))


def _concluded(found: Sequence[Answer[Any] | Exception], body: Callable[..., Any]) -> Any:
    answers = [each_ for each_ in found if isinstance(each_, Answer)]
    if len(answers) < len(found):
        values = [each_.value if isinstance(each_, Answer) else None for each_ in found]
        errors = {at: each_ for at, each_ in enumerate(found) if isinstance(each_, Exception)}
        raise BatchError.of(values, errors) from errors[min(errors)]
    return conclude_batch(answers, [answer.value for answer in answers], body)
