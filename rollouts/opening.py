"""Rollout opening: which store the settings name. Backends are imported here, only when needed."""

from ..sealing import open_seal
from ..settings import Settings
from .store import Rollouts


def open_rollouts(settings: Settings) -> Rollouts:
    """Return the store of rollouts that the settings name; it is opened on first use.

    Raises ConfigError for a wrong `store_url` or key, ImportError where an extra is missing.
    """
    if settings.rollout_store == "prefect":
        from .prefect_store import PrefectRollouts  # noqa: PLC0415  # its client takes 0.1 s

        return PrefectRollouts()
    from .sql_store import SqlRollouts  # noqa: PLC0415  # SQLAlchemy takes 0.1 s to import

    place = settings.store_url or settings.home / "rollouts.db"
    return SqlRollouts(place, seal=open_seal(settings.cache))
