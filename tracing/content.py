"""Content: what of prompts and replies may be written down: nothing, unless it is asked for.

Every text goes through the redaction hook before there is any attribute, event or copy of it.
"""

import importlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from ..errors import ConfigError
from ..request import Message
from ..telemetry_settings import TelemetrySettings

_LOG = logging.getLogger("tierflow")

Redact = Callable[[str], object]
"""Returns what may be written of a text; what is no text is left out."""


@dataclass(frozen=True, slots=True)
class Said:
    """One message as it may be written: its role and the texts that are left of it."""

    role: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Captured:
    """Messages as they may be written. `is_cut`: text was left out because there was too much."""

    messages: tuple[Said, ...]
    is_cut: bool


def captured(messages: Sequence[Message], telemetry: TelemetrySettings) -> Captured:
    """Return messages redacted, and cut to the newest `max_content_bytes` of text (UTF-8).

    Only text is taken: pictures, sound and tool calls are left out. Raises ConfigError for a hook
    that cannot be imported.
    """
    redact = _hook(telemetry.redact)
    left, is_cut, said = telemetry.max_content_bytes, False, list[Said]()
    # From the end: the last message is what was asked, the first the same in every call.
    for message in reversed(messages):
        texts = list[str]()
        for text in _redacted(_texts(message.get("content")), redact):
            # A lone surrogate would cost the exporter the whole batch.
            raw = text.encode(errors="replace")
            is_cut = is_cut or len(raw) > left
            if kept := raw[:left].decode(errors="ignore"):
                texts.append(kept)
            left = max(0, left - len(raw))
        said.append(Said(str(message.get("role", "")), tuple(texts)))
    return Captured(tuple(reversed(said)), is_cut)


def captured_text(text: str, telemetry: TelemetrySettings) -> str:
    """Return one text as it may be written; empty where the hook leaves it out."""
    (said,) = captured([{"role": "", "content": text}], telemetry).messages
    return "".join(said.texts)


def _texts(content: object) -> Iterable[str]:
    match content:
        case str():
            yield content
        case list() | tuple():
            for part in cast("Sequence[Any]", content):
                if isinstance(part, dict) and isinstance(
                    text := cast("dict[str, Any]", part).get("text"), str
                ):
                    yield text
        case _:
            pass


def _redacted(texts: Iterable[str], redact: Redact | None) -> Iterable[str]:
    for text in texts:
        if redact is None:
            yield text
            continue
        try:
            left = redact(text)
        except Exception as error:  # noqa: BLE001  # a hook that fails has not said that it may be written
            _LOG.warning(
                "The redaction hook raised %s; the text is left out.", type(error).__name__
            )
            continue
        if isinstance(left, str):
            yield left


@lru_cache(maxsize=8)
def _hook(named: str | None) -> Redact | None:
    if named is None:
        return None
    module, _, name = named.partition(":")
    try:
        found: object = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as exc:
        raise ConfigError(
            f"telemetry.redact names {named}, which cannot be imported: {exc}. Name a function as "
            "package.module:function."
        ) from exc
    if not callable(found):
        raise ConfigError(f"telemetry.redact names {named}, which is no function.")
    return cast("Redact", found)
