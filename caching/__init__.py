"""caching: was this answered before? Keys, the exact store, and one flight per question."""

from .effects import Find, Keep, Once, Shared
from .flight import Flights
from .keys import Key, request_key
from .opening import open_store
from .policy import ExactCache
from .store import AnswerStore, StoreStats

__all__ = [
    "AnswerStore",
    "ExactCache",
    "Find",
    "Flights",
    "Keep",
    "Key",
    "Once",
    "Shared",
    "StoreStats",
    "open_store",
    "request_key",
]
