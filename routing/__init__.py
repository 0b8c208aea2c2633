"""routing: who answers, and is it good enough? Tiers, failover, cascades, judges, the client."""

from .asking import Parsed, Question
from .cascade import Cascade, Chain, Outcome, run_chain
from .client import LiteLLMClient, ModelClient
from .cooldown import Cooldowns
from .effects import Ask, OnChunk, Pause, Rank
from .failover import Trail
from .judges import Case, Judge, Score, agreement, confidence, model_judge, schema
from .tiers import NamedTier, is_usable, key_variables, resolve

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
    "Outcome",
    "Parsed",
    "Pause",
    "Question",
    "Rank",
    "Score",
    "Trail",
    "agreement",
    "confidence",
    "is_usable",
    "key_variables",
    "model_judge",
    "resolve",
    "run_chain",
    "schema",
]
