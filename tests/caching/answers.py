"""Answers: what tests put into a store."""

from hashlib import sha256

from tierflow.caching import Key
from tierflow.request import Stored, Usage


def key_of(name: str) -> Key:
    """Return a key as long as a real one."""
    return Key(sha256(name.encode()).hexdigest())


def stored(said: object) -> Stored:
    """Return an answer that says so."""
    usage = Usage(input_tokens=10, output_tokens=2, cache_read_tokens=4)
    return Stored(str(said), "fast", "openai/small", "small-2026", usage, 0.25)
