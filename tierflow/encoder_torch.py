"""Ground: sentence-transformers itself, which defines what a model's vectors are.

The reference that an export is checked against, and what encodes where no export can be made.
"""

import os
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

from .encoder_source import Source

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors: TypeAlias = NDArray[np.float32]

# What sentence-transformers gives a tokenizer without a limit is 10**30.
_MOST_WINDOW = 1 << 20


class TorchModel:
    """A sentence-transformers model on the CPU. Thread-safe.

    No code of the model's is run, nothing is unpickled. Raises ConfigError for files that may not
    be loaded, ImportError without the extra `local`.
    """

    def __init__(self, source: Source) -> None:
        source.check()
        self.transformer: Any = _load(source)
        # The tokenizer breaks when two threads use it at once, and torch has threads of its own.
        self._encoding = Lock()

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return int(self.transformer.get_embedding_dimension())

    @property
    def longest(self) -> int:
        """Tokens of a sequence, marks among them."""
        return int(min(self.transformer.max_seq_length or _MOST_WINDOW, _MOST_WINDOW))

    @property
    def prompt(self) -> str:
        """What the model puts before every text."""
        name = self.transformer.default_prompt_name
        return "" if name is None else str(self.transformer.prompts[name])

    @property
    def window(self) -> int:
        """Tokens that a text may have; what is behind them is not read."""
        tokenizer: Any = self.transformer.tokenizer
        # A static model has the bare tokenizer of the library below, and sets no marks.
        is_bare = not hasattr(tokenizer, "backend_tokenizer")
        marks = 0 if is_bare else tokenizer.num_special_tokens_to_add(pair=False)
        return self.longest - int(marks) - self.count_tokens(self.prompt)

    def encode(self, texts: Sequence[str]) -> "Vectors":
        """Return unit vectors, (n, d) float32, in the order of the texts."""
        with self._encoding:
            vectors: Vectors = self.transformer.encode(
                list(texts),
                normalize_embeddings=True,
                show_progress_bar=False,
                convert_to_numpy=True,
            )
        return vectors

    def count_tokens(self, text: str) -> int:
        """Return the tokens of a text, all of them, without the marks around a sequence."""
        tokenizer: Any = self.transformer.tokenizer
        with self._encoding:
            if not hasattr(tokenizer, "backend_tokenizer"):
                return len(tokenizer.encode(text, add_special_tokens=False).ids)
            tokens: Any = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)
        return len(tokens["input_ids"])


def _load(source: Source) -> Any:
    # Read when the import runs: everything is in the folder, so the hub is never asked.
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch  # noqa: PLC0415  # seconds of CPU
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415  # likewise
    from transformers.utils import logging  # noqa: PLC0415  # likewise

    # A library does not draw on its user's terminal.
    bars: Any = logging  # has no types
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        return SentenceTransformer(
            str(source.folder),
            device="cpu",
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True, "dtype": torch.float32},
        )
    finally:
        if shown:
            bars.enable_progress_bar()
