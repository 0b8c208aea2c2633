"""Replay: `replay/<model>` answers with what a real model once said. Never calls a model.

A row of `<replay_dir>/<model>.jsonl` (or `.jsonl.gz`; a `/` in the name is written `__`) holds
`text`, and `key` or `id`, and may hold `input_tokens`, `output_tokens` and `logprob` (mean per
token). A row with a key answers only that request; one with just an id, all about that item.
"""

import gzip
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, cast

from ..errors import ConfigError, ConfigNotFoundError, RecordingNotFoundError
from ..request import canonical_json
from ..settings import settings
from .provider import Call, Provider, Said, text_of


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recorded answer. What is None was not recorded."""

    text: str
    input_tokens: int | None
    output_tokens: int | None
    logprob: float | None


@dataclass(frozen=True, slots=True)
class _Rows:
    """A file's answers. `stamp`: the state of the file that they were read from."""

    stamp: tuple[int, int]
    by_key: dict[str, Recorded] = field(default_factory=dict[str, Recorded])
    by_item: dict[str, Recorded] = field(default_factory=dict[str, Recorded])


def request_key(messages: Sequence[Mapping[str, Any]], response_format: object = None) -> str:
    """Return the SHA-256 that recordings of a request are filed under."""
    request = {"messages": messages, "response_format": response_format}
    return hashlib.sha256(canonical_json(request).encode()).hexdigest()


def recordings_file(model: str) -> Path:
    """Return where a model's recordings are written. Raises ConfigError without `replay_dir`."""
    folder = settings().replay_dir
    name = f"{model.replace('/', '__')}.jsonl"
    if folder is None:
        raise ConfigError(
            f"No folder of recordings is set. Set TIERFLOW_REPLAY_DIR, or replay_dir in "
            f"tierflow.toml, to the one that holds {name} (or {name}.gz)."
        )
    return folder / name


class Recordings(Provider):
    """litellm's custom provider `replay`. A file is read once, and again when it has changed."""

    def __init__(self) -> None:
        super().__init__()
        self._files: dict[Path, _Rows] = {}
        self._reading = Lock()

    def answer(self, call: Call) -> Said:
        """Return the recorded answer.

        Raises RecordingNotFoundError, or ConfigError for a folder or file that cannot be read.
        """
        path = _existing(call.model)
        recorded = self._find(path, call)
        counted = recorded.input_tokens
        if counted is None:
            counted = math.ceil(sum(len(text_of(each)) for each in call.messages) / 4)
        made = recorded.output_tokens
        return Said(
            text=recorded.text,
            input_tokens=counted + int(call.options.get("extra_input_tokens") or 0),
            output_tokens=math.ceil(len(recorded.text) / 4) if made is None else made,
            logprobs=() if recorded.logprob is None else ((recorded.text, recorded.logprob),),
        )

    def _find(self, path: Path, call: Call) -> Recorded:
        rows = self._rows(path)
        key = request_key(call.messages, call.options.get("response_format"))
        found = rows.by_key.get(key)
        if found is None and call.item is not None:
            found = rows.by_item.get(call.item)
        if found is None:
            raise RecordingNotFoundError(
                f"{path} has no answer for item {call.item!r} (request key {key}). Record it "
                f"with record/{call.model}, or give the prompt the id of a recorded item: "
                "Prompt(item=...)."
            )
        return found

    def _rows(self, path: Path) -> _Rows:
        state = path.stat()
        stamp = (state.st_mtime_ns, state.st_size)
        with self._reading:
            rows = self._files.get(path)
            if rows is None or rows.stamp != stamp:
                rows = self._files[path] = _read(path, stamp)
            return rows


def _existing(model: str) -> Path:
    plain = recordings_file(model)
    packed = plain.with_name(f"{plain.name}.gz")
    for path in (plain, packed):
        if path.is_file():
            return path
    raise ConfigNotFoundError(
        f"Neither {plain} nor {packed.name} exists. Correct TIERFLOW_REPLAY_DIR or the model's "
        f"name, or record answers with record/{model}."
    )


def _read(path: Path, stamp: tuple[int, int]) -> _Rows:
    rows = _Rows(stamp)
    for row in _json_rows(path):
        recorded = Recorded(
            row["text"], row.get("input_tokens"), row.get("output_tokens"), row.get("logprob")
        )
        # The last of several is what the model said most recently.
        if "key" in row:
            rows.by_key[row["key"]] = recorded
        else:
            rows.by_item[str(row["id"])] = recorded
    return rows


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                yield _json_row(line, f"{path}, line {number}")
    except (UnicodeDecodeError, EOFError, OSError) as exc:
        raise ConfigError(f"{path} cannot be read: {exc}. Record or copy it anew.") from exc


def _json_row(line: str, where: str) -> dict[str, Any]:
    remedy = "A row is a JSON object with text, and key or id. Correct or remove that line."
    try:
        value = json.loads(line)
    except ValueError as exc:
        raise ConfigError(f"{where}: {exc}. {remedy}") from exc
    row = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    if not isinstance(row.get("text"), str) or not ("key" in row or "id" in row):
        raise ConfigError(f"{where} lacks text, or key and id. {remedy}")
    return row
