"""Ground: makes an encoder's model into ONNX, once, and opens what was made. Encodes nothing else.

`<home>/encoder/<fingerprint>/` holds the model, its tokenizer and a manifest with their SHA-256.
"""

import logging
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .encoder_onnx import (
    INPUTS,
    MANIFEST,
    MODEL,
    OUTPUT,
    TOKENIZER,
    Manifest,
    OnnxModel,
    UnusableExportError,
)
from .encoder_source import Source, sha256_of
from .encoder_torch import TorchModel
from .errors import ConfigError

_LOG = logging.getLogger("tierflow")

OPSET = 18
MOST_DIFFERENCE = 1e-4
"""In any number of a vector, between an export and sentence-transformers."""

# Above, the weights stand in a file of their own: protobuf ends at 2 GiB.
_MOST_IN_ONE_FILE = 1_500_000_000
# Another process that exports the same model needs half a minute; one that hangs blocks nobody.
_LONGEST_WAIT_S = 300
_MAKERS = ("sentence-transformers", "torch", "transformers")
_SAMPLES = (
    "Where is my parcel?",
    "",
    "  ¿Dónde está mi paquete? 我的包裹在哪里 📦 İ ß\n\tNAÏVE\u200b  ",
    "My order has not arrived, and I want my money back. " * 3,
    "word " * 6000,
)


def open_model(source: Source, home: Path) -> OnnxModel | TorchModel:
    """Return the exported model of a source, exporting it when it is missing or unusable.

    Where that cannot be done, warn and return sentence-transformers itself. Raises ConfigError
    for files that may not be loaded, ImportError where a library is missing.
    """
    folder = home / "encoder" / source.label
    reference = lru_cache(maxsize=1)(lambda: TorchModel(source))  # half a minute of CPU: once
    try:
        try:
            return _open(source, folder)
        except FileNotFoundError:
            fault = None  # the first use
        except UnusableExportError as exc:
            fault = str(exc)
        return _export_alone(source, reference, folder, fault)
    except ConfigError:
        raise
    except Exception as exc:  # noqa: BLE001  # a model can be anything, and torch raises anything
        why = _said(exc)
        model = reference()
        warnings.warn(
            f"The encoder {source.fingerprint} was not exported to ONNX ({why}), so every process "
            "loads it with sentence-transformers, which takes seconds.",
            RuntimeWarning,
            stacklevel=2,
        )
        return model


def _open(source: Source, folder: Path) -> OnnxModel:
    model = OnnxModel(folder)
    found = model.manifest
    if (found.fingerprint, found.source_sha256) != (source.fingerprint, source.sha256):
        raise UnusableExportError(f"it was made from {found.fingerprint}")
    return model


def _export_alone(
    source: Source, reference: Callable[[], TorchModel], folder: Path, fault: str | None
) -> OnnxModel:
    from filelock import FileLock  # noqa: PLC0415  # 15 ms to import

    folder.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock"), timeout=_LONGEST_WAIT_S):
        try:
            return _open(source, folder)  # another process was faster
        except (FileNotFoundError, UnusableExportError):
            pass
        if fault is not None:
            warnings.warn(
                f"The exported encoder in {folder} cannot be used ({fault}). It is made again.",
                RuntimeWarning,
                stacklevel=3,
            )
        _LOG.info("Exporting the encoder %s to ONNX, once; takes seconds.", source.fingerprint)
        for left in folder.parent.glob(f".{folder.name}-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            with _quiet("sentence_transformers"):
                model = reference()
            with _quiet("onnx_ir", "onnxscript", "torch.onnx"):  # which importing torch resets
                export(source, model, made)
            _check(OnnxModel(made), model)
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return _open(source, folder)


def export(source: Source, reference: TorchModel, folder: Path) -> None:
    """Write model, tokenizer and manifest into an empty folder. Raises what torch raises."""
    transformer = reference.transformer
    _export_graph(transformer, folder / MODEL)
    _export_tokenizer(transformer.tokenizer, folder / TOKENIZER)
    modules = tuple(type(module).__name__ for module in transformer)
    pooling = next((str(m.pooling_mode) for m in transformer if hasattr(m, "pooling_mode")), "none")
    manifest = Manifest(
        fingerprint=source.fingerprint,
        source_sha256=source.sha256,
        dimensions=reference.dimensions,
        longest=reference.longest,
        window=reference.window,
        prompt=reference.prompt,
        pad=int(transformer.tokenizer.pad_token_id or 0),
        pooling=pooling,
        modules=modules,
        opset=OPSET,
        made_by={
            name: version(name) for name in ("torch", "transformers", "sentence-transformers")
        },
        files={path.name: sha256_of(path) for path in sorted(folder.iterdir())},
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")


def _export_graph(transformer: Any, path: Path) -> None:
    import torch  # noqa: PLC0415  # seconds of CPU

    onnx: Any = torch.onnx  # has few types

    class Whole(torch.nn.Module):
        """All modules of a sentence-transformers model, and the norm of its vectors."""

        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleList(transformer)

        def forward(self, numbers: Any, mask: Any) -> Any:
            features = dict(zip(INPUTS, (numbers, mask), strict=True))
            for part in self.parts:
                features = part(features)
            return torch.nn.functional.normalize(features["sentence_embedding"], dim=-1)

    numbers = torch.ones((3, 7), dtype=torch.int64)
    mask = torch.ones_like(numbers)
    mask[1, 5:] = 0
    size = sum(each.numel() * each.element_size() for each in transformer.parameters())
    axes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens")}
    with torch.no_grad():
        onnx.export(
            Whole().eval(),
            (numbers, mask),
            path,
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_shapes=(axes, axes),
            opset_version=OPSET,
            dynamo=True,
            external_data=size > _MOST_IN_ONE_FILE,
            verbose=False,
        )


def _export_tokenizer(tokenizer: Any, path: Path) -> None:
    from tokenizers import Tokenizer  # noqa: PLC0415  # import tierflow must stay cheap

    # A copy: the reference goes on using its own.
    own: Any = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    own.no_truncation()
    own.no_padding()
    own.save(str(path), pretty=False)


def _said(exc: BaseException) -> str:
    """Return one line on the first cause: torch wraps it into a page of advice, with colours."""
    while exc.__cause__ is not None:
        exc = exc.__cause__
    text = " ".join(re.sub(r"\x1b\[[\d;]*m", "", str(exc)).split())
    return f"{type(exc).__name__}: {text[:200]}"


def _check(made: OnnxModel, reference: TorchModel) -> None:
    """Raise UnusableExportError if an export does not give the reference's vectors."""
    import numpy as np  # noqa: PLC0415  # import tierflow must stay cheap

    expected = reference.encode(_SAMPLES)
    apart = np.concatenate([made.encode([sample]) for sample in _SAMPLES])
    for found in (made.encode(_SAMPLES), apart):
        difference = float(np.abs(found - expected).max())
        if not difference <= MOST_DIFFERENCE:
            raise UnusableExportError(
                f"its vectors differ from sentence-transformers by {difference:.1e}"
            )
    for sample in _SAMPLES:
        if made.count_tokens(sample) != reference.count_tokens(sample):
            raise UnusableExportError("its tokenizer counts other tokens")


@contextmanager
def _quiet(*names: str) -> Generator[None]:
    """Keep what libraries say about an export from the user, who did not ask for one."""
    talkative = [logging.getLogger(name) for name in names]
    before = [each.level for each in talkative]
    for each in talkative:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(talkative, before, strict=True):
            each.setLevel(level)
