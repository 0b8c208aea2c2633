"""The rollouts' store: where they stand and what was seen, in a file or on a server."""

import multiprocessing
import re
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tierflow.errors import StoreError
from tierflow.rollouts.observations import Observation
from tierflow.rollouts.opening import open_rollouts
from tierflow.rollouts.prefect_store import PrefectRollouts
from tierflow.rollouts.sql_store import SqlRollouts
from tierflow.rollouts.store import Rollouts
from tierflow.rollouts.verbs import promote
from tierflow.settings import settings as settings_in_force

from .observed import NOW, a_rollout
from .stores import (
    NAME,
    PATIENCE_S,
    STARTED,
    a_pair,
    call,
    increment_in_a_process,
    increment_many,
    revision,
)


def test_nothing_is_known_at_first(store: Rollouts) -> None:
    assert store.newest(NAME) is None
    assert store.history(NAME) == []
    assert store.names() == []
    assert store.seen(NAME, 0).observations == []
    assert store.seen(NAME, 0).pairs() == []


def test_the_newest_state_is_the_one_of_the_highest_revision(store: Rollouts) -> None:
    promoted = promote(a_rollout(), STARTED, "me", NOW + 1)
    assert store.put(STARTED)
    assert store.put(promoted)
    assert store.put(revision(1, "other"))

    assert store.newest(NAME) == promoted
    assert store.history(NAME) == [STARTED, promoted]
    assert store.names() == ["other", NAME]


def test_a_revision_is_written_once_and_never_changed(store: Rollouts) -> None:
    assert store.put(revision(1, by="ada"))
    assert not store.put(revision(1, by="bob"))
    assert store.newest(NAME) == revision(1, by="ada")
    assert store.put(revision(2, by="bob"))


def test_what_was_kept_is_there_after_closing(store: Rollouts) -> None:
    store.put(STARTED)
    store.observe(NAME, [call("a")])
    store.close()
    store.close()

    assert store.newest(NAME) == STARTED
    assert store.seen(NAME, 0).observations == [call("a")]


def test_more_than_nine_revisions_are_still_in_order(store: Rollouts) -> None:
    states = [revision(number) for number in range(1, 13)]
    for each in states:
        assert store.put(each)

    assert store.history(NAME) == states
    assert store.newest(NAME) == states[-1]


NAMES = ["a", "A", "ä", "a b", "a-b", "a_b", "a__b", "tierflow_rollout__a", "a%", "é/…", "x" * 300]


def test_rollouts_whose_names_are_alike_are_not_mixed_up(store: Rollouts) -> None:
    for name in NAMES:
        assert store.put(revision(1, name))
        store.observe(name, [call(f"of {name}")])
        store.pair(name, a_pair(f"of {name}"))
        store.score(name, f"of {name}", "helpful", 0.5)

    assert store.names() == sorted(NAMES)
    for name in NAMES:
        assert store.history(name) == [revision(1, name)]
        found = store.seen(name, 0)
        assert found.observations == [call(f"of {name}", scores={"helpful": 0.5})]
        assert found.pairs() == [a_pair(f"of {name}")]


class TestRaces:
    """Of two who go on from the same revision only one gets through."""

    def test_of_many_threads_that_write_a_revision_one_wins(self, store: Rollouts) -> None:
        together = threading.Barrier(6)

        def write(who: int) -> bool:
            together.wait(PATIENCE_S)
            return store.put(revision(1, by=f"{who}"))

        with ThreadPoolExecutor(6) as pool:
            won = list(pool.map(write, range(6)))

        assert sum(won) == 1
        assert store.newest(NAME) == revision(1, by=f"{won.index(True)}")

    def test_increments_of_threads_are_all_counted(
        self, store: Rollouts, open_store: Callable[[], Rollouts]
    ) -> None:
        together = threading.Barrier(3)

        def increment(who: str) -> list[int]:
            return increment_many(open_store, together, who, 12)

        with ThreadPoolExecutor(3) as pool:
            own = list(pool.map(increment, "abc"))

        assert sorted(chain(*own)) == list(range(1, 13))
        assert [each.by for each in store.history(NAME)] == [
            next(who for who, numbers in zip("abc", own, strict=True) if number in numbers)
            for number in range(1, 13)
        ]

    def test_increments_of_processes_are_all_counted(
        self, store: Rollouts, open_store: Callable[[], Rollouts], api_url: str
    ) -> None:
        spawn = multiprocessing.get_context("spawn")
        with spawn.Manager() as manager, ProcessPoolExecutor(2, mp_context=spawn) as pool:
            together: Any = manager.Barrier(2)
            running = [
                pool.submit(increment_in_a_process, open_store, api_url, together, who)
                for who in ("a", "b")
            ]
            own = [each.result() for each in running]

        # Acknowledged increments are revisions, one for one.
        assert sorted(chain(*own)) == list(range(1, 61))
        newest = store.newest(NAME)
        assert newest is not None
        assert newest.revision == 60


class TestObservations:
    """What calls showed."""

    def test_they_come_back_as_they_were_oldest_first(self, store: Rollouts) -> None:
        late = call("z", at=NOW + 9, failed=True, hit=True, latency_ms=12.5, cost_usd=1e-7)
        early = call("y", at=NOW + 1, arm="candidate", scores={"helpful": 0.1, "polite": 1.0})
        store.observe(NAME, [late, early])
        store.observe(NAME, [call("x", at=NOW + 5)])
        store.observe(NAME, [])

        assert store.seen(NAME, 0).observations == [early, call("x", at=NOW + 5), late]

    def test_the_same_answer_counts_once(self, store: Rollouts) -> None:
        store.observe(NAME, [call("a", latency_ms=1.0), call("b")])
        store.observe(NAME, [call("c"), call("a", latency_ms=2.0)])

        found = store.seen(NAME, 0).observations
        assert [each.ref for each in found] == ["a", "b", "c"]
        assert found[0].latency_ms == 1.0

    def test_only_epochs_that_count_come_back(self, store: Rollouts) -> None:
        epochs = [1, 2, 9, 10, 11]
        store.observe(NAME, [call(f"{each:02d}", each) for each in epochs])
        for each in epochs:
            store.pair(NAME, a_pair(f"{each:02d}", each))

        for since in (0, 2, 3, 10, 12):
            found = store.seen(NAME, since)
            wanted = [each for each in epochs if each >= since]
            assert [each.epoch for each in found.observations] == wanted
            assert [each.candidate.epoch for each in found.pairs()] == wanted

    def test_many_of_them_are_kept(self, store: Rollouts) -> None:
        many = [
            call(f"{number:04d}-{'r' * 60}", at=NOW + number, scores={"helpful": number / 1000})
            for number in range(1000)
        ]
        store.observe(NAME, many)
        assert store.seen(NAME, 0).observations == many

    def test_threads_that_observe_the_same_lose_nothing(self, store: Rollouts) -> None:
        calls = [call(f"{number:02d}") for number in range(20)]
        together = threading.Barrier(4)

        def observe(number: int) -> None:
            together.wait(PATIENCE_S)
            mine = calls[5 * number :] + calls[: 5 * number]
            for start in range(0, 20, 10):
                store.observe(NAME, mine[start : start + 10])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(observe, range(4)))

        assert store.seen(NAME, 0).observations == calls


class TestScores:
    """What is found of an answer."""

    def test_it_may_come_before_the_answer_was_observed_or_after(self, store: Rollouts) -> None:
        store.score(NAME, "a", "helpful", 0.1)
        store.observe(NAME, [call("a"), call("b")])
        store.score(NAME, "b", "helpful", 0.2)

        found = store.seen(NAME, 0).observations
        assert [each.scores for each in found] == [{"helpful": 0.1}, {"helpful": 0.2}]

    def test_the_last_one_of_an_evaluation_counts(self, store: Rollouts) -> None:
        store.observe(NAME, [call("a", scores={"helpful": 0.5, "polite": 0.5})])
        for score in (0.1, 0.9, 0.3):
            store.score(NAME, "a", "helpful", score)
        # It was observed before, with what it came with then.
        store.observe(NAME, [call("a", scores={"helpful": 0.7})])

        (found,) = store.seen(NAME, 0).observations
        assert found.scores == {"helpful": 0.3, "polite": 0.5}

    def test_both_halves_of_a_pair_are_scored(self, store: Rollouts) -> None:
        store.pair(NAME, a_pair("p"))
        store.score(NAME, "p-b", "helpful", 1.0)
        store.score(NAME, "p-c", "polite", 0.0)

        (found,) = store.seen(NAME, 0).pairs()
        assert found.baseline.scores == {"helpful": 1.0}
        assert found.candidate.scores == {"helpful": 0.25, "polite": 0.0}


def test_a_pair_counts_once(store: Rollouts) -> None:
    for _ in range(2):
        store.pair(NAME, a_pair("p"))
    store.pair(NAME, a_pair("q"))
    assert store.seen(NAME, 0).pairs() == [a_pair("p"), a_pair("q")]


def test_what_is_forgotten_is_gone_with_its_scores_and_nothing_else(store: Rollouts) -> None:
    store.put(STARTED)
    for name in (NAME, "other"):
        store.observe(name, [call("old", 1), call("new", 2)])
        store.pair(name, a_pair("old", 1))
        store.pair(name, a_pair("new", 2))
        for ref in ("old", "new", "old-b", "new-c"):
            store.score(name, ref, "polite", 0.5)

    store.forget(NAME, 2)
    store.forget(NAME, 2)

    found = store.seen(NAME, 0)
    assert found.observations == [call("new", 2, scores={"polite": 0.5})]
    assert [each.candidate.ref for each in found.pairs()] == ["new-c"]
    assert found.pairs()[0].candidate.scores == {"helpful": 0.25, "polite": 0.5}
    assert store.newest(NAME) == STARTED
    assert len(store.seen("other", 0).observations) == 2
    # Its score was of the answer that is gone.
    store.observe(NAME, [call("old", 3)])
    assert store.seen(NAME, 3).observations == [call("old", 3)]


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(words=st.tuples(text.filter(bool), text, text, text), score=st.floats(0, 1))
def test_every_word_survives_the_store(
    store: Rollouts, words: tuple[str, str, str, str], score: float
) -> None:
    name, ref, unit, evaluation = words
    state = revision(1, name, by=unit)
    store.put(state)
    kept = store.newest(name)
    assert kept is not None
    assert kept.rollout == name
    store.forget(name, 9)
    store.observe(name, [Observation(unit, "candidate", 1, ref, NOW, scores={evaluation: score})])
    (found,) = store.seen(name, 0).observations
    assert (found.unit, found.ref, found.scores) == (unit, ref, {evaluation: score})


class TestDamage:
    """What cannot be read is an error, and not nothing."""

    @pytest.mark.parametrize("body", ["no json", "{}", "[1]", '{"version": 9}'])
    def test_a_damaged_state(self, path: Path, body: str) -> None:
        store = SqlRollouts(path)
        store.put(STARTED)
        self.change(store, "states", body)
        for use in (store.newest, store.history):
            with pytest.raises(StoreError, match="DELETE FROM rollout_states_v1"):
                use(NAME)
        store.close()

    def test_what_the_error_says_to_do_brings_the_revision_before_back(self, path: Path) -> None:
        store = SqlRollouts(path)
        store.put(STARTED)
        store.put(STARTED.becoming("paused", "lunch", "me", NOW))
        inside: Any = store
        states = inside._tables.states
        damage = sa.update(states).where(states.c.revision == STARTED.revision + 1)
        with inside._database.connection() as connection:
            connection.execute(damage.values(body="{}"))
        with pytest.raises(StoreError) as caught:
            store.newest(NAME)
        (statement,) = re.findall("DELETE FROM .+;", str(caught.value))
        with inside._database.connection() as connection:
            connection.execute(sa.text(statement))
        assert store.newest(NAME) == STARTED
        store.close()

    @pytest.mark.parametrize("body", ["no json", "{}", '["secret words"]', "[[], [], true]"])
    def test_damaged_observations(self, path: Path, body: str) -> None:
        store = SqlRollouts(path)
        for table in ("observations", "pairs"):
            store.observe(NAME, [call("a")])
            store.pair(NAME, a_pair("a"))
            self.change(store, table, body)
            with pytest.raises(StoreError, match="tierflow rollout retry") as caught:
                store.seen(NAME, 1)
            assert "secret" not in str(caught.value)
            # As after a retry.
            assert store.seen(NAME, 2).observations == []
            store.forget(NAME, 2)
        store.close()

    def change(self, store: SqlRollouts, table: str, body: str) -> None:
        inside: Any = store
        changed = getattr(inside._tables, table)
        with inside._database.connection() as connection:
            connection.execute(sa.update(changed).values(body=body))


def test_a_damaged_file_is_named_with_what_to_do(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match=r"rollouts\.db cannot be used: file is not a database"):
        SqlRollouts(path).newest(NAME)


def test_a_server_that_is_out_is_an_error_without_the_password() -> None:
    store = SqlRollouts(SecretStr("postgresql+psycopg://me:hunter2@127.0.0.1:1/rollouts"))
    with pytest.raises(StoreError, match="TIERFLOW_STORE_URL") as caught:
        store.put(STARTED)
    assert "hunter2" not in str(caught.value)
    store.close()


class TestOpening:
    """Which store the settings name."""

    def test_nothing_is_opened_before_it_is_used(self, project: Path) -> None:
        store = open_rollouts(settings_in_force())
        assert not (project / ".tierflow").exists()
        store.put(STARTED)
        assert (project / ".tierflow" / "rollouts.db").exists()
        store.close()

    def test_a_shared_store_and_prefects_are_named(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TIERFLOW_STORE_URL", "postgresql+psycopg://me@127.0.0.1:1/rollouts")
        with pytest.raises(StoreError, match="TIERFLOW_STORE_URL"):
            open_rollouts(settings_in_force()).newest(NAME)
        monkeypatch.setenv("TIERFLOW_ROLLOUT_STORE", "prefect")
        assert isinstance(open_rollouts(settings_in_force()), PrefectRollouts)
