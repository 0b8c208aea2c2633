"""Opening: where the settings have breakers shared. Imported late: SQLAlchemy takes 0.1 s."""

from ...settings import Settings
from .shared import SharedStates


def open_shared(settings: Settings) -> SharedStates:
    """Return the place that all workers of these settings share; it is opened on first use.

    Raises ConfigError for a wrong `store_url`, ImportError for one without psycopg.
    """
    from .sql_shared import SqlShared  # noqa: PLC0415  # SQLAlchemy takes 0.1 s to import

    return SqlShared(settings.store_url or settings.home / "breakers.db")
