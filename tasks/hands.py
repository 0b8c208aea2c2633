"""Hands: what this process reaches the world with. Opened on first use, never sent to workers."""

import logging
import os
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from ..caching import AnswerStore, Find, Flights, Keep, open_store
from ..errors import AttemptError, StoreError
from ..routing import Ask, Cooldowns, LiteLLMClient, ModelClient, Rank
from ..settings import Settings, settings
from ..tracing import Ledger, Where, open_ledger
from .spec import Account, Surroundings

T = TypeVar("T")
_LOG = logging.getLogger("tierflow")


class Hands:
    """Stores, client and memory of one process. Carries out the effects that never wait."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store: AnswerStore = open_store(settings)
        self.ledger: Ledger = open_ledger(settings)
        self.client: ModelClient = LiteLLMClient(os.environ)
        self.flights = Flights()
        self.cooldowns = Cooldowns(time.monotonic)
        self._told: set[str] = set()

    def close(self) -> None:
        """Close the stores; the next use opens them again."""
        self.store.close()
        self.ledger.close()

    def surroundings(self, flow: tuple[str, str] | None, task_run_id: str | None) -> Surroundings:
        """Return what a plan may know. `flow`: id of the flow run, and the flow's name."""
        flow_run_id, name = flow or (None, None)
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        where = Where(at, flow_run_id, name, task_run_id)
        return Surroundings(self.settings, os.environ, where, time.perf_counter)

    def perform(self, effect: object) -> Any:
        """Carry out an effect that needs no waiting: stores on this machine, and memory.

        A store that cannot be used costs money or a report, never an answer: that is logged once.
        """
        match effect:
            case Find(key):
                return self._if_usable(lambda: self.store.get(key))
            case Keep(key, answer, step, ttl_s):
                self._if_usable(lambda: self.store.put(key, answer, step=step, ttl_s=ttl_s))
                return None
            case Account(row):
                self._if_usable(lambda: self.ledger.add(row))
                return None
            case Rank(deployments):
                return self.cooldowns.rank(deployments)
            case _:
                raise TypeError(f"No driver knows the effect {effect!r}.")

    @contextmanager
    def watching(self, ask: Ask) -> Generator[None]:
        """Remember how a deployment did."""
        try:
            yield
        except AttemptError as error:
            self.cooldowns.failed(ask.deployment, error)
            raise
        self.cooldowns.replied(ask.deployment)

    def _if_usable(self, use: Callable[[], T]) -> T | None:
        try:
            return use()
        except StoreError as error:
            if str(error) not in self._told:
                self._told.add(str(error))
                _LOG.warning("%s The step goes on without it.", error)
            return None


_OPEN: dict[tuple[int, int], Hands] = {}
_OPENING = threading.Lock()


def hands() -> Hands:
    """Return this process's hands for the settings in force."""
    current = settings()
    # The hands keep their settings alive, so the id stays theirs. A forked child opens anew.
    key = (id(current), os.getpid())
    with _OPENING:
        if key not in _OPEN:
            _OPEN[key] = Hands(current)
        return _OPEN[key]


def close_hands() -> None:
    """Close what this process holds open; the next step opens it again."""
    with _OPENING:
        for each in _OPEN.values():
            each.close()
        _OPEN.clear()
