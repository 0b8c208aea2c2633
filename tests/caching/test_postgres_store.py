"""The exact store in PostgreSQL: what is its own, besides what every answer store does."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from tests.caching.answers import NOW, Clock, entry_of, key_of
from tests.caching.forks import Forks
from tests.postgres import PostgresServer
from tierflow.caching.postgres_store import PostgresStore
from tierflow.caching.store import Selection
from tierflow.errors import StoreError
from tierflow.sealing import Seal

KEY = key_of("one")
WAIT_S = 30.0


@pytest.fixture
def store(postgres_url: str, clock: Clock) -> Iterator[PostgresStore]:
    with closing(PostgresStore(SecretStr(postgres_url), size_limit_mb=16, clock=clock)) as opened:
        yield opened


@pytest.fixture
def plain(postgres_url: str) -> Iterator[Any]:
    """A connection as any other program has it."""
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


def test_a_damaged_row_counts_as_none_and_goes(store: PostgresStore, plain: Any) -> None:
    store.put(KEY, entry_of("a"))
    plain.execute("UPDATE tierflow.entries_v1 SET kept = overlay(kept placing 'x' from 60)")
    (fault,) = store.faults()
    assert fault.startswith("postgresql://")
    assert fault.endswith(f"key {KEY}: its checksum does not fit")
    assert list(store.entries()) == []
    assert store.get(KEY) is None
    assert store.stats().entries == 0


@pytest.mark.parametrize(
    "change", ["key = repeat('0', 64)", "step = 'other'", "tags = '[\"b\"]'", "tags = '7'"]
)
def test_a_row_filed_under_another_key_or_label_counts_as_none(
    store: PostgresStore, plain: Any, change: str
) -> None:
    store.put(KEY, entry_of("a", tags=("a",)))
    plain.execute(f"UPDATE tierflow.entries_v1 SET {change}")
    assert len(list(store.faults())) == 1
    assert [store.get(key) for key in (KEY, key_of("x"), "0" * 64)] == [None] * 3  # type: ignore[arg-type]
    assert store.stats().entries == 0


def test_a_row_sealed_with_another_key_is_left_for_who_can_read_it(
    postgres_url: str, clock: Clock
) -> None:
    seals = [Seal([Fernet.generate_key().decode()]) for _ in range(2)]
    mine, theirs = (
        PostgresStore(SecretStr(postgres_url), size_limit_mb=16, seal=seal, clock=clock)
        for seal in seals
    )
    with closing(mine), closing(theirs):
        mine.put(KEY, entry_of("secret"))
        assert theirs.get(KEY) is None
        assert "not in cache.encryption_keys" in next(theirs.faults())
        assert mine.get(KEY) == entry_of("secret")


def test_a_sweep_removes_what_has_expired_and_lapsed(
    store: PostgresStore, plain: Any, clock: Clock
) -> None:
    for name, ttl_s in (("short", 10), ("long", 1000)):
        store.put(key_of(name), entry_of(name, ttl_s=ttl_s))
        assert store.lease(key_of(name), "ann", ttl_s)
    clock.now += 100
    store.sweep()
    for table in ("entries_v1", "leases_v1"):
        found = plain.execute(f"SELECT key FROM tierflow.{table}").fetchall()
        assert found == [(key_of("long"),)]


def test_a_read_notes_its_time_at_most_once_an_hour(
    store: PostgresStore, plain: Any, clock: Clock
) -> None:
    store.put(KEY, entry_of("a"))
    noted: list[float] = []
    for _ in range(4):
        clock.now += 1500
        assert store.get(KEY)
        noted += plain.execute("SELECT used_at FROM tierflow.entries_v1").fetchone()
    assert noted == [NOW, NOW, NOW + 4500, NOW + 4500]


def test_leases_end_by_the_servers_time(postgres_url: str) -> None:
    with closing(PostgresStore(SecretStr(postgres_url), size_limit_mb=16)) as store:
        assert store.lease(KEY, "ann", 0.2)
        assert not store.lease(KEY, "bob", 10)
        until = monotonic() + WAIT_S
        while not store.lease(KEY, "bob", 10):
            assert monotonic() < until
        assert not store.lease(KEY, "ann", 10)


def test_a_role_that_may_only_read_and_write_rows_is_enough(
    store: PostgresStore, plain: Any, postgres_server: PostgresServer, postgres_url: str
) -> None:
    store.put(KEY, entry_of("a"))
    plain.execute(
        f"CREATE ROLE clerk LOGIN PASSWORD '{postgres_server.password}';"
        "GRANT USAGE ON SCHEMA tierflow TO clerk;"
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tierflow TO clerk"
    )
    url = SecretStr(postgres_url.replace("//tierflow:", "//clerk:"))
    try:
        with closing(PostgresStore(url, size_limit_mb=16)) as clerks:
            assert clerks.invalidate(Selection(step="triage")) == 1
            clerks.put(KEY, entry_of("b"))
            assert clerks.lease(KEY, "clerk", 10)
            clerks.sweep()
    finally:
        plain.execute("DROP OWNED BY clerk; DROP ROLE clerk")


def test_a_server_that_is_gone_is_named_and_used_again_when_it_is_back(
    postgres_server: PostgresServer, store: PostgresStore
) -> None:
    store.put(KEY, entry_of("a"))
    postgres_server.stop()
    try:
        uses: list[Callable[[], object]] = [
            lambda: store.get(KEY),
            lambda: store.put(KEY, entry_of("b")),
            lambda: store.lease(KEY, "ann", 10),
            lambda: list(store.entries()),
            store.stats,
        ]
        for use in uses:
            with pytest.raises(StoreError, match=r"cache in postgresql://.*Start the server") as e:
                use()
            assert postgres_server.password not in str(e.value)
    finally:
        postgres_server.start()
    assert store.get(KEY) == entry_of("a")
    store.put(KEY, entry_of("b"))
    assert store.get(KEY) == entry_of("b")


def test_a_restart_between_two_calls_is_not_noticed(
    postgres_server: PostgresServer, store: PostgresStore
) -> None:
    store.put(KEY, entry_of("a"))
    for said in "bc":
        postgres_server.stop()
        postgres_server.start()
        store.put(KEY, entry_of(said))
        assert store.get(KEY) == entry_of(said)
        assert store.lease(KEY, "ann", 10)


WRITE_AND_READ = """
import warnings
from pydantic import SecretStr
from tierflow.caching.postgres_store import PostgresStore
from tierflow.caching.store import Selection

warnings.simplefilter("error")
store = PostgresStore(SecretStr(place), size_limit_mb=1)
begin()
for number in range(60):
    # All write the same key too, and pass the limit again and again.
    for key in (key_of(f"{me} {number}"), key_of("shared")):
        entry = entry_of([me, number, "x" * 9000], tags=(me,))
        store.put(key, entry)
    assert store.get(key_of(f"{me} {number}")) in (None, entry)
    store.invalidate(Selection(tag="nobody"))
store.close()
"""


def test_processes_that_write_sweep_and_invalidate_at_once_do_not_hinder_each_other(
    postgres_url: str, store: PostgresStore, forks: Forks, tmp_path: Path
) -> None:
    work = f"place = {postgres_url!r}\n{WRITE_AND_READ}"
    assert forks.run(tmp_path / "any", work, "abc") == [""] * 3
    assert 0 < store.stats().bytes < 1.5 * 1024 * 1024
    assert list(store.faults()) == []
