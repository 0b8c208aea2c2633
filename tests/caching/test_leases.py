"""Leases: one process of many asks; a dead one holds up the others no longer than its lease."""

import threading
from collections.abc import Iterator

import pytest

from tests.caching.answers import Clock, key_of
from tierflow.caching import AnswerStore, Key, Leases, leases
from tierflow.caching.memory_store import MemoryStore
from tierflow.errors import StoreError

KEY = key_of("one")
PATIENCE_S = 30.0


@pytest.fixture
def mine(answer_store: AnswerStore) -> Iterator[Leases]:
    found = Leases(answer_store)
    yield found
    found.close()


@pytest.fixture
def other(answer_store: AnswerStore) -> Iterator[Leases]:
    found = Leases(answer_store)
    yield found
    found.close()


def test_a_lease_is_one_owners_until_it_is_given_back_as_often_as_taken(
    mine: Leases, other: Leases
) -> None:
    assert mine.take(KEY)
    assert mine.take(KEY)
    assert not other.take(KEY)
    assert other.take(key_of("other"))
    mine.give_back(KEY)
    assert not other.take(KEY)
    mine.give_back(KEY)
    assert other.take(KEY)


def test_what_another_holds_cannot_be_given_back(mine: Leases, other: Leases) -> None:
    mine.take(KEY)
    other.give_back(KEY)
    assert not other.take(KEY)


def test_the_lease_of_one_that_is_gone_ends_by_itself(
    mine: Leases, other: Leases, clock: Clock
) -> None:
    mine.take(KEY)
    mine.close()
    clock.now += leases.LEASE_S - 0.1
    assert not other.take(KEY)
    clock.now += 0.2
    assert other.take(KEY)


class ToldStore(MemoryStore):
    """A store that says when a lease is renewed, and may fail then."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.renewals = threading.Semaphore(0)
        self.taken = 0
        self.fails = False

    def lease(self, key: Key, owner: str, ttl_s: float) -> bool:
        """Take a lease; from the second time on it is renewed."""
        self.taken += 1
        if self.taken > 1:
            self.renewals.release()
            if self.fails:
                raise StoreError("gone")
        return super().lease(key, owner, ttl_s)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_RENEW_S", 0.001)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("fails", [False, True])
def test_a_lease_is_renewed_as_long_as_it_is_held_whatever_goes_wrong(
    *, clock: Clock, fails: bool
) -> None:
    store = ToldStore(clock)
    store.fails = fails
    mine = Leases(store)
    mine.take(KEY)
    for _ in range(3):
        assert store.renewals.acquire(timeout=PATIENCE_S)
    mine.close()


class LateStore(ToldStore):
    """A store where a lease is given back just before its renewal arrives."""

    mine: Leases | None = None

    def lease(self, key: Key, owner: str, ttl_s: float) -> bool:
        """Take a lease; before it is renewed it is given back."""
        if self.taken and self.mine is not None:
            self.mine.give_back(key)
        return super().lease(key, owner, ttl_s)


@pytest.mark.usefixtures("soon")
def test_a_lease_that_is_given_back_while_it_is_renewed_is_free(clock: Clock) -> None:
    store = LateStore(clock)
    mine = store.mine = Leases(store)
    mine.take(KEY)
    assert store.renewals.acquire(timeout=PATIENCE_S)
    # Its thread has ended, and with it the renewal.
    mine.close()
    assert MemoryStore.lease(store, KEY, "another", 60)


def test_after_closing_a_lease_can_be_taken_again(mine: Leases, other: Leases) -> None:
    mine.take(KEY)
    mine.give_back(KEY)
    mine.close()
    mine.close()
    assert mine.take(KEY)
    assert not other.take(KEY)
