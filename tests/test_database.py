"""Databases: how they are opened and shared, and that what goes wrong shows no secret."""

import asyncio
import os
import socket
import sqlite3
import stat
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from tests.postgres import PostgresServer
from tierflow.caching.opening import open_similar_store, open_store
from tierflow.caching.postgres_store import PostgresStore
from tierflow.caching.similar.postgres_store import PostgresSimilarStore
from tierflow.database import Database, SqliteDatabase
from tierflow.errors import ConfigError, StoreError
from tierflow.postgres import PostgresDatabase
from tierflow.settings import settings
from tierflow.tracing import open_ledger
from tierflow.tracing.sql_ledger import SqlLedger

PASSWORD = "hunter2hunter2"


def notes(schema: str | None) -> sa.MetaData:
    """One table, `notes`, that takes each text once."""
    metadata = sa.MetaData(schema=schema)
    sa.Table("notes", metadata, sa.Column("text", sa.String, primary_key=True))
    return metadata


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "sqlite":
        opened: Database = SqliteDatabase("notes", tmp_path / "notes.db", notes(None))
    else:
        url = SecretStr(request.getfixturevalue("postgres_url"))
        opened = PostgresDatabase("notes", url, notes("tierflow"))
    with closing(opened):
        yield opened


def tables_of(database: Any) -> list[sa.Table]:
    return list(database._tables.sorted_tables)


def write(database: Database, text: str) -> None:
    (table,) = tables_of(database)
    with database.connection() as connection:
        connection.execute(sa.insert(table).values(text=text))


def read(database: Database) -> list[str]:
    (table,) = tables_of(database)
    with database.connection() as connection:
        return sorted(connection.execute(sa.select(table.c.text)).scalars())


def test_what_fails_in_the_middle_is_not_kept(database: Database) -> None:
    write(database, "before")
    (table,) = tables_of(database)

    def fail_in_the_middle() -> None:
        with database.connection() as connection:
            connection.execute(sa.insert(table).values(text="half"))
            raise KeyError

    with pytest.raises(KeyError):
        fail_in_the_middle()
    assert read(database) == ["before"]


def test_an_error_quotes_neither_rows_nor_values(database: Database) -> None:
    write(database, PASSWORD)
    with pytest.raises(StoreError) as caught:
        write(database, PASSWORD)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    assert read(database) == [PASSWORD]


def test_threads_of_an_event_loop_may_use_one_database(database: Database) -> None:
    async def write_all() -> None:
        texts = (f"{number:02}" for number in range(40))
        await asyncio.gather(*(asyncio.to_thread(write, database, text) for text in texts))

    asyncio.run(write_all())
    assert read(database) == [f"{number:02}" for number in range(40)]


def test_many_threads_may_open_one_database_at_once(database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(partial(write, database), "01234567"))
    assert read(database) == list("01234567")


def test_a_file_that_was_damaged_while_open_works_again_once_it_is_moved_away(
    tmp_path: Path,
) -> None:
    path = tmp_path / "notes.db"
    with closing(SqliteDatabase("notes", path, notes(None))) as database:
        for number in range(500):
            write(database, str(number) * 50)
        with closing(sqlite3.connect(path)) as plain:
            plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"x" * 40_000)
        with pytest.raises(StoreError, match=r"malformed.*move it away"):
            read(database)
        path.rename(tmp_path / "away.db")
        for suffix in ("-wal", "-shm"):
            path.with_name(f"notes.db{suffix}").unlink(missing_ok=True)
        write(database, "after")
        assert read(database) == ["after"]


def test_the_version_of_a_file_differs_once_anyone_has_written(tmp_path: Path) -> None:
    one, other = (SqliteDatabase("notes", tmp_path / "notes.db", notes(None)) for _ in range(2))
    with closing(one), closing(other):
        seen = [one.version()]
        for text, writer in (("a", one), ("b", other), ("c", one)):
            assert one.version() == seen[-1]
            write(writer, text)
            seen.append(one.version())
        one.close()
        seen.append(one.version())
    assert len(set(seen)) == len(seen)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")
def test_only_its_owner_may_read_a_file_also_where_others_may_enter(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    names = [f"notes.db{suffix}" for suffix in ("", ".lock", "-shm", "-wal")]
    before = os.umask(0)
    try:
        with closing(SqliteDatabase("notes", home / "notes.db", notes(None))) as database:
            write(database, "a")
            assert modes(home) == dict.fromkeys(names, 0o600)
            for name in names:
                (home / name).chmod(0o644)
            with closing(SqliteDatabase("notes", home / "notes.db", notes(None))) as other:
                assert read(other) == ["a"]
            assert modes(home) == dict.fromkeys(names, 0o600)
            write(database, "b")
    finally:
        os.umask(before)
    assert stat.S_IMODE(home.stat().st_mode) == 0o755
    (home / "notes.db").chmod(0o400)
    if os.geteuid() == 0:  # whom no mode hinders
        with closing(SqliteDatabase("notes", home / "notes.db", notes(None))) as database:
            assert read(database) == ["a", "b"]
        assert modes(home)["notes.db"] == 0o400


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg://me:{PASSWORD}:x@host:port/db",
        f"postgresql+psycopg://me:pw@{PASSWORD}@host/db",
        f"postgresql+psycopg://me:pw@ss:{PASSWORD}@host/db",
        f"mysql://me:{PASSWORD}@host/db",
        f"postgresql+asyncpg://me:{PASSWORD}@host/db",
        PASSWORD,
        "",
    ],
)
def test_a_wrong_url_is_refused_with_what_to_write_and_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match=r"TIERFLOW_STORE_URL .*(Write|write)") as caught:
        PostgresDatabase("cache", SecretStr(url), notes("tierflow"))
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


def test_without_psycopg_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ImportError, match=r'pip install "tierflow\[postgres\]"'):
        SqlLedger(SecretStr("postgresql://host/db"))


def test_a_wrong_password_is_not_shown(postgres_server: PostgresServer, postgres_url: str) -> None:
    url = SecretStr(postgres_url.replace(postgres_server.password, PASSWORD))
    with closing(PostgresDatabase("notes", url, notes("tierflow"))) as database:
        with pytest.raises(StoreError, match="password authentication failed") as caught:
            read(database)
        shown = "".join(traceback.format_exception(caught.value))
        assert PASSWORD not in f"{shown} {database!r} {database.name} {database.shown}"


def test_a_server_that_is_not_there_is_named_without_user_and_password() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        url = SecretStr(f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/db?sslmode=disable")
        with (
            closing(PostgresDatabase("notes", url, notes("tierflow"))) as database,
            pytest.raises(StoreError, match=rf"notes in postgresql://127\.0\.0\.1:{port}/db") as e,
        ):
            read(database)
    assert PASSWORD not in "".join(traceback.format_exception(e.value))
    assert "sslmode" not in str(e.value)


def test_a_role_that_may_not_make_tables_is_told_so(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    with psycopg.connect(postgres_server.dsn("postgres"), autocommit=True) as admin:
        create: Any = f"CREATE ROLE guest LOGIN PASSWORD '{postgres_server.password}'"
        admin.execute(create)
        url = SecretStr(postgres_url.replace("//tierflow:", "//guest:"))
        try:
            with (
                closing(PostgresDatabase("notes", url, notes("tierflow"))) as database,
                pytest.raises(StoreError, match=r"permission denied.*rights of its user"),
            ):
                read(database)
        finally:
            admin.execute("DROP ROLE guest")


def test_databases_of_one_url_share_their_connections(postgres_url: str) -> None:
    url = SecretStr(postgres_url)
    ledger, similar = SqlLedger(url), PostgresSimilarStore(url)
    answers = PostgresStore(url, size_limit_mb=16)
    ledger.last_flow_run()
    answers.stats()
    similar.partitions()
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as plain:
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        assert plain.execute(others).fetchone() == (2,)
    answers.close()
    assert ledger.last_flow_run() is None
    ledger.close()
    similar.close()


def test_the_settings_choose_where_everything_is_kept(
    project: Path, monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    monkeypatch.setenv("TIERFLOW_STORE_URL", postgres_url)
    ledger, answers = open_ledger(settings()), open_store(settings())
    similar = open_similar_store(settings())
    assert ledger.last_flow_run() is None
    assert answers.stats().path.startswith("postgresql://")
    assert similar.partitions() == {}
    ledger.close()
    answers.close()
    similar.close()
    assert not (project / ".tierflow").exists()

    monkeypatch.delenv("TIERFLOW_STORE_URL")
    with closing(open_similar_store(settings())) as in_a_file:
        assert in_a_file.partitions() == {}
    assert (project / ".tierflow" / "similar.db").exists()
