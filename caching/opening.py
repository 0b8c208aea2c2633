"""Opening: which store the settings name. Backends are imported here, and only when needed."""

from ..settings import Settings
from .store import AnswerStore


def open_store(settings: Settings) -> AnswerStore:
    """Return the store that the settings name; its files are opened on first use."""
    from .disk_store import DiskStore  # noqa: PLC0415  # diskcache is for those who run steps

    return DiskStore(settings.home / "cache", size_limit_mb=settings.cache.size_limit_mb)
