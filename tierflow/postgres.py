"""Ground: databases on a PostgreSQL server, with one pool per process and URL. Knows no table."""

import os
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.event import listen
from sqlalchemy.exc import ArgumentError, DisconnectionError, SQLAlchemyError
from sqlalchemy.schema import CreateSchema

from .database import Database, original_of, reason_of
from .errors import ConfigError, StoreError

T = TypeVar("T")

SCHEMA = "tierflow"
"""Of our tables: other programs may have theirs in the same database."""

_CREATION_LOCK = 0x7469_6572_666C_6F77  # "tierflow": the advisory lock of who makes tables
_IDLE_S = 1.0


class PostgresDatabase(Database):
    """A database on a PostgreSQL server, which many machines may share.

    `url`: postgresql+psycopg://user:password@host/database; libpq's options may follow. `prepare`
    is called with a connection when tables are made. Raises ConfigError for another kind of URL,
    ImportError without psycopg. All databases of one URL share a pool.
    """

    schema = SCHEMA

    def __init__(
        self,
        name: str,
        url: SecretStr,
        tables: sa.MetaData,
        *,
        prepare: Callable[[sa.Connection], None] | None = None,
    ) -> None:
        self._url = _checked(url)
        self.shown = _shown(self._url)
        super().__init__(f"{name} in {self.shown}", tables)
        self._prepare = prepare

    def use(self, action: Callable[[Any], T], *, again: bool = False) -> T:
        """See Database."""
        with self._errors():
            engine = self._open()
            with closing(engine.raw_connection()) as connection:
                driver: Any = connection.driver_connection
                try:
                    return action(driver)
                except _psycopg().OperationalError:
                    if not driver.closed:
                        raise
                    # What else is in the pool will be as old.
                    connection.invalidate()
                    engine.dispose()
                    if not again:
                        raise
            with closing(engine.raw_connection()) as connection:
                return action(connection.driver_connection)

    @contextmanager
    def connection(self) -> Generator[sa.Connection]:
        """See Database."""
        with self._errors(), self._open().connect() as connection:
            whole = connection.execution_options(isolation_level="READ COMMITTED")
            with whole.begin():
                yield whole

    def _begin(self) -> sa.Engine:
        engine = _shared_engine(self._url)
        try:
            with engine.connect() as connection:
                whole = connection.execution_options(isolation_level="READ COMMITTED")
                with whole.begin():
                    self._make_tables(whole)
        except BaseException:
            _give_back(engine)
            raise
        return engine

    def _make_tables(self, connection: sa.Connection) -> None:
        # Looking first: a role that may only read and write rows is enough once they are there.
        inspector = sa.inspect(connection)
        if all(inspector.has_table(t.name, schema=t.schema) for t in self._tables.sorted_tables):
            return
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATION_LOCK)))
        if not inspector.has_schema(SCHEMA):
            connection.execute(CreateSchema(SCHEMA, if_not_exists=True))
        if self._prepare is not None:
            self._prepare(connection)
        self._tables.create_all(connection)

    def _end(self, engine: sa.Engine) -> None:
        _give_back(engine)

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except (SQLAlchemyError, _psycopg().Error, OSError) as exc:
            raise StoreError(
                f"The {self.name} cannot be used: {reason_of(exc)}. Start the server, or correct "
                "TIERFLOW_STORE_URL and the rights of its user; the next call tries again."
            ) from (None if _quotes_a_row(exc) else exc)


_POOLS: dict[str, tuple[sa.Engine, int]] = {}
"""By URL, and how many databases use each."""

_INHERITED: list[object] = []
_pools_lock = threading.Lock()


def _psycopg() -> Any:
    try:
        import psycopg  # noqa: PLC0415  # an extra
    except ImportError as exc:
        raise ImportError(
            'TIERFLOW_STORE_URL needs psycopg: pip install "tierflow[postgres]"'
        ) from exc
    return psycopg


def _quotes_a_row(exc: BaseException) -> bool:
    told = getattr(original_of(exc), "diag", None)
    return told is not None and bool(told.message_detail or told.context)


def _checked(secret: SecretStr) -> sa.URL:
    wanted = "Write postgresql+psycopg://user:password@host/database"
    try:
        url = sa.make_url(secret.get_secret_value())
    except (ArgumentError, ValueError):
        # Its own words may quote the password.
        raise ConfigError(
            f"TIERFLOW_STORE_URL cannot be read. {wanted}, with %40 for @ and %3A for : in the "
            "password."
        ) from None
    if url.drivername not in {"postgresql", "postgresql+psycopg"}:
        raise ConfigError(f"TIERFLOW_STORE_URL begins with {url.drivername}. {wanted}.")
    if "@" in (url.host or ""):
        raise ConfigError(
            "TIERFLOW_STORE_URL has an @ in its host: the password ends at the first one. Write "
            "%40 for @ in the password."
        )
    _psycopg()
    return url.set(drivername="postgresql+psycopg")


def _shown(url: sa.URL) -> str:
    """Return a URL without user, password and options: names are shown and logged."""
    hosts = url.query.get("host", "")
    host = url.host or (hosts if isinstance(hosts, str) else ",".join(hosts))
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{host}{port}/{url.database or ''}"


def _shared_engine(url: sa.URL) -> sa.Engine:
    name = url.render_as_string(hide_password=False)
    with _pools_lock:
        engine, users = _POOLS.get(name, (None, 0))
        if engine is None:
            # A server that is gone is noticed within seconds, not after the system's minutes.
            patience = {"connect_timeout": "10", "tcp_user_timeout": "30000"}
            given = {option: value for option, value in patience.items() if option not in url.query}
            engine = sa.create_engine(
                url,
                connect_args=given,
                hide_parameters=True,
                # One round trip for one statement; `connection` asks for a transaction itself.
                isolation_level="AUTOCOMMIT",
                pool_size=5,
                max_overflow=5,
                pool_recycle=1800,
                pool_use_lifo=True,
            )
            listen(engine, "checkin", _note_the_time)
            listen(engine, "checkout", _ping_after_a_while)
        _POOLS[name] = engine, users + 1
        return engine


def _give_back(engine: sa.Engine) -> None:
    name = engine.url.render_as_string(hide_password=False)
    with _pools_lock:
        known, users = _POOLS.get(name, (None, 0))
        if known is not engine or users == 1:
            engine.dispose()
        if known is engine:
            if users == 1:
                del _POOLS[name]
            else:
                _POOLS[name] = engine, users - 1


def _note_the_time(_connection: object, record: Any) -> None:
    record.info["used_at"] = time.monotonic()


def _ping_after_a_while(connection: Any, record: Any, _proxy: object) -> None:
    # `pool_pre_ping` would double the round trips of a busy worker.
    used_at: float | None = record.info.get("used_at")
    if used_at is None or time.monotonic() - used_at < _IDLE_S:
        return
    try:
        connection.execute("SELECT 1")
    except _psycopg().Error as exc:
        # The pool then connects anew.
        raise DisconnectionError("The server closed the connection") from exc


def _leave_pools_to_parent() -> None:
    global _pools_lock  # noqa: PLW0603  # another thread of the parent may have held it
    _pools_lock = threading.Lock()
    # Kept, for the garbage collector would close them.
    _INHERITED.extend(engine for engine, _ in _POOLS.values())
    _POOLS.clear()


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(after_in_child=_leave_pools_to_parent)
