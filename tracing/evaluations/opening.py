"""Opening: where evaluations are kept: beside the ledger. Backends are imported when needed."""

from collections.abc import Mapping
from contextlib import closing

from ...sealing import open_seal
from ...settings import Settings, settings
from .store import Evaluations


def open_evaluations(settings: Settings) -> Evaluations:
    """Return the store of evaluations that the settings name; it is opened on first use.

    Raises ConfigError for a wrong `store_url` or key, ImportError where an extra is missing.
    """
    from .sql_store import SqlEvaluations  # noqa: PLC0415  # SQLAlchemy takes 0.1 s to import

    place = settings.store_url or settings.home / "ledger.db"
    return SqlEvaluations(place, seal=open_seal(settings.cache))


def scores_of(flow_run_id: str) -> Mapping[str, tuple[float, int]]:
    """Return mean score (0-1) and number of scores by step, of a flow run's answers.

    A step that nobody scored is not there. From the store that the settings in force name; raises
    StoreError where it cannot be used.
    """
    with closing(open_evaluations(settings())) as store:
        return store.scores(flow_run_id)
