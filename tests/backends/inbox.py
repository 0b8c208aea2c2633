"""A process of its own that runs a flow for each line it reads, as a user's would.

Prints the flow run's id and the ref of its escalated answer. An argument is the port to tell
Prometheus at.
"""

import sys

from prefect import flow
from prefect.context import FlowRunContext

from tierflow import Cascade, Chunk, Prompt, llm_task, model_judge, record_evaluation


def ignore(_: Chunk) -> None:
    """Stream, and drop what comes."""


@llm_task(
    tier="fast",
    cascade=Cascade(to="frontier", judge=model_judge("standard", "Is it right?"), max_loss=None),
)
def escalated(ask: str) -> Prompt:
    """A step whose first answer is not good enough."""
    return Prompt(ask=ask, tenant="acme")


@llm_task(tier="fast", on_chunk=ignore, cache=None)
def streamed(ask: str) -> Prompt:
    """A step whose reply comes in pieces."""
    return Prompt(ask=ask)


@flow(name="inbox")
def inbox(ask: str) -> str:
    """Ask one step twice and the other once, and say how good an answer is."""
    answer = escalated.answer(ask)
    escalated.answer(ask)
    streamed(ask)
    record_evaluation(answer, "helpful", score=0.75, source="judge", evaluator="standard")
    record_evaluation(answer, "safety", score=1.0, label="pass", source="judge")
    record_evaluation(answer, "groundedness", score=0.0, label="hallucinated", source="judge")
    record_evaluation(answer, "satisfaction", score=0.5)
    context = FlowRunContext.get()
    return f"{context.flow_run.id if context and context.flow_run else ''} {answer.ref}"


def serve(port: int) -> None:
    """Have an SDK of this process's own whose metrics Prometheus fetches."""
    from opentelemetry import metrics
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.sdk.metrics import MeterProvider
    from prometheus_client import start_http_server

    metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()]))
    start_http_server(port, addr="127.0.0.1")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(int(sys.argv[1]))
    for line in sys.stdin:
        print(inbox(line.strip()), flush=True)  # noqa: T201
