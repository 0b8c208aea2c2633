"""Budget opening: which store the settings name. Backends are imported here, only when needed."""

from ...settings import Settings
from .store import BudgetStore


def open_budgets(settings: Settings) -> BudgetStore:
    """Return the store of budgets that the settings name; it is opened on first use.

    Raises ConfigError for a wrong `store_url`, ImportError for one without psycopg.
    """
    from .sql_store import SqlBudgets  # noqa: PLC0415  # SQLAlchemy takes 0.1 s to import

    return SqlBudgets(settings.store_url or settings.home / "budgets.db")
