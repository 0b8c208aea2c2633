"""Running: jobs, a router and engines on one simulated clock, in milliseconds."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from ...errors import SimulationError
from .cost import CostModel
from .engine import Engine
from .jobs import Job
from .profile import Profile
from .routers import LeastLoaded, Router
from .stream import Batch, Stream
from .tally import Limits, Tally

try:
    import simpy
except ImportError as exc:
    raise ImportError('The simulator needs simpy: pip install "tierflow[serving]"') from exc


@dataclass(frozen=True, slots=True)
class Layout:
    """`replicas` engines of one profile, of which the first `prefill` only read prompts.

    With `prefill` 0 each engine does both. Otherwise the KV cache of a prompt goes to one of the
    others for `transfer_ms_per_ktoken` per 1,000 tokens; links are never congested.
    """

    profile: Profile
    replicas: int
    prefill: int = 0
    transfer_ms_per_ktoken: float = 3.0

    def __post_init__(self) -> None:
        """Raise SimulationError where nobody would read or write."""
        if self.replicas < 1 or not 0 <= self.prefill < self.replicas:
            raise SimulationError(
                f"{self.replicas} replicas, {self.prefill} of them for prompts only: at least one "
                "must write. Give more replicas, or fewer to prompts."
            )


def simulate(
    jobs: Sequence[Job],
    layout: Layout,
    cost: CostModel,
    *,
    router: Router,
    seed: int = 0,
    limits: Limits | None = None,
    ahead: bool = True,
) -> Tally:
    """Run all jobs to their end, or until `limits` are broken. Equal arguments, equal results.

    `ahead`: count identical iterations in one go, which changes nothing but the time it takes.
    Raises SimulationError for a job that fits no engine.
    """
    return _Run(jobs, layout, cost, router, seed=seed, limits=limits, ahead=ahead).run()


class _Run:
    def __init__(
        self,
        jobs: Sequence[Job],
        layout: Layout,
        cost: CostModel,
        router: Router,
        *,
        seed: int,
        limits: Limits | None,
        ahead: bool,
    ) -> None:
        self.jobs, self.layout, self.cost, self.router = jobs, layout, cost, router
        self.clock = simpy.Environment()
        self.done = self.clock.event()
        self.tally = Tally(limits, self._stop)
        engines = (
            Engine(
                layout.profile,
                cost,
                Random(f"{seed} {number}"),  # noqa: S311  # drafts are no secrets
                self.tally,
                number=number,
                on_first=router.began,
            )
            for number in range(layout.replicas)
        )
        self.hosts = [_Host(self.clock, each, self._ended, ahead=ahead) for each in engines]
        self._writers = LeastLoaded()

    def run(self) -> Tally:
        """Return what was seen."""
        for job in self.jobs:
            self.hosts[0].engine.check(job)
        if self.jobs:
            self.clock.process(self._arrivals())
            self.clock.run(until=self.done)
        return self.tally

    def _arrivals(self) -> Generator[simpy.Event, Any, None]:
        split = self.layout.prefill
        readers = self.hosts[:split] if split else self.hosts
        for job in sorted(self.jobs, key=lambda each: each.at_ms):
            due = job.at_ms + self.cost.request_ms
            if due > self.clock.now:
                yield self.clock.timeout(due - self.clock.now)
            readers[self.router.place(job, readers)].submit(Stream(job, until=1 if split else None))

    def _ended(self, engine: Engine, stream: Stream) -> None:
        if stream.until is not None and stream.job.output_tokens > stream.until:
            self.clock.process(self._hand_over(stream))
            return
        self.tally.ended.append(engine.outcome(stream))
        self.router.ended(stream.job)
        if len(self.tally.ended) == len(self.jobs):
            self._stop()

    def _hand_over(self, read: Stream) -> Generator[simpy.Event, Any, None]:
        tokens = read.job.input_tokens
        yield self.clock.timeout(self.layout.transfer_ms_per_ktoken * tokens / 1000)
        stream = Stream(
            read.job,
            known=tokens + read.written,
            written=read.written,
            arrived_with=tokens,
            cached=read.cached,
            preemptions=read.preemptions,
            first_ms=read.first_ms,
            last_ms=read.last_ms,
        )
        writers = self.hosts[self.layout.prefill :]
        writers[self._writers.place(read.job, writers)].submit(stream)

    def _stop(self) -> None:
        if not self.done.triggered:
            self.done.succeed()


class _Host:
    """An engine's loop: one iteration after the other, or many in one go. What routers see."""

    def __init__(
        self,
        clock: simpy.Environment,
        engine: Engine,
        on_end: Callable[[Engine, Stream], None],
        *,
        ahead: bool,
    ) -> None:
        self.clock, self.engine, self.on_end, self.ahead = clock, engine, on_end, ahead
        self._idle: simpy.Event | None = None
        self._may_be_cut = False
        self._under_way: tuple[Batch, float] | None = None
        self._loop = clock.process(self._run())

    @property
    def requests(self) -> int:
        return self.engine.requests

    @property
    def backlog_tokens(self) -> int:
        return self.engine.backlog_tokens

    def cached_tokens(self, job: Job) -> int:
        if self._under_way is not None:
            batch, began = self._under_way
            self.engine.catch_up(batch, batch.reached(self.clock.now - began))
        return self.engine.cached_tokens(job)

    def submit(self, stream: Stream) -> None:
        self.cached_tokens(stream.job)
        is_next = self.engine.submit(stream)
        if self._idle is not None:
            self._idle.succeed()
            self._idle = None
        elif is_next and self._may_be_cut:
            self._may_be_cut = False
            self._loop.interrupt()

    def _run(self) -> Generator[simpy.Event, Any, None]:
        clock, engine = self.clock, self.engine
        while True:
            batch = engine.plan(ahead=self.ahead)
            if batch is None:
                self._idle = clock.event()
                yield self._idle
                yield clock.timeout(0)
                continue
            began, count = clock.now, batch.count
            self._may_be_cut = count > 1
            self._under_way = (batch, began) if count > 1 else None
            try:
                yield clock.timeout(batch.ms(count))
            except simpy.Interrupt:
                # Somebody came who may join after the iteration that is under way.
                count = batch.reached(clock.now - began)
                yield clock.timeout(max(0.0, began + batch.ms(count) - clock.now))
            self._may_be_cut = False
            # Who comes as an iteration ends is part of the next one: all of this instant first.
            yield clock.timeout(0)
            self._under_way = None
            for stream in engine.finish(batch, began, count):
                self.on_end(engine, stream)
