"""caching: was this answered before? Exact and similar answers, and one flight per question."""

from .effects import (
    Find,
    Forget,
    Keep,
    Later,
    Learn,
    Lease,
    Once,
    Release,
    Remember,
    Resemble,
    Shared,
)
from .flight import Flights
from .keys import Key, partition_key, prefix_key, request_key, scope_key, value_key
from .leases import Leases
from .opening import has_questions, open_similar_cache, open_store
from .policy import ExactCache, SemanticCache
from .store import AnswerStore, Entry, Failure, Labels, Selection, StoreStats

__all__ = [
    "AnswerStore",
    "Entry",
    "ExactCache",
    "Failure",
    "Find",
    "Flights",
    "Forget",
    "Keep",
    "Key",
    "Labels",
    "Later",
    "Learn",
    "Lease",
    "Leases",
    "Once",
    "Release",
    "Remember",
    "Resemble",
    "Selection",
    "SemanticCache",
    "Shared",
    "StoreStats",
    "has_questions",
    "open_similar_cache",
    "open_store",
    "partition_key",
    "prefix_key",
    "request_key",
    "scope_key",
    "value_key",
]
