"""similar: may the answer to a question that means the same be served? Proven, or not at all."""

from .cache import SimilarCache
from .findings import Candidate, Explanation, Finding, Place, Served
from .store import SimilarStore

__all__ = [
    "Candidate",
    "Explanation",
    "Finding",
    "Place",
    "Served",
    "SimilarCache",
    "SimilarStore",
]
