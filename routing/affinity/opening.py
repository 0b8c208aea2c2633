"""Opening: where the settings have placements shared. Imported late: SQLAlchemy takes 0.1 s."""

from ...settings import Settings
from .sharing import Placements


def open_placements(settings: Settings) -> Placements:
    """Return the place that all workers of these settings share; it is opened on first use.

    Raises ConfigError for a wrong `store_url`, ImportError for one without psycopg.
    """
    from .sql_placements import SqlPlacements  # noqa: PLC0415  # SQLAlchemy takes 0.1 s to import

    return SqlPlacements(settings.store_url or settings.home / "placements.db")
