"""Damage: what a similar store does with rows that are not what it wrote."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.caching.similar.questions import direction, live, observation, question, tail
from tierflow.caching.similar.postgres_store import PostgresSimilarStore
from tierflow.caching.similar.sql_rows import OBSERVATION, QUESTION
from tierflow.caching.similar.sqlite_store import SqliteSimilarStore
from tierflow.caching.similar.store import SimilarStore
from tierflow.caching.store import Labels, Selection
from tierflow.errors import StoreError
from tierflow.postgres import PostgresDatabase
from tierflow.sealing import Seal

QUESTION_COLUMNS = [*QUESTION, "seq", "dims", "vector"]
OBSERVATION_COLUMNS = [*OBSERVATION, "seq"]
LABELS = Labels("triage", "acme", "f00d", ("x", "y"))
ASKS = [str(number) for number in range(12)]
SEEN = [observation(at=float(number)) for number in range(12)]
WRONG = [
    "NULL",
    "-1",
    "1e300",
    "'another'",
    "''",
    "x'ff00'",
    "CAST(x'fffe' AS TEXT)",
    "'[[\"'",
    "zeroblob(16)",
]


def fill(store: SimilarStore) -> list[int]:
    ids = [store.add(question(ask, labels=LABELS)) for ask in ASKS]
    for each in SEEN:
        store.observe(each)
    return ids


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of questions and observations, closed."""
    path = tmp_path_factory.mktemp("whole") / "similar.db"
    with closing(SqliteSimilarStore(path)) as store:
        store.identity()
        fill(store)
    return path


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copy(whole, tmp_path / "similar.db"))


@pytest.fixture
def store(path: Path) -> Iterator[SimilarStore]:
    with closing(SqliteSimilarStore(path)) as opened:
        yield opened


def change_row(path: Path, table: str, column: str, value: str) -> None:
    """Write a value into the fifth row, whatever the column should hold."""
    with closing(sqlite3.connect(path)) as plain:
        # No constraint holds where a bit flips.
        plain.execute("PRAGMA writable_schema=ON")
        tables = "UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '') WHERE type = 'table'"
        plain.execute(tables)
        plain.commit()
    with closing(sqlite3.connect(path)) as plain:
        plain.execute(f"UPDATE {table} SET {column} = {value} WHERE rowid = 5")
        plain.commit()


def assert_only_what_was_written_comes_back(store: SimilarStore) -> None:
    asked = {ask: question(ask, labels=LABELS) for ask in ASKS}
    for change in store.changes("p", 0):
        if (found := change.asked) is not None:
            meant = asked[found.ask]
            assert (found.key, found.value, found.labels) == (meant.key, meant.value, LABELS)
            np.testing.assert_allclose(found.vector, meant.vector, atol=1e-3)
    for _, seen in [*store.observations("s", 0), *store.newest("s", 99)]:
        assert seen in SEEN


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize(
    "column",
    QUESTION_COLUMNS,
)
def test_a_damaged_question_counts_as_removed(
    path: Path, store: SimilarStore, column: str, value: str
) -> None:
    change_row(path, "questions_v1", column, value)
    assert_only_what_was_written_comes_back(store)
    expected = dict(zip(range(1, 13), ASKS, strict=True))
    if column != "dims":  # which only PostgreSQL's search goes by
        del expected[5]
        assert list(store.faults())
    assert live(tail(store, "p")) == expected
    # Everything else goes on.
    assert len(store.nearest("p", direction(1), 3)) == 3
    assert store.place("p") == ("s", LABELS)
    expected[store.add(question("new", labels=LABELS))] = "new"
    assert live(tail(store, "p")) == expected
    assert store.partitions()["p"] == 13
    assert store.invalidate(Selection(tag="x")) >= 12
    assert live(tail(store, "p")) == {}


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize(
    "column",
    OBSERVATION_COLUMNS,
)
def test_a_damaged_observation_is_left_out(
    path: Path, store: SimilarStore, column: str, value: str
) -> None:
    change_row(path, "observations_v1", column, value)
    assert_only_what_was_written_comes_back(store)
    left = store.observations("s", 0)
    others = [(number, each) for number, each in enumerate(SEEN, 1) if number != 5]
    assert [line for line in left if line[0] != 5] == others
    assert store.observations("s", 0, limit=6) == left[:6]
    assert store.newest("s", 99) == left
    # Another number may stand for the same truth.
    assert bool(list(store.faults())) == (left == others)
    assert column in {"would_serve", "right"} or left == others
    assert store.observe(observation()) == 13


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_flipped_bit_brings_back_what_was_not_written(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    damaged = bytearray(whole.read_bytes())
    at = data.draw(st.integers(0, len(damaged) * 8 - 1))
    damaged[at // 8] ^= 1 << (at % 8)
    path = tmp_path_factory.mktemp("flipped") / "similar.db"
    path.write_bytes(damaged)
    with closing(SqliteSimilarStore(path)) as store:
        for line in store.faults():
            assert line.startswith(str(path))
        with suppress(StoreError):
            assert_only_what_was_written_comes_back(store)
        for use in (
            lambda: store.add(question("new")),
            lambda: store.nearest("p", direction(1), 3),
            lambda: store.place("p"),
            lambda: store.invalidate(Selection(tag="x")),
            store.partitions,
            store.identity,
        ):
            with suppress(StoreError):
                use()


def test_a_row_that_was_changed_on_the_server_counts_as_removed(postgres_url: str) -> None:
    with closing(PostgresSimilarStore(SecretStr(postgres_url))) as store:
        ids = fill(store)
        assert list(store.faults()) == []
        with psycopg.connect(postgres_url.replace("+psycopg", "")) as plain:
            plain.execute("UPDATE tierflow.questions_v1 SET value = 'x' WHERE id = %s", ids[:1])
            plain.execute(
                "UPDATE tierflow.questions_v1 SET vector = %s::vector::halfvec WHERE id = %s",
                (str(direction(3).tolist()), ids[1]),
            )
            plain.execute("UPDATE tierflow.observations_v1 SET score = 0.125 WHERE seq = 5")
            plain.execute("UPDATE tierflow.similar_logs_v1 SET live = 7 WHERE kind = 'questions'")
        assert_only_what_was_written_comes_back(store)
        assert set(live(tail(store, "p"))) == set(ids[2:])
        assert [number for number, _ in store.observations("s", 3, limit=2)] == [4, 6]
        where = PostgresDatabase("", SecretStr(postgres_url), sa.MetaData()).shown
        assert list(store.faults()) == [
            f"{where}: question {ids[0]} of p: its checksum does not fit",
            f"{where}: question {ids[1]} of p: its checksum does not fit",
            f"{where}: observation 5 of s: its checksum does not fit",
            f"{where}: log of the questions of p: it counts 7, but 12 are there",
        ]


def test_what_is_no_vector_of_length_1_or_no_finite_number_is_not_read(tmp_path: Path) -> None:
    with closing(SqliteSimilarStore(tmp_path / "similar.db")) as store:
        for number, length in enumerate((1.0, 0.5, 0.0, np.nan)):
            store.add(question(str(number), vector=direction(1) * np.float32(length)))
        store.observe(observation(features=(np.inf,)))
        assert live(tail(store, "p")) == {1: "0"}
        assert [id_ for id_, _ in store.nearest("p", direction(1), 9)] == [1]
        assert store.observations("s", 0) == []
        assert len(list(store.faults())) == 4


def test_questions_under_another_seal_are_named(tmp_path: Path) -> None:
    path = tmp_path / "similar.db"
    seal = Seal([Fernet.generate_key().decode()])
    with closing(SqliteSimilarStore(path, seal=seal)) as store:
        store.add(question("a secret"))
        assert list(store.faults()) == []
    with closing(SqliteSimilarStore(path)) as store:
        (line,) = store.faults()
    assert line == f"{path}: question 1 of p: sealed, but cache.encryption_keys is not set"
