"""Gate opening: which store the settings name. Backends are imported here, only when needed."""

from ...settings import Settings
from .store import Calibrations


def open_calibrations(settings: Settings) -> Calibrations:
    """Return the store of calibrations that the settings name; it is opened on first use.

    Raises ConfigError for a wrong `store_url`, ImportError for one without psycopg.
    """
    from .sql_store import SqlCalibrations  # noqa: PLC0415  # SQLAlchemy takes 0.1 s to import

    return SqlCalibrations(settings.store_url or settings.home / "judges.db")
