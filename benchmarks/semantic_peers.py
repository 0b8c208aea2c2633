"""Semantic peers: other ways to find a neighbour, measured where they are here, else quoted."""

import time
from typing import Any

import faiss
import numpy as np

from .semantic_vectors import Vectors

_faiss: Any = faiss  # has no types

# GPTCache 0.1.44 and redisvl 0.28 with Redis 7.4, 10,000 Banking77 vectors of the same encoder,
# encoding not included, measured once on another machine of two cores (Zen 4) while it was quiet.
QUOTED = {
    "gptcache_10k_ms": 8.4,
    "gptcache_10k_insert_ms": 2.1,
    "redisvl_10k_ms": 1.1,
    "litellm_redis_semantic_10k_ms": 1.7,
}
_LOOKUPS = 200
_K = 32


def peers(stored: Vectors, asked: Vectors) -> dict[str, Any]:
    """Return lookups in milliseconds: plain faiss, measured, and what was measured before.

    Plain faiss compares 32-bit floats one by one, as GPTCache has it do; once with its own
    threads, once with none.
    """
    index: Any = _faiss.IndexFlatIP(stored.shape[1])
    index.add(stored)
    threads = _faiss.omp_get_max_threads()
    found: dict[str, Any] = {"entries": len(stored), "faiss_flat_ms": _lookup_ms(index, asked)}
    _faiss.omp_set_num_threads(1)
    found["faiss_flat_one_thread_ms"] = _lookup_ms(index, asked)
    _faiss.omp_set_num_threads(threads)
    return found | {"quoted": QUOTED}


def _lookup_ms(index: Any, asked: Vectors) -> float:
    took: list[float] = []
    for vector in asked[:_LOOKUPS]:
        start = time.perf_counter()
        index.search(vector[None], _K)
        took.append(time.perf_counter() - start)
    return round(1000 * float(np.median(took)), 4)
