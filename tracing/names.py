"""Names: every attribute, span, metric and event that tierflow emits, in one table.

GenAI names follow the semantic conventions v1.41.1 (opentelemetry.io/docs/specs/semconv/gen-ai),
the last release of OpenTelemetry's own that has them, or what has come since, by a profile. What
they do not name yet stands under `tierflow.`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

SCOPE = "tierflow"
"""The instrumentation scope of all that is emitted."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Whose GenAI names are emitted. `cache_write`: the attribute for tokens written to a cache.

    Only what differs stands here. `schema_url`: what telemetry says of itself.
    """

    schema_url: str
    cache_write: str


PROFILES: Mapping[str, Profile] = {
    "v1.41.1": Profile(
        schema_url="https://opentelemetry.io/schemas/1.41.0",
        cache_write="gen_ai.usage.cache_creation.input_tokens",
    ),
    "latest": Profile(
        schema_url="https://opentelemetry.io/schemas/gen-ai/1.42.0",
        cache_write="gen_ai.usage.cache_write.input_tokens",
    ),
}
"""Langfuse, Phoenix, MLflow and SigNoz read v1.41.1's name; `latest` follows the repository that
the conventions moved to. Its metrics are renamed there, too, but nothing emits those yet."""

SCHEMA_URL = PROFILES["v1.41.1"].schema_url
"""Of what is the same in every profile."""

# Spans

STEP_SPAN = "step {step}"
JUDGE_SPAN = "judge {judge}"
WORKFLOW_SPAN = "invoke_workflow {flow}"

# Attributes of the conventions. opentelemetry-util-genai writes the rest of a model call's.

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
WORKFLOW = "gen_ai.workflow.name"
ERROR_TYPE = "error.type"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
EVALUATION = "gen_ai.evaluation.name"
EVALUATION_SCORE = "gen_ai.evaluation.score.value"
EVALUATION_LABEL = "gen_ai.evaluation.score.label"
EVALUATION_EXPLANATION = "gen_ai.evaluation.explanation"
RESPONSE_ID = "gen_ai.response.id"
INVOKE_WORKFLOW = "invoke_workflow"

OF_A_CALL = frozenset(
    {
        OPERATION,
        PROVIDER,
        REQUEST_MODEL,
        ERROR_TYPE,
        SERVER_ADDRESS,
        SERVER_PORT,
        RESPONSE_ID,
        "gen_ai.embeddings.dimension.count",
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.output.type",
        "gen_ai.request.choice.count",
        "gen_ai.request.frequency_penalty",
        "gen_ai.request.max_tokens",
        "gen_ai.request.presence_penalty",
        "gen_ai.request.seed",
        "gen_ai.request.stop_sequences",
        "gen_ai.request.stream",
        "gen_ai.request.temperature",
        "gen_ai.request.top_k",
        "gen_ai.request.top_p",
        "gen_ai.response.finish_reasons",
        "gen_ai.response.model",
        "gen_ai.response.time_to_first_chunk",
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.reasoning.output_tokens",
        *(profile.cache_write for profile in PROFILES.values()),
    }
)
"""What a model call's span or event may hold of the conventions."""

# Our own attributes; those of LABELS stand on metrics, too.

FLOW = "tierflow.flow"
STEP = "tierflow.step"
TIER = "tierflow.tier"
MODEL = "tierflow.model"
ARM = "tierflow.arm"
TENANT = "tierflow.tenant"
ROLE = "tierflow.role"
PROMPT = "gen_ai.prompt.name"
PROMPT_VERSION = "tierflow.prompt.version"
PROMPT_HASH = "tierflow.prompt.hash"
POOL = "tierflow.pool.name"
POOL_CACHED = "tierflow.pool.expected_cached_tokens"
CACHE = "tierflow.cache"
OUTCOME = "tierflow.outcome"
KIND = "tierflow.token.kind"
STREAMED = "tierflow.streamed"
REF = "tierflow.ref"
ESCALATIONS = "tierflow.escalations"
FAILED_ATTEMPTS = "tierflow.failed_attempts"
ASKS = "tierflow.asks"
COST_USD = "tierflow.cost.usd"
SAVED_USD = "tierflow.cost.saved_usd"
UNPRICED = "tierflow.cost.unpriced"
INPUT_TOKENS = "tierflow.usage.input_tokens"
OUTPUT_TOKENS = "tierflow.usage.output_tokens"
USAGE_ESTIMATED = "tierflow.usage.estimated"
ITL_MEAN = "tierflow.inter_chunk_latency.mean"
ITL_P95 = "tierflow.inter_chunk_latency.p95"
TOKENS_PER_SECOND = "tierflow.tokens_per_second"
JUDGE = "tierflow.judge"
JUDGE_SCORE = "tierflow.judge.score"
JUDGE_ACCEPTED = "tierflow.judge.accepted"
JUDGE_REASON = "tierflow.judge.reason"
CONTENT_CUT = "tierflow.content.truncated"
STEPS = "tierflow.steps"
HITS = "tierflow.hits"
FAILED_STEPS = "tierflow.failed_steps"
UNPRICED_STEPS = "tierflow.unpriced_steps"
FLOW_RUN_ID = "prefect.flow_run.id"
TASK_RUN_ID = "prefect.task_run.id"

# What single backends read beside that, see dialects.py

SPAN_KIND = "openinference.span.kind"
SESSION = "session.id"
LANGFUSE_TYPE = "langfuse.observation.type"
LANGFUSE_COST = "langfuse.observation.cost_details"
LANGFUSE_FIRST_AT = "langfuse.observation.completion_start_time"
MLFLOW_COST = "mlflow.llm.cost"

# Events

EVALUATION_EVENT = "gen_ai.evaluation.result"
DETAILS_EVENT = "gen_ai.client.inference.operation.details"

# Metrics

LABELS = frozenset(
    {FLOW, STEP, TIER, MODEL, ARM, TENANT, ROLE, CACHE, OUTCOME, KIND, STREAMED}
    | {EVALUATION, EVALUATION_LABEL, WORKFLOW, OPERATION, ERROR_TYPE}
)
"""All that a metric of ours may be told apart by: few values each, and never an id."""

_STEP = (FLOW, STEP, TIER, ARM, TENANT)
_ENDED = (*_STEP, CACHE, OUTCOME)
_CALL = (*_STEP, MODEL, ROLE)
_EVALUATED = (EVALUATION, EVALUATION_LABEL, *_STEP)

_SECONDS = tuple(0.01 * 2**n for n in range(14))
_LONG_S = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)
_USD = tuple(float(f"{digit}e{power}") for power in range(-6, 2) for digit in (1, 2, 5))
_RATES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)
_SCORES = tuple(n / 10 for n in range(1, 11))


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One metric of ours: a histogram with these upper bounds of `buckets`, else a counter.

    `labels`: what tells its series apart.
    """

    name: str
    unit: str
    labels: tuple[str, ...]
    says: str
    buckets: tuple[float, ...] | None = None


STEP_COUNT = Metric(
    "tierflow.step.count", "{step}", _ENDED, "Steps that ended; ok among all is the success rate."
)
HIT_COUNT = Metric("tierflow.cache.hits", "{step}", (*_STEP, CACHE), "Steps answered by a cache.")
ESCALATION_COUNT = Metric(
    "tierflow.escalation.count", "{escalation}", _STEP, "Cheaper tiers that were passed by."
)
FAILOVER_COUNT = Metric(
    "tierflow.failover.count", "{request}", _STEP, "Requests that failed within a step."
)
STEP_DURATION = Metric(
    "tierflow.step.duration", "s", _ENDED, "Time of a step, caches and judges included.", _SECONDS
)
STEP_COST = Metric(
    "tierflow.step.cost", "{USD}", _ENDED, "Cost of a step, judges and repairs included.", _USD
)
REQUEST_COUNT = Metric(
    "tierflow.request.count",
    "{request}",
    (*_CALL, OUTCOME),
    "Requests to deployments; their rate is requests per second.",
)
REQUEST_COST = Metric("tierflow.request.cost", "{USD}", _CALL, "Cost of a request.", _USD)
COST = Metric("tierflow.cost", "{USD}", _CALL, "What requests cost.")
UNPRICED_COUNT = Metric(
    "tierflow.cost.unpriced.count", "{request}", _CALL, "Requests whose cost is not known."
)
TOKENS = Metric(
    "tierflow.tokens",
    "{token}",
    (*_CALL, KIND),
    "Tokens; input includes cached_read and cache_write, output includes reasoning.",
)
FIRST_TOKEN = Metric(
    "tierflow.time_to_first_token",
    "s",
    _CALL,
    "Time to the first piece of a streamed reply's text.",
    _SECONDS,
)
GAP_MEAN = Metric(
    ITL_MEAN,
    "s",
    _CALL,
    "Mean time between the pieces of a streamed reply; a piece may be several tokens.",
    _SECONDS,
)
GAP_P95 = Metric(
    ITL_P95,
    "s",
    _CALL,
    "95th percentile of the times between the pieces of one streamed reply.",
    _SECONDS,
)
RATE = Metric(
    TOKENS_PER_SECOND,
    "{token}/s",
    (*_CALL, STREAMED),
    "Output tokens by the time of the reply, of a streamed one after its first piece.",
    _RATES,
)
EVALUATION_COUNT = Metric(
    "tierflow.evaluations",
    "{evaluation}",
    _EVALUATED,
    "Evaluations; one label among all is a rate.",
)
EVALUATION_SCORES = Metric(
    "tierflow.evaluation.score", "1", _EVALUATED, "What evaluations scored.", _SCORES
)
FLOW_COST = Metric("tierflow.flow.cost", "{USD}", (FLOW, OUTCOME), "Cost of a flow run.", _USD)
WORKFLOW_DURATION = Metric(
    "gen_ai.invoke_workflow.duration",
    "s",
    (WORKFLOW, ERROR_TYPE),
    "Measures the duration of a workflow execution.",
    _LONG_S,
)

METRICS = (
    STEP_COUNT,
    HIT_COUNT,
    ESCALATION_COUNT,
    FAILOVER_COUNT,
    STEP_DURATION,
    STEP_COST,
    REQUEST_COUNT,
    REQUEST_COST,
    COST,
    UNPRICED_COUNT,
    TOKENS,
    FIRST_TOKEN,
    GAP_MEAN,
    GAP_P95,
    RATE,
    EVALUATION_COUNT,
    EVALUATION_SCORES,
    FLOW_COST,
    WORKFLOW_DURATION,
)
"""All of ours; opentelemetry-util-genai emits those of model calls, named `gen_ai.client.`."""

PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "cohere_chat": "cohere",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex_ai": "gcp.vertex_ai",
    "vertex_ai_beta": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""litellm's provider names where `gen_ai.provider.name` has another well-known value."""

IN_PROCESS = frozenset({"local", "replay"})
"""Providers whose models run in this process: their spans are INTERNAL."""
