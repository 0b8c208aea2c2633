"""Ground: text to unit vectors, in this process. Knows no model call; keeps no text."""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol, TypeAlias

from .embeddings import DiskEmbeddings
from .encoder_export import open_model
from .encoder_source import Source, find_source
from .settings import settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors: TypeAlias = NDArray[np.float32]

Around: TypeAlias = Callable[[], AbstractContextManager[object]]
"""Entered while a model computes, and not for what is remembered."""

# Labels and examples come back with every call and asks seldom do: 4096 texts are 6 MB of vectors.
_REMEMBERED_TEXTS = 4096
# What counts the tokens of a text remembers the text itself.
_REMEMBERED_LETTERS = 10_000
# So many are written in one transaction; a process that ends loses no more.
_AT_ONCE = 1024


class Model(Protocol):
    """What computes an encoder's vectors: an exported model, or sentence-transformers itself."""

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        ...

    @property
    def window(self) -> int:
        """Tokens that a text may have, as `count_tokens` counts them; the rest is not read."""
        ...

    def encode(self, texts: Sequence[str]) -> "Vectors":
        """Return unit vectors, (n, d) float32, in the order of the texts; n > 0."""
        ...

    def count_tokens(self, text: str) -> int:
        """Return the tokens of a text, all of them, without the marks around a sequence."""
        ...


class Encoder(Model, Protocol):
    """Turns texts, also none, into vectors whose dot product is their cosine. Thread-safe."""

    @property
    def fingerprint(self) -> str:
        """Name of the vector space; vectors of two fingerprints cannot be compared."""
        ...

    def encode(self, texts: Sequence[str], around: Around = nullcontext) -> "Vectors":
        """Return unit vectors, (n, d) float32, in the order of the texts."""
        ...


class TextEncoder:
    """An Encoder over a model that remembers what it has encoded.

    `store`: where vectors are kept for other processes too; None keeps them in memory only.
    """

    def __init__(self, model: Model, fingerprint: str, store: DiskEmbeddings | None = None) -> None:
        self._model = model
        self._fingerprint = fingerprint
        self._store = store
        # By hash, as in the store: a long text would otherwise stay in memory for its vector.
        self._vectors: OrderedDict[bytes, Vectors] = OrderedDict()
        self._remembering = Lock()
        self._count: Callable[[str], int] = lru_cache(_REMEMBERED_TEXTS)(model.count_tokens)

    @property
    def fingerprint(self) -> str:
        """The model's name and the start of its files' SHA-256."""
        return self._fingerprint

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return self._model.dimensions

    @property
    def window(self) -> int:
        """Tokens that a text may have, as `count_tokens` counts them; the rest is not read."""
        return self._model.window

    def encode(self, texts: Sequence[str], around: Around = nullcontext) -> "Vectors":
        """Return unit vectors, (n, d) float32, in the order of the texts."""
        import numpy as np  # noqa: PLC0415  # import tierflow must stay cheap

        keys = [_key(text) for text in texts]
        new = dict(zip(keys, texts, strict=True))
        found: dict[bytes, Vectors] = {}
        with self._remembering:
            for key in keys:
                if (vector := self._vectors.get(key)) is not None:
                    found[key] = vector
                    self._vectors.move_to_end(key)
                    new.pop(key, None)
        if new and self._store is not None:
            kept = self._store.get(list(new))
            new = {key: text for key, text in new.items() if key not in kept}
            found |= kept
            self._remember(kept)
        for part in _parts(list(new)):
            with around():
                vectors = self._model.encode([new[key] for key in part])
            # Copies: a row that is remembered would keep the vectors of the whole part.
            made = {key: vector.copy() for key, vector in zip(part, vectors, strict=True)}
            found |= made
            self._remember(made)
            if self._store is not None:
                self._store.put(made)
        if not keys:
            return np.empty((0, self.dimensions), dtype=np.float32)
        return np.stack([found[key] for key in keys])

    def count_tokens(self, text: str) -> int:
        """Return the tokens of a text, all of them, without the marks around a sequence."""
        if len(text) > _REMEMBERED_LETTERS:
            return self._model.count_tokens(text)
        return self._count(text)

    def _remember(self, vectors: "dict[bytes, Vectors]") -> None:
        with self._remembering:
            self._vectors |= vectors
            while len(self._vectors) > _REMEMBERED_TEXTS:
                self._vectors.popitem(last=False)


class _Opened:
    """What this process has opened."""

    def __init__(self) -> None:
        self.opening = Lock()
        # One model for a setting whatever the home: it has some 100 MB, and is the same in all.
        self.models: dict[str, tuple[Source, Model]] = {}
        self.encoders: dict[tuple[str, Path, bool], TextEncoder] = {}


_opened = _Opened()
_of_the_parent: list[_Opened] = []


def encoder() -> Encoder:
    """Return this process's encoder for the settings in force, loading it on first use.

    The first use of a model on a machine exports it (seconds); later processes take under one.
    Raises ConfigError for a model that may not be loaded, ImportError without the extra `local`.
    """
    chosen = settings()
    # Who keeps no answers, or only encrypted ones, does not want what they were asked on disk.
    keeps = chosen.cache.mode in {"on", "refresh"} and chosen.cache.encryption_keys is None
    key = chosen.encoder, chosen.home, keeps
    with _opened.opening:
        if key not in _opened.encoders:
            _opened.encoders[key] = _open(*key)
        return _opened.encoders[key]


def _open(setting: str, home: Path, keeps: bool) -> TextEncoder:
    if setting not in _opened.models:
        source = find_source(setting)
        _opened.models[setting] = source, open_model(source, home)
    source, model = _opened.models[setting]
    store = None
    if keeps:
        path = home / "encoder" / "embeddings" / f"{source.label}.sqlite"
        store = DiskEmbeddings(path, model.dimensions)
    return TextEncoder(model, source.fingerprint, store)


def _forget() -> None:
    """Let a forked process open its own: locks, threads and connections do not survive a fork."""
    global _opened  # noqa: PLW0603  # its lock may be held by a thread that is no more
    # Kept: closing the parent's connections here would write to its files.
    _of_the_parent.append(_opened)
    _opened = _Opened()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _parts(keys: list[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(keys), _AT_ONCE):
        yield keys[start : start + _AT_ONCE]


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
