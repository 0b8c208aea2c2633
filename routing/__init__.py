"""routing: who answers, and is it good enough? Tiers, failover, cascades, judges, the client."""

from .asking import Parsed, Question, ask_tier
from .cascade import Cascade, Chain, run_chain
from .client import LiteLLMClient, ModelClient
from .effects import Admission, Admit, Ask, Hedge, OnChunk, Pause, Raced, Rank, Standing
from .failover import Trail
from .judges import Case, Judge, Score, agreement, confidence, model_judge, schema, source_of
from .tiers import NamedTier, is_usable, key_variables, knows_keys, resolve, temperature_of

__all__ = [
    "Admission",
    "Admit",
    "Ask",
    "Cascade",
    "Case",
    "Chain",
    "Hedge",
    "Judge",
    "LiteLLMClient",
    "ModelClient",
    "NamedTier",
    "OnChunk",
    "Parsed",
    "Pause",
    "Question",
    "Raced",
    "Rank",
    "Score",
    "Standing",
    "Trail",
    "agreement",
    "ask_tier",
    "confidence",
    "is_usable",
    "key_variables",
    "knows_keys",
    "model_judge",
    "resolve",
    "run_chain",
    "schema",
    "source_of",
    "temperature_of",
]
