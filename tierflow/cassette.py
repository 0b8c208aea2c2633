"""Ground: a cassette holds requests of one's own steps, in full, to be replayed. Asks nobody.

Off unless `[cassette] path` is set, because it holds prompts. One JSON line per request; only its
owner may read the file. It grows to `limit_mb` and no further.
"""

import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import ConfigError
from .request import Request, Usage, canonical_json

_LOG = logging.getLogger("tierflow")
_OWNER_ONLY = 0o600


class CassetteSettings(BaseModel):
    """Whether requests are kept in full, for `tierflow serving validate`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path | None = Field(
        default=None, description="JSON lines that requests are added to, prompts included"
    )
    share: float = Field(default=1.0, gt=0, le=1, description="of all requests, by their content")
    limit_mb: int = Field(default=256, gt=0, description="nothing is added to a larger file")


class RecordedRequest(BaseModel):
    """One request as a model was asked it, and how many tokens went in and came out.

    `kind`: the prompt's template or stratum, empty for none. `options`: the sampling that was in
    force, by the names of a chat request. `reply_schema`: what the reply had to fit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: str
    kind: str = ""
    messages: tuple[Mapping[str, Any], ...] = Field(min_length=1)
    options: Mapping[str, Any] = Field(default_factory=dict)
    reply_schema: Mapping[str, Any] | None = None
    input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)


class Cassette:
    """Where this process adds requests. Thread-safe; several processes may share the file."""

    def __init__(self, rules: CassetteSettings) -> None:
        self._rules = rules
        self._writing = threading.Lock()
        self._told = False

    @property
    def records(self) -> bool:
        """Whether `add` may write a file."""
        return self._rules.path is not None

    def add(self, request: Request, options: Mapping[str, Any], usage: Usage) -> None:
        """Add a request that was answered. A file that cannot be written is logged once."""
        path = self._rules.path
        if path is None or not self._is_drawn(request):
            return
        try:
            row = RecordedRequest(
                step=request.step,
                kind=request.template or request.stratum,
                messages=request.messages,
                options=options,
                reply_schema=request.schema,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
            )
            line = row.model_dump_json(exclude_none=True).encode() + b"\n"
            with self._writing:
                self._append(path, line)
        except OSError as exc:
            self._tell(f"Requests are not recorded: {path} cannot be written ({exc.strerror}).")
        except ValueError as exc:
            # Its words may quote the prompt.
            self._tell(f"A request was not recorded: JSON cannot hold it ({type(exc).__name__}).")

    def _append(self, path: Path, line: bytes) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One write per row, so that rows of several processes do not mix.
        handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, _OWNER_ONLY)
        try:
            os.fchmod(handle, _OWNER_ONLY)
            if os.fstat(handle).st_size + len(line) <= self._rules.limit_mb * 2**20:
                os.write(handle, line)
                return
        finally:
            os.close(handle)
        self._tell(f"{path} has {self._rules.limit_mb} MB, and nothing more is recorded.")

    def _is_drawn(self, request: Request) -> bool:
        if self._rules.share >= 1:
            return True
        content = canonical_json(request.messages).encode()
        drawn = int.from_bytes(blake2b(content, digest_size=8).digest()) / 2**64
        return drawn < self._rules.share

    def _tell(self, said: str) -> None:
        if not self._told:
            self._told = True
            _LOG.warning("%s", said)


def read_cassette(path: Path) -> Iterator[RecordedRequest]:
    """Yield the requests of a cassette, in order. Raises ConfigError that names file and line."""
    try:
        file = path.open("rb")
    except OSError as exc:
        raise ConfigError(
            f"{path} cannot be read ({exc.strerror}). Set [cassette] path in tierflow.toml, and "
            "run the steps that are to be replayed."
        ) from exc
    with file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield RecordedRequest.model_validate(json.loads(line))
            except (ValidationError, ValueError) as exc:
                # Its words may quote the prompt.
                raise ConfigError(
                    f"{path} line {number} is no recorded request ({type(exc).__name__}). Remove "
                    "that line, or record anew."
                ) from None
