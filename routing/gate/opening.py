"""Gate opening: which store the settings name. Backends are imported here, only when needed."""

from pathlib import Path

from pydantic import SecretStr

from ...sealing import open_seal
from ...settings import Settings
from .reviews import Reviews
from .store import Calibrations


def open_calibrations(settings: Settings) -> Calibrations:
    """Return the store of calibrations that the settings name; it is opened on first use.

    Raises ConfigError for a wrong `store_url`, ImportError for one without psycopg.
    """
    from .sql_store import SqlCalibrations  # noqa: PLC0415  # SQLAlchemy takes 0.1 s to import

    return SqlCalibrations(_place(settings))


def open_reviews(settings: Settings) -> Reviews:
    """Return the queue of reviews that the settings name; it is opened on first use.

    Raises ConfigError for a wrong `store_url` or key, ImportError where an extra is missing.
    """
    from .sql_reviews import SqlReviews  # noqa: PLC0415  # see above

    return SqlReviews(_place(settings), seal=open_seal(settings.cache))


def _place(settings: Settings) -> Path | SecretStr:
    return settings.store_url or settings.home / "judges.db"
