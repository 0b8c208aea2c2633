"""Answers: what tests put into a store."""

from hashlib import sha256

from tierflow.caching import Key
from tierflow.caching.store import Entry, Failure, Labels
from tierflow.request import Stored, Usage

DAY_S = 24 * 3600.0
NOW = 1_800_000_000.0


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def key_of(name: str) -> Key:
    """Return a key as long as a real one."""
    return Key(sha256(name.encode()).hexdigest())


def stored(said: object) -> Stored:
    """Return an answer that says so."""
    usage = Usage(input_tokens=10, output_tokens=2, cache_read_tokens=4)
    return Stored(str(said), "fast", "openai/small", "small-2026", usage, 0.25)


def entry_of(
    said: object,
    step: str = "triage",
    *,
    tenant: str = "",
    prefix: str = "",
    tags: tuple[str, ...] = (),
    at: float = NOW,
    ttl_s: float = 1000 * DAY_S,
) -> Entry:
    """Return an entry whose answer says so; a `Failure` is kept as it is."""
    content = said if isinstance(said, Failure) else stored(said)
    labels = Labels(step, tenant, prefix, tags)
    return Entry(content, labels, at, at + ttl_s / 2, at + ttl_s)
