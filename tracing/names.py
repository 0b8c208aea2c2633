"""Names: every attribute that tierflow writes, in one table.

GenAI names follow the semantic conventions v1.41.1 (opentelemetry.io/docs/specs/semconv/gen-ai);
what they do not name yet stands under `tierflow.`. opentelemetry-util-genai writes the
rest of the `gen_ai.` attributes of a model call.
"""

CACHE_WRITE_TOKENS = "gen_ai.usage.cache_creation.input_tokens"
"""v1.41.1's name; util-genai 1.3 only writes its successor, which most backends do not read."""

STEP = "tierflow.step"
TIER = "tierflow.tier"
ARM = "tierflow.arm"
TENANT = "tierflow.tenant"
ROLE = "tierflow.role"
PROMPT = "gen_ai.prompt.name"
PROMPT_VERSION = "tierflow.prompt.version"
PROMPT_HASH = "tierflow.prompt.hash"
CACHE = "tierflow.cache"
ESCALATIONS = "tierflow.escalations"
FAILED_ATTEMPTS = "tierflow.failed_attempts"
COST_USD = "tierflow.cost.usd"
UNPRICED = "tierflow.cost.unpriced"
ITL_MEAN = "tierflow.inter_chunk_latency.mean"
ITL_P95 = "tierflow.inter_chunk_latency.p95"
JUDGE = "tierflow.judge"
JUDGE_SCORE = "tierflow.judge.score"
JUDGE_ACCEPTED = "tierflow.judge.accepted"
JUDGE_REASON = "tierflow.judge.reason"
USAGE_ESTIMATED = "tierflow.usage.estimated"
FLOW_RUN_ID = "prefect.flow_run.id"
TASK_RUN_ID = "prefect.task_run.id"
ERROR_TYPE = "error.type"

PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex_ai": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""litellm's provider names where `gen_ai.provider.name` has another well-known value."""
