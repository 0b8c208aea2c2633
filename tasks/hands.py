"""Hands: what this process reaches the world with. Opened on first use, never sent to workers."""

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

from ..caching import (
    AnswerStore,
    Find,
    Flights,
    Forget,
    Keep,
    Key,
    Learn,
    Lease,
    Leases,
    Release,
    Remember,
    Resemble,
    open_similar_cache,
    open_store,
)
from ..caching.prefix import Keeper
from ..cassette import Cassette
from ..errors import StoreError, TierflowError
from ..prompting import close_registries
from ..request import Reply
from ..rollouts.enrolling import FAILURES, Enrolling
from ..rollouts.enrolment import Compare, Enrol, MayShadow, Observe
from ..rollouts.following import Following
from ..rollouts.opening import open_rollouts
from ..rollouts.pins import Pins, PrefectLabels
from ..routing import (
    Admit,
    Ask,
    LiteLLMClient,
    ModelClient,
    Place,
    Rank,
    RunTests,
    Tell,
    run_tests,
)
from ..routing.admission import Admissions
from ..routing.budgets import Reserve, Settle, Spending, TellExhausted, open_budgets
from ..routing.gate import (
    Audited,
    Consult,
    Consulting,
    ForReview,
    TellClosed,
    open_calibrations,
    open_reviews,
)
from ..routing.resilience import Guard, open_shared
from ..routing.routes import ConsultingRoutes, ConsultRoute, open_routes
from ..settings import Settings, settings
from ..tracing import Ledger, Where, open_ledger, record_step, set_up
from ..tracing.notices import notice
from .placing import Pools
from .recorder import Recorder
from .spec import Account, Evaluated, Surroundings

T = TypeVar("T")
_LOG = logging.getLogger("tierflow")


class Hands:
    """Stores, client and memory of one process. Carries out the effects that never wait."""

    def __init__(self, settings: Settings) -> None:
        set_up(settings.telemetry)
        self.settings = settings
        self.store: AnswerStore = open_store(settings)
        self.ledger: Ledger = open_ledger(settings)
        self.client: ModelClient = LiteLLMClient(os.environ, telemetry=settings.telemetry)
        self.similar = open_similar_cache(settings)
        self.leases = Leases(self.store)
        self.flights = Flights()
        self.guard = Guard(
            time.monotonic,
            settings.breaker,
            open_shared(settings),
            lambda deployment: self.pools.replicas(deployment),  # noqa: PLW0108  # made below
        )
        self.pools = Pools(settings, self.guard)
        self.admissions = Admissions(
            settings.batch.concurrency,
            settings.pools,
            clock=time.monotonic,
            uncached=self.pools.uncached,
            queue=self.pools.queue,
        )
        self.keeper = Keeper(os.environ, time.monotonic)
        self.cassette = Cassette(settings.cassette)
        self.judges = Consulting(
            lambda: open_calibrations(settings), lambda: open_reviews(settings), time.monotonic
        )
        self.spending = Spending(lambda: open_budgets(settings), time.monotonic)
        self.routes = ConsultingRoutes(lambda: open_routes(settings), time.monotonic)
        self.rollouts = Enrolling(
            Following(lambda: open_rollouts(settings), time.monotonic),
            Pins(PrefectLabels()),
            time.monotonic,
        )
        self.recorder = Recorder(settings, self.store, self.similar, self.rollouts)
        self._told: set[str] = set()
        self._closing = threading.Lock()
        self._background: ThreadPoolExecutor | None = None
        self._under_way: set[Key] = set()

    def close(self) -> None:
        """End what is under way and close the stores; the next use opens them again."""
        # What is done in the background may have something done after it.
        while (background := self._taken_background()) is not None:
            background.shutdown(wait=True)
        self.recorder.close()
        self.leases.close()
        self.pools.close()
        self.guard.close()
        self.judges.close()
        self.routes.close()
        self.rollouts.close()
        self.spending.close()
        self.similar.close()
        self.store.close()
        self.ledger.close()

    def _taken_background(self) -> ThreadPoolExecutor | None:
        with self._closing:
            background, self._background = self._background, None
            return background

    def surroundings(
        self, flow: tuple[str, str] | None, task_run_id: str | None, batch: int = 0
    ) -> Surroundings:
        """Return what a plan may know. `flow`: id of the flow run, and the flow's name."""
        flow_run_id, name = flow or (None, None)
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        where = Where(at, flow_run_id, name, task_run_id)
        return Surroundings(self.settings, os.environ, where, time.perf_counter, batch=batch)

    def perform(self, effect: object) -> Any:  # noqa: PLR0911  # one an effect
        """Carry out an effect that this thread does: stores, memory, a process of unit tests.

        A store that cannot be used costs money or a report, never an answer: that is logged once.
        """
        match effect:
            case Rank():
                standings = self.guard.rank(effect)
                return self.admissions.crowded(standings) if effect.seated else standings
            case Admit():
                return self.guard.admit(effect)
            case Place():
                return self.pools.place(effect)
            case Reserve() | Settle():
                return self.spending.perform(effect)
            case RunTests():
                return run_tests(effect)
            case Lease(key):
                # Without a store nobody can be waited for.
                return self._if_usable(lambda: self.leases.take(key)) is not False
            case _:
                return self._if_usable(lambda: self._perform_stored(effect))

    def replied(self, ask: Ask, reply: Reply) -> None:
        """Note a reply: its deployment is well, and its pool knows."""
        self.admissions.replied(ask, reply)
        self.guard.replied(ask, reply)
        self.pools.replied(ask, reply)

    def records(self, ask: Ask) -> bool:
        """Tell whether a call is one of those that `record` writes down."""
        return ask.role == "answer" and self.cassette.records

    def record(self, ask: Ask, reply: Reply) -> None:
        """Write down a call that was answered. Holds up an event loop: it writes a file."""
        sampling = ask.request.sampling.over(ask.tier.tier.sampling)
        self.cassette.add(ask.request, sampling.given(), reply.usage)

    def takes_long(self, effect: object) -> bool:
        """Tell whether an effect holds up an event loop: network, encoding, a read, a process."""
        if isinstance(effect, Rank):
            return self.settings.store_url is not None and self.guard.is_due
        if isinstance(effect, Place):
            return self.pools.takes_long(effect)
        is_long = isinstance(
            effect,
            Resemble
            | Learn
            | Remember
            | Forget
            | ConsultRoute
            | Enrol
            | Observe
            | Reserve
            | RunTests
            | Settle,
        )
        return is_long or self.settings.store_url is not None

    def _perform_stored(self, effect: object) -> Any:  # noqa: C901, PLR0911  # one an effect
        match effect:
            case Find(key):
                return self.store.get(key)
            case Keep(key, entry):
                return self.store.put(key, entry)
            case Release(key):
                return self.leases.give_back(key)
            case Account(row, calls):
                record_step(row, calls, self.settings.telemetry)
                return self.ledger.add(row, calls)
            case Evaluated():
                return self._enter(effect)
            case Consult() | Audited() | ForReview():
                return self.judges.perform(effect)
            case ConsultRoute(step):
                return self.routes.known(step)
            case Enrol() | MayShadow() | Observe() | Compare():
                return self._perform_rollout(effect)
            case TellClosed():
                return self._tell_closed(effect)
            case Tell() | TellExhausted():
                return self._tell(effect)
            case Resemble() | Learn() | Remember() | Forget():
                return self._perform_similar(effect)
            case _:
                raise TypeError(f"No driver knows the effect {effect!r}.")

    def _enter(self, effect: Evaluated) -> None:
        found, by = effect.found, effect.by
        self.recorder.enter(
            effect.row,
            found.name,
            score=found.score,
            label=found.label,
            explanation=found.explanation,
            source=by.source,
            evaluator=by.identity,
        )

    def _perform_similar(self, effect: Resemble | Learn | Remember | Forget) -> Any:
        match effect:
            case Resemble(place, ask, terms):
                return self.similar.find(place, ask, terms)
            case Learn(finding, same, weight):
                return self.similar.learn(finding, same=same, weight=weight)
            case Remember(finding, key, value):
                return self.similar.keep(finding, key, value)
            case Forget(finding):
                return self.similar.forget(finding)

    def in_background(self, key: Key, work: Callable[[], Any]) -> None:
        """Do some work in a thread, once for each key at a time. The process waits for its end."""
        with self._closing:
            if key in self._under_way:
                return
            self._under_way.add(key)
            if self._background is None:
                self._background = ThreadPoolExecutor(4, thread_name_prefix="tierflow-later")
            try:
                self._background.submit(self._work, key, work)
            except RuntimeError:
                # The process is ending; the stale answer was served all the same.
                self._under_way.discard(key)

    def _work(self, key: Key, work: Callable[[], Any]) -> None:
        try:
            work()
        except TierflowError as error:
            # The stale answer was served, and is until it expires.
            _LOG.warning("A stale answer could not be refreshed: %s", error)
        except Exception:
            _LOG.exception("A stale answer could not be refreshed.")
            raise
        finally:
            with self._closing:
                self._under_way.discard(key)

    def _perform_rollout(self, effect: Enrol | MayShadow | Observe | Compare) -> Any:
        if isinstance(effect, Observe) and self.rollouts.observe(effect):
            said = (
                f"{FAILURES} calls of the candidate failed in a row. This process answers by the "
                "baseline until the rollout moves on."
            )
            notice("rollout-switched-off", effect.rollout, said)
        match effect:
            case Enrol():
                return self.rollouts.enrol(effect)
            case MayShadow():
                return self.rollouts.may_shadow(effect)
            case Compare():
                return self.rollouts.compare(effect)
            case _:
                return None

    def _tell_closed(self, effect: TellClosed) -> None:
        key = f"{effect.flow_run_id} {effect.gate} {effect.cause} {effect.calibration}"
        if key not in self._told:
            self._told.add(key)
            notice("judge-closed", effect.gate, f"The judge may not accept. {effect.reason}")
            self.judges.perform(effect)

    def _tell(self, effect: Tell | TellExhausted) -> None:
        match effect:
            case Tell(kind, about, message, run):
                key = f"{kind} {about} {run} {message}"
            case TellExhausted(account, about, run, message):
                kind = "budget-exhausted"
                key = f"{kind} {run} {account.key}"
        if key not in self._told:
            self._told.add(key)
            notice(kind, about, message)

    def _if_usable(self, use: Callable[[], T]) -> T | None:
        try:
            return use()
        except StoreError as error:
            if str(error) not in self._told:
                self._told.add(str(error))
                _LOG.warning("%s The step goes on without it.", error)
            return None


_OPEN: dict[tuple[int, int], Hands] = {}
_opening = threading.Lock()
_INHERITED: list[Hands] = []
"""A parent process's hands, in its child: neither used nor closed."""


def hands() -> Hands:
    """Return this process's hands for the settings in force."""
    current = settings()
    # The hands keep their settings alive, so the id stays theirs. A forked child opens anew.
    key = (id(current), os.getpid())
    with _opening:
        if key not in _OPEN:
            _OPEN[key] = Hands(current)
        return _OPEN[key]


def close_hands() -> None:
    """Close what this process holds open; the next step opens it again."""
    # Not under the lock: what is under way in the background may reach for the hands.
    while mine := _taken_open():
        for each in mine:
            each.close()
    close_registries()


def _taken_open() -> list[Hands]:
    with _opening:
        mine = list(_OPEN.values())
        _OPEN.clear()
        return mine


def _leave_to_parent() -> None:
    global _opening  # noqa: PLW0603  # the parent's may be held by a thread that is not here
    _opening = threading.Lock()
    _INHERITED.extend(_OPEN.values())
    _OPEN.clear()


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(after_in_child=_leave_to_parent)
