"""A real Prometheus has the metrics, with labels, and sums that equal the ledger's."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.docs import metrics_shown, queries_shown

from .conftest import Inbox, StartInbox, ledger_of
from .servers import answered, debian_program, eventually, free_port, running

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]

RECEIVER = "web.enable-otlp-receiver"
STEPS = ("escalated", "streamed")
FAILURES = {"tierflow_failover_count_total", "tierflow_cost_unpriced_count_total"}
"""What nothing is counted in here, where all goes well and has a price."""


@dataclass(frozen=True)
class Prometheus:
    """One under way. `fetches`: the port that it looks at, None for one that takes OTLP."""

    url: str
    fetches: int | None

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series of an instant query."""
        found: Any = answered("GET", f"{self.url}/api/v1/query", params={"query": query})
        assert found["status"] == "success"
        return [(each["metric"], float(each["value"][1])) for each in found["data"]["result"]]

    def by(self, label: str, metric: str) -> dict[str, float]:
        """A metric's sums."""
        asked = self.ask(f"sum by ({label}) ({metric})")
        return {labels.get(label, ""): value for labels, value in asked}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    program, folder = debian_program("prometheus"), tmp_path_factory.mktemp("prometheus")
    told = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    takes_otlp = RECEIVER in told.stdout + told.stderr
    port, fetched = free_port(), free_port()
    jobs = [{"job_name": "inbox", "static_configs": [{"targets": [f"127.0.0.1:{fetched}"]}]}]
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [] if takes_otlp else jobs}
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    url = f"http://127.0.0.1:{port}"
    options = [f"--web.listen-address=127.0.0.1:{port}", "--config.file=prometheus.yml"]
    receives = [f"--{RECEIVER}"] if takes_otlp else []
    arguments = ["--storage.tsdb.path=data", *options, *receives]
    with running([program, *arguments], folder, f"{url}/-/ready"):
        yield Prometheus(url, None if takes_otlp else fetched)


@pytest.fixture
def told(prometheus: Prometheus, inbox: StartInbox, tmp_path: Path) -> tuple[Inbox, str]:
    """The flow's process, and the id of its first run, which Prometheus knows."""
    del tmp_path
    settings = "[telemetry]\ntenant_label = true"
    if prometheus.fetches is None:
        started = inbox(
            settings,
            OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"{prometheus.url}/api/v1/otlp/v1/metrics",
            OTEL_METRIC_EXPORT_INTERVAL="1000",
        )
    else:
        started = inbox(settings, str(prometheus.fetches))
    flow_run_id, _ = started.run("Where is it?")
    wait_for(prometheus, 1)
    return started, flow_run_id


def wait_for(prometheus: Prometheus, runs: int) -> None:
    eventually(lambda: prometheus.ask(f"sum(tierflow_flow_cost_count) == {runs}"))


def test_sums_are_the_ledgers_and_every_question_has_an_answer(
    prometheus: Prometheus, told: tuple[Inbox, str]
) -> None:
    started, first = told
    second, _ = started.run("When will it come?")
    wait_for(prometheus, 2)

    rows = [*ledger_of(first), *ledger_of(second)]
    spent = sum(row.cost_usd or 0 for row in rows)
    assert spent > 0
    assert prometheus.by("", "tierflow_cost_total") == {"": pytest.approx(spent)}
    assert prometheus.by("", "tierflow_step_cost_sum") == {"": pytest.approx(spent)}
    assert prometheus.by("", "tierflow_flow_cost_sum") == {"": pytest.approx(spent)}
    of_steps = {step: sum(row.cost_usd or 0 for row in rows if row.step == step) for step in STEPS}
    assert prometheus.by("tierflow_step", "tierflow_cost_total") == pytest.approx(of_steps)
    assert prometheus.by("tierflow_token_kind", "tierflow_tokens_total") == {
        "input": sum(row.input_tokens for row in rows),
        "cached_read": sum(row.cache_read_tokens for row in rows),
        "output": sum(row.output_tokens for row in rows),
        "reasoning": sum(row.reasoning_tokens for row in rows),
    }
    assert prometheus.by("gen_ai_token_type", "gen_ai_client_token_usage_sum") == {
        "input": sum(row.input_tokens for row in rows),
        "output": sum(row.output_tokens for row in rows),
    }
    assert prometheus.by("", "tierflow_step_count_total") == {"": len(rows)}
    asked = sum(row.asks for row in rows)
    assert prometheus.by("", "tierflow_request_count_total") == {"": asked}
    assert prometheus.by("", "gen_ai_client_operation_duration_seconds_count") == {"": asked}

    assert prometheus.by("tierflow_tenant", "tierflow_cost_total").keys() == {"acme", ""}
    assert prometheus.by("tierflow_role", "tierflow_cost_total").keys() == {"answer", "judge"}
    ((labels, _),) = prometheus.ask('tierflow_cost_total{tierflow_model="shop-large"}')
    assert (labels["tierflow_flow"], labels["tierflow_step"]) == ("inbox", "escalated")
    assert (labels["tierflow_tier"], labels["tierflow_role"]) == ("frontier", "answer")
    names = prometheus.by("gen_ai_evaluation_name", "tierflow_evaluations_total")
    assert names == dict.fromkeys(("helpful", "safety", "groundedness", "satisfaction"), 2)

    for name in metrics_shown().keys() - FAILURES:
        assert prometheus.ask(f'{{__name__=~"{name}(_count)?"}}'), name
    for query in queries_shown():
        assert prometheus.ask(query), query
    (cost,) = (query for query in queries_shown() if "tierflow_flow, tierflow_step" in query)
    assert all(value > 0 for _, value in prometheus.ask(cost))
