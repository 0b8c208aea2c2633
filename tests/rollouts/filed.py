"""Filed: a store of rollouts in a file of its own, for tests that need no other."""

import tempfile
from pathlib import Path

import sqlalchemy as sa

from tierflow.rollouts.sql_store import SqlRollouts


class FiledRollouts(SqlRollouts):
    """See SqlRollouts. `path`: the file, a new one if none is given."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or Path(tempfile.mkdtemp()) / "rollouts.db"
        super().__init__(self.path)

    def copied(self) -> "FiledRollouts":
        """Return another store that has all of this one."""
        self.close()
        copy = FiledRollouts()
        copy.path.write_bytes(self.path.read_bytes())
        return copy

    def damage(self, rollout: str) -> None:
        """Keep a state that nobody can read."""
        values = {"rollout": rollout, "revision": 1, "body": "{}"}
        with self._database.connection() as connection:
            connection.execute(sa.insert(self._tables.states).values(**values))
