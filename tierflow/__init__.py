"""tierflow: LLM steps for Prefect flows. Tiers, caches, cascades, failover, rollouts, tracing."""

from .caching import ExactCache, SemanticCache
from .errors import TierflowError
from .prompting import prompt
from .request import Answer, Chunk, Prompt, Sampling, Usage, Verdict
from .rollouts import Rollout, Variant, cost_per_task, error_rate, p95_latency, quality
from .routing import (
    Cascade,
    Route,
    agreement,
    confidence,
    matches,
    model_judge,
    pairwise_judge,
    passes,
    schema,
    trained,
    unit_tests,
)
from .routing.evaluators import (
    autoevals_scorer,
    checked,
    groundedness,
    judged,
    pydantic_evaluator,
    safety,
)
from .tasks import LLMTask, llm_task, record_evaluation

__all__ = [
    "Answer",
    "Cascade",
    "Chunk",
    "ExactCache",
    "LLMTask",
    "Prompt",
    "Rollout",
    "Route",
    "Sampling",
    "SemanticCache",
    "TierflowError",
    "Usage",
    "Variant",
    "Verdict",
    "agreement",
    "autoevals_scorer",
    "checked",
    "confidence",
    "cost_per_task",
    "error_rate",
    "groundedness",
    "judged",
    "llm_task",
    "matches",
    "model_judge",
    "p95_latency",
    "pairwise_judge",
    "passes",
    "prompt",
    "pydantic_evaluator",
    "quality",
    "record_evaluation",
    "safety",
    "schema",
    "trained",
    "unit_tests",
]
