"""tuning: how much one iteration reads, and how many requests at once, from measurements."""

from .chunks import ChunkChoice, ChunkMeasured, choose_chunk, to_measure
from .concurrency import LevelChoice, LevelMeasured, choose_level, to_try
from .measuring import Words, Workload, measure_chunk, measure_level

__all__ = [
    "ChunkChoice",
    "ChunkMeasured",
    "LevelChoice",
    "LevelMeasured",
    "Words",
    "Workload",
    "choose_chunk",
    "choose_level",
    "measure_chunk",
    "measure_level",
    "to_measure",
    "to_try",
]
