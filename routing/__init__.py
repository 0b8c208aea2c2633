"""routing: who answers, and is it good enough? Tiers, failover, cascades, judges, the client."""

from .asking import Parsed, Question, ask_tier
from .cascade import Cascade, Chain, run_chain
from .client import LiteLLMClient, ModelClient
from .cooldown import Cooldowns
from .effects import Ask, OnChunk, Pause, Rank
from .failover import Trail
from .judges import Case, Judge, Score, agreement, confidence, model_judge, schema, source_of
from .tiers import NamedTier, is_usable, key_variables, knows_keys, resolve, temperature_of

__all__ = [
    "Ask",
    "Cascade",
    "Case",
    "Chain",
    "Cooldowns",
    "Judge",
    "LiteLLMClient",
    "ModelClient",
    "NamedTier",
    "OnChunk",
    "Parsed",
    "Pause",
    "Question",
    "Rank",
    "Score",
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
