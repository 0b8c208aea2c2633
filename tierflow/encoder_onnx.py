"""Ground: a model that was exported once, run by onnxruntime. Knows not what it was made from.

A new process needs neither torch nor transformers for it, which take seconds to import.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .encoder_batches import Batches
from .encoder_source import sha256_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .encoder_batches import Run

    Vectors: TypeAlias = NDArray[np.float32]

MODEL, TOKENIZER, MANIFEST = "model.onnx", "tokenizer.json", "manifest.json"
INPUTS, OUTPUT = ("input_ids", "attention_mask"), "vectors"

# One thread for a run, and several runs at a time. Two threads for a run were no faster on a busy
# machine (short text 3.0 and 3.1 ms, 64 texts 290 and 305 ms), took twice the CPU time where they
# wait spinning, and are a pool that a forked process would wait for.
_THREADS = 1
_MOST_LANES = 4
_ERRORS_ONLY = 3


class Manifest(BaseModel):
    """What lies in an exported model's folder, and how it is used.

    `source_sha256`: of the sentence-transformers files. `longest`: tokens of a sequence, marks
    among them. `window`: tokens of a text. `files`: SHA-256 by name. `pooling`, `modules` and
    `made_by` are for readers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    fingerprint: str
    source_sha256: str
    dimensions: int = Field(gt=0)
    longest: int = Field(gt=0)
    window: int = Field(gt=0)
    prompt: str
    pad: int
    pooling: str
    normalised: Literal[True] = True
    modules: tuple[str, ...]
    opset: int
    made_by: Mapping[str, str]
    files: Mapping[str, str]


class UnusableExportError(ValueError):
    """An exported model is missing, foreign or damaged. The message says what is wrong."""


class OnnxModel:
    """An exported model. Thread-safe; asks that come at once are run together.

    `folder`: what `export` wrote; every file's SHA-256 is checked before it is read. `run`: takes
    the place of onnxruntime. Raises UnusableExportError, FileNotFoundError.
    """

    def __init__(self, folder: Path, *, run: "Run | None" = None, lanes: int | None = None) -> None:
        self.manifest = _read_manifest(folder)
        _check_files(folder, self.manifest)
        self._tokenizer = _tokenizer(folder / TOKENIZER)
        self._marks: int = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        self._batches = Batches(
            run or _session(folder / MODEL),
            self.manifest.pad,
            lanes=lanes or min(os.cpu_count() or 1, _MOST_LANES),
        )

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return self.manifest.dimensions

    @property
    def window(self) -> int:
        """Tokens that a text may have; what is behind them is not read."""
        return self.manifest.window

    def encode(self, texts: Sequence[str]) -> "Vectors":
        """Return unit vectors, (n, d) float32, in the order of the texts."""
        return self._batches.encode([self._row(text) for text in texts])

    def count_tokens(self, text: str) -> int:
        """Return the tokens of a text, all of them, without the marks around a sequence."""
        return len(self._tokens(text).ids)

    def _row(self, text: str) -> list[int]:
        tokens = self._tokens(self.manifest.prompt + text)
        tokens.truncate(self.manifest.longest - self._marks)
        marked: list[int] = self._tokenizer.post_process(tokens).ids
        return marked

    def _tokens(self, text: str) -> Any:
        # One by one: for a batch the tokenizer starts threads, which no forked process has.
        try:
            return self._tokenizer.encode(text, add_special_tokens=False)
        except TypeError:  # half of a surrogate pair, which JSON can hold and UTF-8 cannot
            whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            return self._tokenizer.encode(whole, add_special_tokens=False)


def _read_manifest(folder: Path) -> Manifest:
    text = (folder / MANIFEST).read_bytes()
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as exc:
        fault = exc.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise UnusableExportError(f"{MANIFEST}: {where} {fault['msg']}") from exc


def _check_files(folder: Path, manifest: Manifest) -> None:
    if not {MODEL, TOKENIZER} <= manifest.files.keys():
        raise UnusableExportError(f"{MANIFEST} lists {', '.join(manifest.files) or 'no files'}")
    for name, expected in manifest.files.items():
        if Path(name).name != name:
            raise UnusableExportError(f"{MANIFEST} lists {name!r}, which is no name of a file")
        try:
            found = sha256_of(folder / name)
        except FileNotFoundError as exc:
            raise UnusableExportError(f"{name} is missing") from exc
        if found != expected:
            raise UnusableExportError(f"{name} has SHA-256 {found[:12]}…, not {expected[:12]}…")


def _tokenizer(path: Path) -> Any:
    from tokenizers import Tokenizer  # noqa: PLC0415  # import tierflow must stay cheap

    try:
        return Tokenizer.from_file(str(path))
    except Exception as exc:  # of no class of its own
        raise UnusableExportError(f"{path.name}: {exc}") from exc


def _session(path: Path) -> "Run":
    # It would report to its maker over the network, and leave a file in the temporary folder.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime  # noqa: PLC0415  # import tierflow must stay cheap

    runtime: Any = onnxruntime  # has few types
    options = runtime.SessionOptions()
    options.intra_op_num_threads = _THREADS
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # its errors have no base of their own
        raise UnusableExportError(f"{path.name}: {exc}") from exc

    def run(numbers: Any, mask: Any) -> "Vectors":
        vectors: Vectors
        (vectors,) = session.run([OUTPUT], dict(zip(INPUTS, (numbers, mask), strict=True)))
        return vectors

    return run
