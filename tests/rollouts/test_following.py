"""Following: what a process knows of rollouts, and goes on with while the store is out."""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tierflow.errors import StoreError
from tierflow.rollouts.following import Following
from tierflow.rollouts.sql_store import SqlRollouts
from tierflow.rollouts.state import RolloutState
from tierflow.rollouts.verbs import abort

from .observed import NOW, a_rollout
from .stores import NAME, PATIENCE_S, STARTED, a_pair, call, revision


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def elsewhere(path: Path) -> Iterator[SqlRollouts]:
    """The same store, as another process has it open."""
    opened = SqlRollouts(path)
    yield opened
    opened.close()


@pytest.fixture
def following(path: Path, clock: Clock) -> Iterator[Following]:
    opened = Following(lambda: SqlRollouts(path), clock)
    yield opened
    opened.close()


def put_out(following: Following, path: Path) -> Path:
    """Take the store away. Return where it is now."""
    following.close()
    path.rename(path.with_suffix(".away"))
    path.mkdir()
    return path.with_suffix(".away")


def put_back(path: Path) -> None:
    path.rmdir()
    path.with_suffix(".away").rename(path)


def test_what_is_changed_elsewhere_is_known_after_five_seconds_and_not_before(
    following: Following, elsewhere: SqlRollouts, clock: Clock
) -> None:
    assert following.known(NAME) is None
    elsewhere.put(STARTED)
    clock.now += 4.9
    assert following.known(NAME) is None
    clock.now += 0.1
    assert following.known(NAME) == STARTED

    aborted = abort(a_rollout(), STARTED, "me", NOW, "no")
    assert aborted is not None
    elsewhere.put(aborted)
    assert following.known(NAME) == STARTED
    clock.now += 5
    assert following.known(NAME) == aborted


def test_an_outage_keeps_what_was_known_and_is_told_once(
    following: Following,
    elsewhere: SqlRollouts,
    path: Path,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    elsewhere.put(STARTED)
    assert following.known(NAME) == STARTED
    elsewhere.put(revision(2))
    elsewhere.close()
    put_out(following, path)

    with caplog.at_level(logging.WARNING, "tierflow"):
        for _ in range(3):
            clock.now += 5
            assert following.known(NAME) == STARTED
    (told,) = caplog.messages
    assert "rollouts.db cannot be used" in told
    assert told.endswith(f"Until then {NAME} goes on with weight 0.1.")

    put_back(path)
    clock.now += 4.9
    assert following.known(NAME) == STARTED, "it is asked again after five seconds"
    clock.now += 0.1
    assert following.known(NAME) == revision(2)


def test_nothing_is_known_of_a_store_that_was_out_from_the_beginning(
    following: Following, elsewhere: SqlRollouts, path: Path, clock: Clock
) -> None:
    elsewhere.put(STARTED)
    elsewhere.close()
    put_out(following, path)
    assert following.known(NAME) is None
    put_back(path)
    assert following.known(NAME) is None
    clock.now += 5
    assert following.known(NAME) == STARTED


def test_what_was_put_here_is_known_at_once(following: Following) -> None:
    assert following.known(NAME) is None
    assert following.put(STARTED)
    assert following.known(NAME) == STARTED


def test_a_lost_race_is_looked_up_at_once(following: Following, elsewhere: SqlRollouts) -> None:
    following.put(STARTED)
    elsewhere.put(revision(2, by="bob"))
    assert not following.put(revision(2, by="ada"))
    assert following.known(NAME) == revision(2, by="bob")


def test_a_lost_race_before_an_outage_forgets_nothing(
    following: Following, elsewhere: SqlRollouts, path: Path
) -> None:
    following.put(STARTED)
    elsewhere.put(revision(2, by="bob"))
    elsewhere.close()
    assert not following.put(revision(2, by="ada"))
    put_out(following, path)
    assert following.known(NAME) == STARTED


def test_writing_passes_through_and_fails_where_the_store_does(
    following: Following, elsewhere: SqlRollouts, path: Path
) -> None:
    following.observe(NAME, [call("a")])
    following.pair(NAME, a_pair("p"))
    following.score(NAME, "a", "helpful", 0.5)
    found = elsewhere.seen(NAME, 0)
    assert found.observations == [call("a", scores={"helpful": 0.5})]
    assert found.pairs() == [a_pair("p")]

    elsewhere.close()
    put_out(following, path)
    for write in (
        lambda: following.put(STARTED),
        lambda: following.observe(NAME, [call("b")]),
        lambda: following.pair(NAME, a_pair("q")),
        lambda: following.score(NAME, "b", "helpful", 0.5),
    ):
        with pytest.raises(StoreError):
            write()


class Slow(SqlRollouts):
    """A store that answers when it is told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked, self.may_answer = threading.Event(), threading.Event()
        self.times = 0

    def newest(self, rollout: str) -> RolloutState | None:
        self.times += 1
        self.asked.set()
        assert self.may_answer.wait(PATIENCE_S)
        return super().newest(rollout)


def test_while_one_thread_looks_the_others_go_on_with_what_is_known(
    elsewhere: SqlRollouts, path: Path, clock: Clock
) -> None:
    store = Slow(path)
    following = Following(lambda: store, clock)
    following.put(STARTED)
    elsewhere.put(revision(2))
    clock.now += 5
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(following.known, NAME)
        assert store.asked.wait(PATIENCE_S)
        assert following.known(NAME) == STARTED
        store.may_answer.set()
        assert looking.result() == revision(2)
    assert following.known(NAME) == revision(2)
    following.close()


def test_threads_that_know_nothing_wait_for_the_one_that_looks(
    elsewhere: SqlRollouts, path: Path, clock: Clock
) -> None:
    elsewhere.put(STARTED)
    store = Slow(path)
    following = Following(lambda: store, clock)
    with ThreadPoolExecutor(4) as pool:
        looking = [pool.submit(following.known, NAME) for _ in range(4)]
        assert store.asked.wait(PATIENCE_S)
        store.may_answer.set()
        assert [each.result() for each in looking] == [STARTED] * 4
    assert store.times == 1
    following.close()
