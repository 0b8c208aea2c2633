"""routing: who answers, and is it good enough? Tiers, failover, cascades, judges, the client."""

from .asking import Parsed, Question, ask_tier
from .cascade import Cascade
from .chain import Chain, run_chain
from .client import LiteLLMClient, ModelClient
from .code_run import run_tests
from .effects import (
    Admission,
    Admit,
    Ask,
    Foreign,
    Hedge,
    OnChunk,
    Pause,
    Place,
    Placed,
    Raced,
    Ran,
    Rank,
    RunTests,
    Seat,
    Seated,
    Standing,
    Tell,
)
from .judges import Case, Judge, Score, agreement, confidence, model_judge, schema, source_of
from .pairwise import pairwise_judge
from .routes import OpenRoute, Route
from .texts import ask_of, text_of
from .tiers import NamedTier, is_usable, key_variables, knows_keys, resolve, temperature_of
from .trail import Attempt, Trail
from .trained import trained
from .verifiers import matches, passes, unit_tests

__all__ = [
    "Admission",
    "Admit",
    "Ask",
    "Attempt",
    "Cascade",
    "Case",
    "Chain",
    "Foreign",
    "Hedge",
    "Judge",
    "LiteLLMClient",
    "ModelClient",
    "NamedTier",
    "OnChunk",
    "OpenRoute",
    "Parsed",
    "Pause",
    "Place",
    "Placed",
    "Question",
    "Raced",
    "Ran",
    "Rank",
    "Route",
    "RunTests",
    "Score",
    "Seat",
    "Seated",
    "Standing",
    "Tell",
    "Trail",
    "agreement",
    "ask_of",
    "ask_tier",
    "confidence",
    "is_usable",
    "key_variables",
    "knows_keys",
    "matches",
    "model_judge",
    "pairwise_judge",
    "passes",
    "resolve",
    "run_chain",
    "run_tests",
    "schema",
    "source_of",
    "temperature_of",
    "text_of",
    "trained",
    "unit_tests",
]
