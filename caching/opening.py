"""Opening: which stores the settings name. Backends are imported here, and only when needed."""

from ..encoder import encoder
from ..sealing import open_seal
from ..settings import Settings
from .similar import SimilarCache, SimilarStore
from .store import AnswerStore


def open_store(settings: Settings) -> AnswerStore:
    """Return the store that the settings name; it is opened on first use.

    Raises ConfigError for a wrong `store_url` or key, ImportError where an extra is missing.
    """
    seal, limit_mb = open_seal(settings.cache), settings.cache.size_limit_mb
    if settings.store_url is not None:
        from .postgres_store import PostgresStore  # noqa: PLC0415  # SQLAlchemy takes 0.1 s

        return PostgresStore(settings.store_url, size_limit_mb=limit_mb, seal=seal)
    from .disk_store import DiskStore  # noqa: PLC0415  # diskcache is for those who run steps

    return DiskStore(settings.home / "cache", size_limit_mb=limit_mb, seal=seal)


def open_similar_store(settings: Settings) -> SimilarStore:
    """Return the store of similar questions that the settings name; it is opened on first use.

    Raises ConfigError for a wrong `store_url` or key, ImportError where an extra is missing.
    """
    seal = open_seal(settings.cache)
    if settings.store_url is not None:
        from .similar.postgres_store import PostgresSimilarStore  # noqa: PLC0415  # see above

        return PostgresSimilarStore(settings.store_url, seal=seal)
    from .similar.sqlite_store import SqliteSimilarStore  # noqa: PLC0415  # see above

    return SqliteSimilarStore(settings.home / "similar.db", seal=seal)


def has_questions(settings: Settings) -> bool:
    """Tell whether there may be a store of similar questions, without making one."""
    return settings.store_url is not None or (settings.home / "similar.db").exists()


def open_similar_cache(settings: Settings) -> SimilarCache:
    """Return the similar-question cache over that store; encoder and store open on first use.

    Its first use raises as `open_similar_store` does.
    """
    return SimilarCache(lambda: open_similar_store(settings), encoder, settings.home / "indexes")
