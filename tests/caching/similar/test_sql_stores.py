"""Similar stores in a database: several openings of one, its seal, and what a removal leaves."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import psycopg
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from tests.caching.similar.conftest import Opener
from tests.caching.similar.questions import direction, live, observation, question, tail, wait_for
from tests.postgres import PostgresServer
from tierflow.caching.similar.postgres_store import PostgresSimilarStore
from tierflow.caching.similar.sqlite_store import SqliteSimilarStore
from tierflow.caching.similar.store import SimilarStore
from tierflow.caching.store import Selection
from tierflow.errors import StoreError
from tierflow.sealing import Seal


def differs(store: SimilarStore, seen: int | None) -> bool:
    return store.version() != seen


def a_seal() -> Seal:
    return Seal([Fernet.generate_key().decode()])


def test_what_one_opening_writes_another_reads(open_similar: Opener) -> None:
    one, other = open_similar(), open_similar()
    id_ = one.add(question("a"))
    assert live(tail(other, "p")) == {id_: "a"}
    assert other.remove(id_)
    assert one.partitions() == {}
    number = other.observe(observation())
    assert one.observations("s", 0) == [(number, observation())]


def test_all_openings_of_one_database_have_one_identity(open_similar: Opener) -> None:
    one, other = open_similar(), open_similar()
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(store.identity) for store in (one, other)]
    assert {each.result() for each in asked} == {one.identity()}


def test_a_new_file_has_another_identity(tmp_path: Path) -> None:
    path = tmp_path / "similar.db"
    with closing(SqliteSimilarStore(path)) as store:
        before = store.identity()
        store.close()
        path.unlink()
        assert store.identity() != before


def test_a_new_database_has_another_identity(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    another = postgres_server.new_database()
    try:
        with (
            closing(PostgresSimilarStore(SecretStr(postgres_url))) as one,
            closing(PostgresSimilarStore(SecretStr(another))) as other,
        ):
            assert one.identity() != other.identity()
    finally:
        postgres_server.drop_database(another)


def test_the_version_differs_after_each_write_of_another(open_similar: Opener) -> None:
    mine, other = open_similar(), open_similar()
    writes: list[Callable[[], object]] = [
        lambda: other.add(question("a")),
        lambda: other.observe(observation()),
        lambda: other.invalidate(Selection()),
    ]
    for write in writes:
        seen = mine.version()
        write()
        wait_for(partial(differs, mine, seen))


def test_the_version_stays_while_nobody_writes(open_similar: Opener) -> None:
    mine, other = open_similar(), open_similar()
    other.add(question("a"))
    seen = mine.version()
    other.changes("p", 0)
    other.nearest("p", direction(1), 1)
    assert [mine.version() for _ in range(100)] == [seen] * 100


def test_who_reads_the_version_first_then_the_changes_misses_nothing(open_similar: Opener) -> None:
    mine, other = open_similar(), open_similar()
    for number in range(20):
        other.add(question(str(number)))
        seen, known = mine.version(), tail(mine, "p")
        assert len(known) == number + 1
        # What came before the reading may raise the version later; what comes after it must.
        other.add(question("more", f"q{number}"))
        wait_for(partial(differs, mine, seen))


def test_an_opening_after_a_close_is_not_taken_for_the_one_before(open_similar: Opener) -> None:
    mine, other = open_similar(), open_similar()
    seen = mine.version()
    mine.close()
    other.add(question("a"))
    assert mine.version() != seen


def test_sealed_asks_are_read_with_their_key_and_by_nobody_else(open_similar: Opener) -> None:
    seal = a_seal()
    id_ = open_similar(seal).add(question("a secret question"))
    assert live(tail(open_similar(seal), "p")) == {id_: "a secret question"}
    for stranger in (open_similar(a_seal()), open_similar()):
        assert [(each.id, each.asked) for each in tail(stranger, "p")] == [(id_, None)]


def test_asks_from_before_the_seal_are_not_read_under_it(open_similar: Opener) -> None:
    open_similar().add(question("plain"))
    assert live(tail(open_similar(a_seal()), "p")) == {}


def test_no_sealed_ask_and_no_removed_one_stands_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "similar.db"
    with closing(SqliteSimilarStore(path)) as store:
        id_ = store.add(question("a plain question"))
    assert b"a plain question" in path.read_bytes()
    with closing(SqliteSimilarStore(path, seal=a_seal())) as store:
        store.add(question("a sealed question"))
        assert store.remove(id_)
    left = path.read_bytes()
    assert b"a plain question" not in left
    assert b"a sealed question" not in left


def test_a_removed_row_keeps_neither_text_nor_vector_nor_tags(postgres_url: str) -> None:
    with closing(PostgresSimilarStore(SecretStr(postgres_url))) as store:
        assert store.remove(store.add(question("a")))
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as plain:
        columns = "ask, vector, tags, digest"
        found = plain.execute(f"SELECT {columns} FROM tierflow.questions_v1").fetchall()
    assert found == [(None, None, [], None)]


@pytest.fixture
def no_sorting(postgres_server: PostgresServer) -> Iterator[None]:
    """A server that would look at all only where no index can do it."""
    with psycopg.connect(postgres_server.dsn("postgres"), autocommit=True) as admin:
        admin.execute("ALTER ROLE tierflow SET enable_sort = off")
        yield
        admin.execute("ALTER ROLE tierflow RESET enable_sort")


@pytest.mark.usefixtures("no_sorting")
def test_many_questions_of_several_partitions_are_found_by_the_index(postgres_url: str) -> None:
    vectors = [direction(number, 16) for number in range(400)]
    asked = direction(999, 16)
    with closing(PostgresSimilarStore(SecretStr(postgres_url))) as store:
        for number, vector in enumerate(vectors):
            # One in twenty: the index has to look on past the others.
            store.add(question(str(number), f"p{number % 20}", vector=vector))
        found = store.nearest("p7", asked, 3)
    cosines = np.array([vector @ asked for vector in vectors[7::20]])
    np.testing.assert_allclose([cosine for _, cosine in found], -np.sort(-cosines)[:3], atol=2e-3)
    used = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'questions_v1_hnsw_16'"
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as plain:
        wait_for(lambda: plain.execute(used).fetchone() != (0,))


def test_each_dimension_has_one_index_from_the_first_search_on(postgres_url: str) -> None:
    hnsw = "SELECT indexname FROM pg_indexes WHERE indexdef LIKE '%hnsw%' ORDER BY 1"
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as plain:
        for dims, known in ((8, []), (3, ["8"]), (8, ["3", "8"])):
            with closing(PostgresSimilarStore(SecretStr(postgres_url))) as store:
                store.add(question("a", f"of {dims}", vector=direction(1, dims)))
                expected = [(f"questions_v1_hnsw_{each}",) for each in known]
                assert plain.execute(hnsw).fetchall() == expected
                assert len(store.nearest(f"of {dims}", direction(1, dims), 2)) == 1
        assert len(plain.execute(hnsw).fetchall()) == 2


def test_a_server_that_is_gone_is_named_and_used_again_when_it_is_back(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    with closing(PostgresSimilarStore(SecretStr(postgres_url), poll_s=0.01)) as store:
        first = store.add(question("before"))
        assert store.version() is not None
        postgres_server.stop()
        try:
            uses: list[Callable[[], object]] = [
                lambda: store.add(question("while")),
                lambda: store.changes("p", 0),
                lambda: store.nearest("p", direction(1), 1),
                lambda: store.remove(first),
                store.partitions,
            ]
            for use in uses:
                with pytest.raises(StoreError, match=r"similar cache in postgresql://.*Start") as e:
                    use()
                assert postgres_server.password not in str(e.value)
            wait_for(lambda: store.version() is None)
        finally:
            postgres_server.start()
        wait_for(lambda: store.version() is not None)
        second = store.add(question("after"))
        assert live(tail(store, "p")) == {first: "before", second: "after"}
