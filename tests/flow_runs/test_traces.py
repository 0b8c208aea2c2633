"""One trace per flow run, whichever task runner its steps run on, and all that it took."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from tests.conftest import Catalogue
from tests.fakes import FakeProvider
from tests.fakes.collector import FakeCollector, Told

from .runs import ON_A_SERVER

pytestmark = ON_A_SERVER
ROOT = Path(__file__).parents[2]
RUNNERS = ("threads", "asyncio", "processes", "dask")


@pytest.fixture
def collector() -> Iterator[FakeCollector]:
    with FakeCollector() as running:
        yield running


def run_traced(kind: str, config: Path, **environ: str) -> str:
    """Run the flow in a process of its own; return its flow run's id."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.flow_runs.traced", kind],
        cwd=config.parent,
        env={
            **os.environ,
            "PREFECT_API_URL": PREFECT_API_URL.value(),
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "PYTHONPATH": str(ROOT),
            "TIERFLOW_CONFIG": str(config),
            **environ,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def above(span: Told, spans: list[Told]) -> list[str]:
    """The names of a span's ancestors, the nearest first; of a task run, its name's first word."""
    by_id = {each.span_id: each for each in spans}
    found = list[str]()
    while span.parent_id:
        span = by_id[span.parent_id]
        found.append(span.name.partition("-")[0])
    return found


@pytest.mark.parametrize("kind", RUNNERS)
def test_a_flow_run_is_one_trace(
    kind: str, echoing: FakeProvider, catalogue: Catalogue, collector: FakeCollector
) -> None:
    if kind == "dask" and find_spec("prefect_dask") is None:
        pytest.skip("prefect-dask is missing: pip install 'tierflow[test]'")
    config = catalogue()

    flow_run_id = run_traced(kind, config, TIERFLOW_TELEMETRY__OTLP_ENDPOINT=collector.url)

    spans = collector.spans()
    assert len(echoing.calls) == 4
    assert len({span.trace_id for span in spans}) == 1
    step = "asked_later" if kind == "asyncio" else "asked"
    for call in (span for span in spans if span.name == "chat fast"):
        assert above(call, spans) == [f"step {step}", step, "invoke_workflow traced"]
    names = Counter(span.name for span in spans)
    assert names[f"step {step}"] == names["chat fast"] == 4
    (workflow,) = (span for span in spans if span.name == "invoke_workflow traced")
    assert workflow.attributes["prefect.flow_run.id"] == flow_run_id
    assert workflow.attributes["tierflow.steps"] == 4
    assert sum(each.value for each in collector.series("tierflow.step.count")) == 4
    assert sum(each.value for each in collector.series("gen_ai.invoke_workflow.duration")) > 0
    processes = {span.resource["service.instance.id"] for span in spans}
    assert len(processes) > 1 if kind in {"processes", "dask"} else len(processes) == 1
