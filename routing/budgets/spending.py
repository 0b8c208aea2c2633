"""Spending: how this process keeps budgets, with the shared store or, while that is away, without.

Carries out Reserve and Settle. Calls nobody and decides nothing but where an account is kept.
"""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from ...errors import StoreError
from .effects import Reserve, Reserved, Settle, Short
from .memory_store import MemoryBudgets
from .store import BudgetStore

T = TypeVar("T")

_LOST_S = 30.0
"""After an outage the store is left alone for so long."""

_LOG = logging.getLogger("tierflow")


class Spending:
    """What this process sets aside and spends. `clock`: monotonic seconds. Thread-safe.

    Without the store each process holds the whole budget for itself, says so once, and books what
    it spent meanwhile as soon as the store is back.
    """

    def __init__(self, open_store: Callable[[], BudgetStore], clock: Callable[[], float]) -> None:
        self._open_store, self._clock = open_store, clock
        self._store: BudgetStore | None = None
        self._alone = MemoryBudgets(clock)
        self._owed: list[Settle] = []
        self._lost_until = 0.0
        self._is_lost = False
        self._lock = threading.Lock()

    def perform(self, effect: Reserve | Settle) -> Reserved | Short | None:
        """Carry out an effect."""
        match effect:
            case Reserve():
                return self._reserve(effect)
            case Settle():
                self._settle(effect)
                return None

    def close(self) -> None:
        """Book what is left to book, and close the store; the next use opens it again."""
        if self._owed:
            self._try(lambda _: None)
        with self._lock:
            if self._store is not None:
                self._store.close()

    def _reserve(self, wanted: Reserve) -> Reserved | Short:
        found: Reserved | Short | None = self._try(
            lambda store: store.reserve(wanted.accounts, wanted.usd, wanted.lease_s)
        )
        if found is None:
            found = self._alone.reserve(wanted.accounts, wanted.usd, wanted.lease_s)
            if isinstance(found, Reserved):
                return Reserved(found.accounts, found.usd, found.id, alone=True)
        return found

    def _settle(self, paid: Settle) -> None:
        if paid.reserved.alone:
            self._alone.settle(paid.reserved, paid.usd)
        self._owe(paid)
        self._try(lambda _: None)

    def _owe(self, paid: Settle) -> None:
        with self._lock:
            self._owed.append(paid)

    def _try(self, use: Callable[[BudgetStore], T]) -> T | None:
        """Use the store, and book first what is owed to it. None where it cannot be used."""
        if self._clock() < self._lost_until:
            return None
        try:
            store = self._opened()
            self._pay(store)
            result = use(store)
        except StoreError as error:
            self._lost_until = self._clock() + _LOST_S
            if not self._is_lost:
                self._is_lost = True
                _LOG.warning("%s Until then this process keeps its budgets alone.", error)
            return None
        self._is_lost = False
        return result

    def _pay(self, store: BudgetStore) -> None:
        while self._owed:
            with self._lock:
                if not self._owed:
                    return
                paid = self._owed.pop()
            try:
                store.settle(paid.reserved, paid.usd)
            except StoreError:
                self._owe(paid)
                raise

    def _opened(self) -> BudgetStore:
        with self._lock:
            if self._store is None:
                self._store = self._open_store()
            return self._store
