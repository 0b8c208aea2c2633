"""What a process exports with: its own, or what tierflow sets up because it was told to.

Each test is a process of its own, which takes one set of providers for its life.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Catalogue
from tests.fakes import FakeProvider, Say
from tests.fakes.collector import FakeCollector

ROOT = Path(__file__).parents[2]
ENDPOINT = "TIERFLOW_TELEMETRY__OTLP_ENDPOINT"

SPANS = """
from opentelemetry import trace
from tierflow.settings import settings
from tierflow.tracing import names, set_up, span
from tierflow.tracing.instruments import record

for _ in range(2):
    set_up(settings().telemetry)
    with span("step asked", {}):
        record(names.STEP_COUNT, 1, {names.STEP: "asked"})
print(type(trace.get_tracer_provider()).__name__)
"""

OWN = """
from opentelemetry import metrics, trace
from opentelemetry.sdk.trace import TracerProvider

class Mine(TracerProvider):
    pass

trace.set_tracer_provider(Mine())
"""

STEP = """
from tierflow import llm_task

@llm_task(tier="fast")
def asked(ask: str) -> str:
    return ask

print(asked.fn("Where is it?"))
"""

WITHOUT_EXPORTER = "import sys; sys.modules['opentelemetry.exporter.otlp.proto.http'] = None\n"


@pytest.fixture
def collector() -> Iterator[FakeCollector]:
    with FakeCollector() as running:
        yield running


def run(code: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**known, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def said(code: str, folder: Path, **environ: str) -> str:
    done = run(code, folder, **environ)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("variable", [ENDPOINT, "OTEL_EXPORTER_OTLP_ENDPOINT"])
def test_a_process_that_is_told_where_exports_all_it_has_when_it_ends(
    variable: str, project: Path, collector: FakeCollector
) -> None:
    said(SPANS, project, **{variable: collector.url})

    # Set up once, though asked for twice.
    assert [span.name for span in collector.spans()] == ["step asked"] * 2
    (count,) = collector.series("tierflow.step.count")
    assert (count.value, count.attributes) == (2, {"tierflow.step": "asked"})


def test_each_process_is_an_instance_of_its_own(project: Path, collector: FakeCollector) -> None:
    for _ in range(2):
        said(SPANS, project, **{ENDPOINT: collector.url})

    resources = [span.resource for span in collector.spans()]
    assert len({each["service.instance.id"] for each in resources}) == 2
    assert {each["service.name"] for each in resources} == {"tierflow"}


def test_the_standard_variables_name_the_service(project: Path, collector: FakeCollector) -> None:
    named = {"OTEL_SERVICE_NAME": "shop", "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=one"}
    said(SPANS, project, **{ENDPOINT: collector.url}, **named)

    resource = collector.spans()[0].resource
    assert (resource["service.name"], resource["service.instance.id"]) == ("shop", "one")


def test_a_signal_that_is_not_wanted_is_not_exported(
    project: Path, collector: FakeCollector
) -> None:
    said(SPANS, project, **{ENDPOINT: collector.url}, OTEL_METRICS_EXPORTER="none")

    assert collector.spans()
    assert not collector.series("tierflow.step.count")


def test_a_signal_goes_where_its_own_variable_says_and_the_others_nowhere(
    project: Path, collector: FakeCollector
) -> None:
    done = run(SPANS, project, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collector.url}/v1/traces")

    assert done.returncode == 0, done.stderr
    assert "Failed to export" not in done.stderr
    assert collector.spans()
    assert not collector.series("tierflow.step.count")


def test_a_users_own_provider_is_never_replaced_nor_added_to(
    project: Path, collector: FakeCollector
) -> None:
    assert said(OWN + SPANS, project, **{ENDPOINT: collector.url}) == "Mine"
    assert not collector.spans()
    assert not collector.series("tierflow.step.count")


@pytest.mark.parametrize(
    "off",
    [
        {"TIERFLOW_TELEMETRY__EXPORT": "false"},
        {"OTEL_SDK_DISABLED": "true"},
    ],
)
def test_it_can_be_told_not_to(
    off: dict[str, str], project: Path, collector: FakeCollector
) -> None:
    told = {ENDPOINT: collector.url, **off}
    assert said(SPANS, project, **told) == "ProxyTracerProvider"
    assert not collector.spans()


def test_a_collector_that_speaks_another_protocol_is_left_alone(
    project: Path, collector: FakeCollector
) -> None:
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert said(SPANS, project, **told) == "ProxyTracerProvider"


def test_nobody_is_told_unless_asked_for(project: Path) -> None:
    assert said(SPANS, project) == "ProxyTracerProvider"


def test_an_endpoint_without_the_exporter_names_the_extra(project: Path) -> None:
    done = run(WITHOUT_EXPORTER + SPANS, project, **{ENDPOINT: "http://127.0.0.1:1"})
    assert done.returncode != 0
    assert 'pip install "tierflow[otlp]"' in done.stderr


def test_a_variable_without_the_exporter_is_no_error_but_a_warning(project: Path) -> None:
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    done = run(WITHOUT_EXPORTER + SPANS, project, **told)
    assert done.returncode == 0, done.stderr
    assert 'pip install "tierflow[otlp]"' in done.stderr


def test_a_step_sets_it_up(
    catalogue: Catalogue, provider: FakeProvider, collector: FakeCollector
) -> None:
    path = catalogue()
    path.write_text(f'{path.read_text()}\n[telemetry]\notlp_endpoint = "{collector.url}/"\n')
    provider.script("fast", Say("here"))

    assert said(STEP, path.parent) == "here"

    assert {span.name for span in collector.spans()} == {"step asked", "chat fast"}
    assert sum(each.value for each in collector.series("gen_ai.client.token.usage")) > 0


def test_a_dead_collector_costs_neither_the_answer_nor_the_process(
    catalogue: Catalogue, provider: FakeProvider
) -> None:
    path = catalogue()
    provider.script("fast", Say("here"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert said(STEP, path.parent, **{ENDPOINT: url}) == "here"
