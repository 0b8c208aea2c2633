"""Threads: how an index is shared between them, and how faiss is kept from starting its own."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import faiss

_faiss: Any = faiss  # has no types


@contextmanager
def one_thread() -> Generator[None]:
    """Let faiss work in the calling thread alone.

    Its own threads wait for each other by spinning: on a busy machine that turns a tenth of a
    millisecond into ten. They also do not survive a fork.
    """
    before: int = _faiss.omp_get_max_threads()
    _faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        _faiss.omp_set_num_threads(before)


class SharedLock:
    """Any number of readers, or one writer; readers wait for a writer that waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._readers = 0
        self._writing = False
        self._waiting = 0

    @contextmanager
    def reading(self) -> Generator[None]:
        """Share with other readers."""
        with self._changed:
            while self._writing or self._waiting:
                self._changed.wait()
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                if not self._readers:
                    self._changed.notify_all()

    @contextmanager
    def writing(self) -> Generator[None]:
        """Be alone."""
        with self._changed:
            self._waiting += 1
            try:
                while self._writing or self._readers:
                    self._changed.wait()
                self._writing = True
            finally:
                self._waiting -= 1
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
