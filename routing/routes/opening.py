"""Route opening: which store the settings name. Backends are imported here, only when needed."""

from ...settings import Settings
from .store import Routes


def open_routes(settings: Settings) -> Routes:
    """Return the store of learned routes that the settings name; it is opened on first use.

    Raises ConfigError for a wrong `store_url`, ImportError for one without psycopg.
    """
    from .sql_store import SqlRoutes  # noqa: PLC0415  # SQLAlchemy takes 0.1 s to import

    return SqlRoutes(settings.store_url or settings.home / "routes.db")
