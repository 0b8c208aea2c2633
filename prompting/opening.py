"""Prompt opening: the registry that the settings name, one for each process."""

import os
import threading
import time

from ..settings import Settings, settings
from .files import PromptFiles
from .registry import Registry


def open_registry(settings: Settings) -> Registry:
    """Return the registry that the settings name; its store is opened on first use.

    Raises ConfigError for a wrong `store_url`, ImportError for one without psycopg.
    """
    from .sql_store import SqlPrompts  # noqa: PLC0415  # SQLAlchemy takes 0.1 s to import

    store = SqlPrompts(settings.store_url or settings.home / "prompts.db")
    return Registry(PromptFiles(settings.prompts_dir), store, time.monotonic)


_OPEN: dict[int, tuple[Settings, Registry]] = {}
"""By the settings' id, which stays theirs as long as they are kept here."""

_opening = threading.Lock()


def registry() -> Registry:
    """Return this process's registry for the settings in force."""
    current = settings()
    with _opening:
        if id(current) not in _OPEN:
            _OPEN[id(current)] = current, open_registry(current)
        return _OPEN[id(current)][1]


def close_registries() -> None:
    """Close what this process holds open; the next prompt opens it again."""
    with _opening:
        for _, each in _OPEN.values():
            each.close()
        _OPEN.clear()


def _leave_to_parent() -> None:
    global _opening  # noqa: PLW0603  # the parent's may be held by a thread that is not here
    _opening = threading.Lock()
    _OPEN.clear()


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(after_in_child=_leave_to_parent)
