"""Opening: which ledger the settings name. Backends are imported here, and only when needed."""

from collections.abc import Sequence

from ..settings import Settings, settings
from .ledger import Ledger, Row


def open_ledger(settings: Settings) -> Ledger:
    """Return the ledger that the settings name; its database is opened on first use.

    Raises ConfigError for a wrong `store_url`, ImportError for one without psycopg.
    """
    from .sql_ledger import SqlLedger  # noqa: PLC0415  # SQLAlchemy takes 0.1 s to import

    return SqlLedger(settings.store_url or settings.home / "ledger.db")


def rows_of(flow_run_id: str) -> Sequence[Row]:
    """Return a flow run's rows from the ledger that the settings in force name."""
    ledger = open_ledger(settings())
    try:
        return ledger.of_flow_run(flow_run_id)
    finally:
        ledger.close()
