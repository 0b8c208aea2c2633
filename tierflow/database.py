"""Ground: SQL databases, and those in files of SQLite. Knows no table.

One engine per process, made on first use and made anew after a fork: connections cannot be shared
with a child. What goes wrong is a StoreError with a remedy, and no password, SQL or value in it.
"""

import os
import sqlite3
import stat
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy.event import listen
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from .errors import StoreError

T = TypeVar("T")

_OWNER_ONLY = 0o600
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Database(ABC):
    """A database with its tables made. `name`: what errors call it. `shown`: its path or URL.

    `schema`: in which schema the tables stand, None for SQLite. `closings`: how often it was
    closed; what was read before may be of a file that is not there any more.
    """

    schema: str | None
    shown: str
    closings: int

    def __init__(self, name: str, tables: sa.MetaData) -> None:
        self.name = name
        self._tables = tables
        self.closings = 0
        self._engine: sa.Engine | None = None
        self._opening = threading.Lock()
        _DATABASES.add(self)

    @contextmanager
    def connection(self) -> Generator[sa.Connection]:
        """Give a connection in a transaction, committed at the end. Raises StoreError."""
        with self._errors(), self._open().begin() as connection:
            yield connection

    @abstractmethod
    def use(self, action: Callable[[Any], T], *, again: bool = False) -> T:
        """Do something with a connection of the driver's own, which is faster. Raises StoreError.

        SQLite: what was written is committed afterwards. PostgreSQL: each statement by itself.
        `again`: it may be done twice, so it is when the connection turns out to be lost.
        """

    def close(self) -> None:
        """Close the connections; the next use opens them again."""
        with self._opening:
            self.closings += 1
            engine, self._engine = self._engine, None
            if engine is not None:
                self._end(engine)

    def leave_to_parent(self) -> None:
        """Forget the connections, in the child after a fork, without closing the parent's."""
        self._opening = threading.Lock()
        _INHERITED.append(self._engine)
        self._engine = None

    def _open(self) -> sa.Engine:
        engine = self._engine
        if engine is None:
            with self._opening:
                engine = self._engine
                if engine is None:
                    engine = self._engine = self._begin()
        return engine

    @abstractmethod
    def _begin(self) -> sa.Engine:
        """Make an engine, and the tables that are missing."""

    @abstractmethod
    def _end(self, engine: sa.Engine) -> None: ...

    @abstractmethod
    @contextmanager
    def _errors(self) -> Generator[None]:
        """Turn what the driver raises into StoreError."""
        yield


class SqliteDatabase(Database):
    """A file of SQLite, which processes of one machine may share. `name`: "ledger", "cache".

    Only its owner may read it (mode 0600), whatever the folder's mode.
    """

    schema = None

    def __init__(self, name: str, path: Path, tables: sa.MetaData) -> None:
        super().__init__(f"{name} {path}", tables)
        self.path = path
        self.shown = str(path)
        self._watching = threading.Lock()
        self._watch: tuple[int, Any] | None = None

    def use(self, action: Callable[[Any], T], *, again: bool = False) -> T:  # noqa: ARG002  # a file is not lost
        """See Database."""
        with self._errors(), closing(self._open().raw_connection()) as connection:
            result = action(connection.driver_connection)
            connection.commit()
            return result

    def version(self) -> int:
        """Return a number that differs once anyone has written. Takes microseconds."""
        with self._errors(), self._watching:
            if self._watch is None:
                # It never writes, so this process's own writes count as another's. Numbers of two
                # connections cannot be compared, so each has a range of its own.
                self._watch = next(_WATCHES) << 32, self._open().raw_connection()
            base, connection = self._watch
            driver: Any = connection.driver_connection
            (number,) = driver.execute("PRAGMA data_version").fetchone()
            return base + int(number)

    def close(self) -> None:
        """See Database."""
        with self._watching:
            if self._watch is not None:
                self._watch[1].close()
                self._watch = None
        super().close()

    def leave_to_parent(self) -> None:
        """See Database."""
        super().leave_to_parent()
        _INHERITED.append(self._watch)
        self._watch, self._watching = None, threading.Lock()

    def _begin(self) -> sa.Engine:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(self.path)),
            connect_args={"timeout": 30},
            hide_parameters=True,
        )
        listen(engine, "connect", _prepare_sqlite)
        # Changing a new file to WAL fails at once where another process does the same.
        with FileLock(f"{self.path}.lock", timeout=30, mode=_OWNER_ONLY):
            _make_private(self.path)
            with engine.begin() as connection:
                for table in self._tables.sorted_tables:
                    connection.execute(CreateTable(table, if_not_exists=True))
                    for index in table.indexes:
                        connection.execute(CreateIndex(index, if_not_exists=True))
        return engine

    def _end(self, engine: sa.Engine) -> None:
        engine.dispose()

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        # Its words about damage may quote the damage.
        except (SQLAlchemyError, sqlite3.Error, OSError, UnicodeDecodeError) as exc:
            if _is_of_a_damaged_file(exc):
                # Otherwise the file would stay open after it is moved away.
                self.close()
            raise StoreError(
                f"The {self.name} cannot be used: {reason_of(exc)}. Free space or repair its "
                "rights; if it is damaged, move it away and a new one is made."
            ) from exc


_DATABASES: WeakSet[Database] = WeakSet()
_INHERITED: list[object] = []
"""What a parent process opened: never used here, and never closed by the garbage collector."""

_WATCHES = count(1)


def original_of(exc: BaseException) -> object:
    """Return the driver's error behind SQLAlchemy's."""
    return getattr(exc, "orig", None) or exc


def reason_of(exc: BaseException) -> str:
    """Return the driver's words in one line: its further ones may quote rows."""
    said = original_of(exc)
    return (str(said).strip().splitlines() or [type(said).__name__])[0].rstrip(".")


def _is_of_a_damaged_file(exc: BaseException) -> bool:
    code: int | None = getattr(original_of(exc), "sqlite_errorcode", None)
    if code is None:
        return isinstance(exc, UnicodeDecodeError)
    # An extended code says more in its upper bytes.
    return code & 0xFF in _DAMAGED


def _make_private(path: Path) -> None:
    """Make a file of SQLite, or take others' rights to it away. SQLite gives its log the same.

    A file that is there is not opened: closing it would drop the locks that this process holds.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _OWNER_ONLY))
    except FileExistsError:
        for suffix in ("", "-wal", "-shm", ".lock"):
            _take_rights_away(Path(f"{path}{suffix}"))


def _take_rights_away(path: Path) -> None:
    if not hasattr(os, "geteuid"):  # Windows has no such rights
        return
    # Some file systems have no rights to change; the folder's have to do there.
    with suppress(OSError):
        found = path.stat()
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_mode & 0o077:
            path.chmod(stat.S_IMODE(found.st_mode) & _OWNER_ONLY)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # Readers and writers of several processes do not block each other in WAL; NORMAL keeps every
    # committed row through a crash of the process. What is deleted is overwritten.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA secure_delete=ON")


def _close_files() -> None:
    # SQLite must not be carried through a fork: it would believe in the child that it holds the
    # parent's locks. The next use opens the file again.
    for database in list(_DATABASES):
        if isinstance(database, SqliteDatabase):
            database.close()


def _leave_all_to_parent() -> None:
    for database in list(_DATABASES):
        database.leave_to_parent()


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(before=_close_files, after_in_child=_leave_all_to_parent)
