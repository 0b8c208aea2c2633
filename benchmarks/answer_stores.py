"""Answer stores: the exact cache's stores, and what else one could keep answers in.

Each is given the same entry with an answer of 900 bytes, and gives the same object back, but for
litellm's: they give back what they parse from JSON, which is less work.
"""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import diskcache
from pydantic import TypeAdapter

from tierflow.caching import Key
from tierflow.caching.disk_store import DiskStore
from tierflow.caching.memory_store import MemoryStore
from tierflow.caching.store import Entry, Labels
from tierflow.request import Stored, Usage

_ENTRY = TypeAdapter(Entry)
_TTL_S = 24 * 3600.0
_Cache: Any = diskcache.Cache
_JSONDisk: Any = diskcache.JSONDisk


class Store(Protocol):
    """One way to keep answers."""

    def get(self, key: Key) -> Any:
        """Return what is under a key, None if there is nothing."""
        ...

    def put(self, key: Key, entry: Entry) -> object:
        """Keep an entry."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...


def entry() -> Entry:
    """Return an entry whose answer has 900 bytes."""
    usage = Usage(input_tokens=400, output_tokens=200, cache_read_tokens=256)
    text = "An answer. " * 81 + "It ends."
    answer = Stored(text.ljust(900, "!")[:900], "fast", "openai/m", "m-1", usage, 0.001)
    now = time.time()
    labels = Labels("triage", "acme", "5f2d", ("reviewed",))
    return Entry(answer, labels, now, now + _TTL_S, now + _TTL_S)


def tierflow_disk(folder: Path) -> Store:
    """Open ours on disk."""
    return DiskStore(folder, size_limit_mb=1024)


def tierflow_memory(_: Path) -> Store:
    """Open ours in memory."""
    return MemoryStore()


class DiskcacheJSON:
    """The raw thing: diskcache's own JSON (zlib inside), and the same object built from it."""

    def __init__(self, folder: Path) -> None:
        self._cache = _Cache(str(folder), disk=_JSONDisk)

    def get(self, key: Key) -> Entry:
        """See Store."""
        return _ENTRY.validate_python(self._cache.get(key))

    def put(self, key: Key, entry: Entry) -> None:
        """See Store."""
        self._cache.set(key, _ENTRY.dump_python(entry, mode="json"), _TTL_S)

    def close(self) -> None:
        """See Store."""
        self._cache.close()


class DiskcachePickle:
    """diskcache as it comes: it pickles the object."""

    def __init__(self, folder: Path) -> None:
        self._cache = _Cache(str(folder))

    def get(self, key: Key) -> Any:
        """See Store."""
        return self._cache.get(key)

    def put(self, key: Key, entry: Entry) -> None:
        """See Store."""
        self._cache.set(key, entry, _TTL_S)

    def close(self) -> None:
        """See Store."""
        self._cache.close()


class PlainSqlite:
    """SQLite with one table and no limit of size, durable as ours is (WAL, NORMAL)."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._connection = sqlite3.connect(folder / "plain.db", isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("CREATE TABLE kept (key TEXT PRIMARY KEY, until REAL, value BLOB)")

    def get(self, key: Key) -> Entry:
        """See Store."""
        query = "SELECT value FROM kept WHERE key = ? AND until > ?"
        ((kept,),) = self._connection.execute(query, (key, time.time())).fetchall()
        return _ENTRY.validate_json(kept)

    def put(self, key: Key, entry: Entry) -> None:
        """See Store."""
        row = key, entry.expires_at, _ENTRY.dump_json(entry)
        self._connection.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", row)

    def close(self) -> None:
        """See Store."""
        self._connection.close()


class LiteLLM:
    """One of litellm's caches; it gives back a dict."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def get(self, key: Key) -> Any:
        """See Store."""
        return self._cache.get_cache(key)

    def put(self, key: Key, entry: Entry) -> None:
        """See Store."""
        self._cache.set_cache(key, _ENTRY.dump_json(entry).decode(), ttl=_TTL_S)

    def close(self) -> None:
        """See Store."""
        if hasattr(self._cache, "disk_cache"):
            self._cache.disk_cache.close()


def litellm_disk(folder: Path) -> Store:
    """Open litellm's cache on disk, which is diskcache."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # nothing is fetched
    from litellm.caching.disk_cache import DiskCache

    return LiteLLM(DiskCache(str(folder)))


def litellm_memory(_: Path) -> Store:
    """Open litellm's cache in memory, made large enough."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    from litellm.caching.in_memory_cache import InMemoryCache

    return LiteLLM(InMemoryCache(max_size_in_memory=1_000_000))


PEERS: dict[str, Callable[[Path], Store]] = {
    "diskcache_json": DiskcacheJSON,
    "diskcache_pickle": DiskcachePickle,
    "litellm_disk": litellm_disk,
    "litellm_memory": litellm_memory,
    "sqlite3": PlainSqlite,
    "tierflow_memory": tierflow_memory,
}
