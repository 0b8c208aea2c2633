"""tierflow: LLM steps for Prefect flows. Tiers, caches, cascades, failover, rollouts, tracing."""

from .caching import ExactCache, SemanticCache
from .errors import TierflowError
from .request import Answer, Chunk, Prompt, Sampling, Usage, Verdict
from .rollouts import Rollout, Variant
from .routing import Cascade, agreement, confidence, model_judge, schema
from .tasks import LLMTask, llm_task

__all__ = [
    "Answer",
    "Cascade",
    "Chunk",
    "ExactCache",
    "LLMTask",
    "Prompt",
    "Rollout",
    "Sampling",
    "SemanticCache",
    "TierflowError",
    "Usage",
    "Variant",
    "Verdict",
    "agreement",
    "confidence",
    "llm_task",
    "model_judge",
    "schema",
]
