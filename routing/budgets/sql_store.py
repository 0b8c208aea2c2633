"""SQL budget store: accounts in SQLite, for one machine, or in PostgreSQL, for many.

Whoever reserves writes the account's row first, and so holds it until the commit: of two workers
that want the last dollar the second one sees what the first has taken.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from ...database import Database, SqliteDatabase
from ...postgres import SCHEMA, PostgresDatabase
from .accounts import Account
from .effects import Reserved, Short, fits
from .store import Balance

_FORGOTTEN_S = 100 * 86_400.0
"""What no call has used for so long is of a run, day or month that is over."""

_SWEEP_S = 3600.0


@dataclass(frozen=True, slots=True)
class _Tables:
    """A new column makes a new table: rows of older versions stay where they are."""

    metadata: sa.MetaData
    accounts: sa.Table
    reserves: sa.Table


@cache
def _tables(schema: str | None) -> _Tables:
    metadata = sa.MetaData(schema=schema)
    accounts = sa.Table(
        "budget_accounts_v1",
        metadata,
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("budget", sa.String, nullable=False),
        sa.Column("label", sa.String, nullable=False),
        sa.Column("window", sa.String, nullable=False),
        sa.Column("value", sa.String, nullable=False),
        sa.Column("usd", sa.Double, nullable=False),
        sa.Column("spent", sa.Double, nullable=False),
        sa.Column("at", sa.Double, nullable=False, index=True),
    )
    reserves = sa.Table(
        "budget_reserves_v1",
        metadata,
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("key", sa.String, primary_key=True, index=True),
        sa.Column("usd", sa.Double, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
    )
    return _Tables(metadata, accounts, reserves)


class SqlBudgets:
    """A BudgetStore in a SQLite file, or in PostgreSQL; opened on first use.

    `place`: the file's path, or the URL (see PostgresDatabase). `clock`: seconds since 1970, for
    the file; PostgreSQL goes by its own.
    """

    def __init__(self, place: Path | SecretStr, clock: Callable[[], float] = time.time) -> None:
        self._tables = _tables(None if isinstance(place, Path) else SCHEMA)
        self._database: Database
        self._insert: Any
        if isinstance(place, Path):
            self._database = SqliteDatabase("budget store", place, self._tables.metadata)
            self._insert = sqlite_insert
        else:
            self._database = PostgresDatabase("budget store", place, self._tables.metadata)
            self._insert = postgres_insert
        self._clock = clock
        self._swept = 0.0

    def reserve(self, accounts: Sequence[Account], usd: float, lease_s: float) -> Reserved | Short:
        """See BudgetStore."""
        reserves, id_ = self._tables.reserves, uuid.uuid4().hex
        with self._database.connection() as connection:
            now = self._now(connection)
            for account in _in_order(accounts):
                spent = self._hold(connection, account, now, 0.0)
                held = self._held(connection, account, now)
                if not fits(spent + held + usd, account.usd):
                    return Short(account, spent, held, usd)
            rows = [
                {"id": id_, "key": account.key, "usd": usd, "until": now + lease_s}
                for account in accounts
            ]
            connection.execute(sa.insert(reserves), rows)
            self._sweep(connection, now)
        return Reserved(tuple(accounts), usd, id_)

    def settle(self, reserved: Reserved, usd: float) -> None:
        """See BudgetStore."""
        reserves = self._tables.reserves
        with self._database.connection() as connection:
            now = self._now(connection)
            for account in _in_order(reserved.accounts):
                self._hold(connection, account, now, usd)
            connection.execute(sa.delete(reserves).where(reserves.c.id == reserved.id))

    def balances(self) -> Sequence[Balance]:
        """See BudgetStore."""
        accounts, reserves = self._tables.accounts, self._tables.reserves
        with self._database.connection() as connection:
            now = self._now(connection)
            held = (
                sa.select(reserves.c.key, sa.func.sum(reserves.c.usd).label("held"))
                .where(reserves.c.until > now)
                .group_by(reserves.c.key)
                .subquery()
            )
            query = (
                sa.select(accounts, sa.func.coalesce(held.c.held, 0.0).label("held"))
                .outerjoin(held, held.c.key == accounts.c.key)
                .order_by(accounts.c.at.desc(), accounts.c.key)
            )
            found: list[Any] = list(connection.execute(query))
        return [
            Balance(
                budget=row.budget,
                label=row.label,
                window=row.window,
                value=row.value,
                usd=row.usd,
                spent=row.spent,
                held=row.held,
                at=row.at,
            )
            for row in found
        ]

    def close(self) -> None:
        """See BudgetStore."""
        self._database.close()

    def _now(self, connection: sa.Connection) -> float:
        if self._database.schema is None:
            # Nothing is read here, so that the first thing SQLite does is to take its lock.
            return self._clock()
        clock = sa.select(sa.extract("epoch", sa.func.clock_timestamp()))
        return float(connection.execute(clock).scalar_one())

    def _hold(self, connection: sa.Connection, account: Account, now: float, usd: float) -> float:
        """Hold an account until the commit, and add to what is spent. Return that."""
        accounts = self._tables.accounts
        new = self._insert(accounts).values(
            key=account.key,
            budget=account.budget,
            label=account.label,
            window=account.window,
            value=account.value,
            usd=account.usd,
            spent=usd,
            at=now,
        )
        # The sum may have been changed since it was last used.
        changed = {
            "label": new.excluded.label,
            "usd": new.excluded.usd,
            "spent": accounts.c.spent + new.excluded.spent,
            "at": new.excluded.at,
        }
        upsert = new.on_conflict_do_update(index_elements=["key"], set_=changed)
        return float(connection.execute(upsert.returning(accounts.c.spent)).scalar_one())

    def _held(self, connection: sa.Connection, account: Account, now: float) -> float:
        reserves = self._tables.reserves
        mine = reserves.c.key == account.key
        connection.execute(sa.delete(reserves).where(mine, reserves.c.until <= now))
        held = sa.select(sa.func.sum(reserves.c.usd)).where(mine)
        return float(connection.execute(held).scalar() or 0.0)

    def _sweep(self, connection: sa.Connection, now: float) -> None:
        if now - self._swept > _SWEEP_S:
            self._swept = now
            accounts = self._tables.accounts
            connection.execute(sa.delete(accounts).where(accounts.c.at < now - _FORGOTTEN_S))


def _in_order(accounts: Iterable[Account]) -> list[Account]:
    # All hold them in the same order, or two workers could wait for each other.
    return sorted(accounts, key=lambda each: each.key)
