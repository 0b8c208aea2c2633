"""The deployments of prefect.yaml on a real server with a real process worker."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types
from prefect.cli.deploy._models import DeploymentConfig, PrefectYamlModel, WorkPoolConfig
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import Artifact, FlowRun, TaskRun
from prefect.flows import Flow, load_flow_from_entrypoint
from pydantic import BaseModel

import tierflow
from tests.screens import HAS_BROWSER, Shown, needs_browser, open_browser, shown_images
from tests.servers import free_port, is_up, prefect, running, wait_for
from tierflow.tracing.pictures import DARK, GROUND
from tierflow.tracing.run_report.contents import COLUMN_PX

T = TypeVar("T")
ROOT = Path(tierflow.__file__).parents[1]
DEPLOYED: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
POOL = "tierflow"
TICKETS = 6


@pytest.mark.parametrize("deployment", DEPLOYED["deployments"], ids=lambda each: each["name"])
def test_a_deployment_has_only_keys_that_prefect_knows(deployment: dict[str, Any]) -> None:
    assert not unknown(deployment, DeploymentConfig)
    assert not unknown(deployment["work_pool"], WorkPoolConfig)
    assert deployment["work_pool"]["name"] == POOL


def test_the_deployment_file_has_only_keys_that_prefect_knows() -> None:
    assert not unknown(DEPLOYED, PrefectYamlModel)
    assert isinstance(DEPLOYED["prefect-version"], str)
    assert PrefectYamlModel.model_validate(DEPLOYED).deployments


def unknown(given: dict[str, Any], model: type[BaseModel]) -> set[str]:
    known = {field.alias or name for name, field in model.model_fields.items()}
    return set(given) - known


@pytest.mark.parametrize("deployment", DEPLOYED["deployments"], ids=lambda each: each["name"])
def test_an_entrypoint_loads_and_takes_its_parameters(
    deployment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    loaded: Flow[..., Any] = load_flow_from_entrypoint(
        deployment["entrypoint"], use_placeholder_flow=False
    )
    loaded.validate_parameters(deployment.get("parameters", {}))
    assert loaded.name == deployment["name"]


def test_the_exam_is_deployed_with_its_own_catalogue() -> None:
    (exam,) = (each for each in DEPLOYED["deployments"] if each["name"] == "exam")
    catalogue = exam["work_pool"]["job_variables"]["env"]["TIERFLOW_CONFIG"]
    assert (ROOT / catalogue).is_file()


class Site:
    """A server, its process pool with the deployments, and a worker."""

    def __init__(self, client: SyncPrefectClient, url: str) -> None:
        self.client, self.url = client, url

    def run(self, deployment: str, **parameters: Any) -> FlowRun:
        """Have the worker run a deployment to its end."""
        found = self.client.read_deployment_by_name(deployment)
        started = self.client.create_flow_run_from_deployment(found.id, parameters=parameters)

        def ended() -> FlowRun | None:
            current = self.client.read_flow_run(started.id)
            return current if current.state and current.state.is_final() else None

        return wait_for(ended, f"the flow run of {deployment}")

    def task_runs(self, flow_run: FlowRun, count: int) -> list[TaskRun]:
        """The task runs of a flow run, once the server has taken in what the worker told it."""
        only = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id]))

        def told() -> list[TaskRun] | None:
            runs = self.client.read_task_runs(flow_run_filter=only, limit=200)
            ended = [run for run in runs if run.state and run.state.is_final()]
            return runs if len(ended) >= count else None

        return wait_for(told, f"{count} task runs")

    def artifacts(self, flow_run: FlowRun) -> dict[str | None, Artifact]:
        """What a flow run has published, by its type."""
        only = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run.id]))

        def published() -> dict[str | None, Artifact] | None:
            # The hook that publishes runs when the flow run has its state.
            found = {each.type: each for each in self.client.read_artifacts(artifact_filter=only)}
            return found if len(found) == 2 else None

        return wait_for(published, "the artifacts of a flow run")

    def cost_table(self, flow_run: FlowRun) -> tuple[str, list[dict[str, Any]]]:
        """The headline and the rows of a flow run's cost table."""
        artifact = self.artifacts(flow_run)["table"]
        assert artifact.key == "tierflow-triage"
        return str(artifact.description), json.loads(str(artifact.data))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, minilm_home: Path) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("site")
    (home / "tierflow").mkdir(mode=0o700)
    (home / "tierflow" / "encoder").symlink_to(minilm_home / "encoder")
    url = f"http://127.0.0.1:{free_port()}"
    keep = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "TIERFLOW_")) and not name.endswith("_API_KEY")
    }
    environ = keep | {
        "DO_NOT_TRACK": "1",
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PWD": str(ROOT),
        "TIERFLOW_HOME": str(home / "tierflow"),
    }
    port = url.rpartition(":")[2]
    ui = [] if HAS_BROWSER else ["--no-ui"]
    with running(["server", "start", "--port", port, *ui], environ, home / "server.log"):
        wait_for(lambda: is_up(f"{url}/api/health") or None, "the server")
        prefect(["work-pool", "create", POOL, "--type", "process"], environ)
        prefect(["deploy", "--all", "--prefect-file", "prefect.yaml", "--no-prompt"], environ)
        prefect(["automation", "create", "--from-file", "docs/automations.yaml"], environ)
        worker = ["worker", "start", "--pool", POOL, "--type", "process"]
        with (
            running(worker, environ, home / "worker.log"),
            SyncPrefectClient(f"{url}/api") as client,
        ):
            yield Site(client, url)


def prefixed(run: TaskRun, prefix: str) -> str:
    """The rest of the one tag that starts so."""
    (found,) = (tag.removeprefix(prefix) for tag in run.tags if tag.startswith(prefix))
    return found


def summed(rows: list[dict[str, Any]], column: str) -> Any:
    return sum(row[column] or 0 for row in rows)


@pytest.fixture(scope="module")
def first_run(site: Site) -> FlowRun:
    return site.run("triage/triage", limit=TICKETS)


STEPS = Counter(intent=TICKETS, urgency=TICKETS, draft=TICKETS, digest=1)
CALLS = STEPS.total()


def test_a_worker_completes_the_deployed_flow(first_run: FlowRun) -> None:
    assert first_run.state is not None
    assert first_run.state.is_completed(), first_run.state.message


def test_each_step_call_is_one_task_run_that_tells_how_it_was_answered(
    site: Site, first_run: FlowRun
) -> None:
    runs = site.task_runs(first_run, CALLS)
    assert Counter(run.name.partition(" · ")[0] for run in runs) == STEPS
    for run in runs:
        tier, model = prefixed(run, "tier: "), prefixed(run, "model: ")
        assert run.name.split(" · ")[1:] == [tier, model, "$0.00"]
        assert prefixed(run, "cache: ") == "miss"
        escalated = "escalated" in run.tags
        assert run.state_name == f"{'Escalated to' if escalated else 'Answered by'} {tier}"
    models = {(prefixed(run, "tier: "), prefixed(run, "model: ")) for run in runs}
    assert models == {
        ("fast", "zero-shot"),
        ("standard", "extractive"),
        ("frontier", "few-shot"),
    }


def test_the_cost_table_adds_up_and_agrees_with_the_task_runs(
    site: Site, first_run: FlowRun
) -> None:
    headline, (*rows, total) = site.cost_table(first_run)
    assert {row["step"]: row["calls"] for row in rows} == {
        "triage": TICKETS,
        "urgency": TICKETS,
        "draft": TICKETS,
        "digest": 1,
    }
    assert total["step"] == "total"
    columns = ["calls", "exact_hits", "escalations", "failed_attempts", "failed_steps"]
    columns += ["input_tokens", "output_tokens", "cost_usd", "saved_usd", "unpriced"]
    assert {name: total[name] for name in columns} == {name: summed(rows, name) for name in columns}
    assert (total["exact_hits"], total["failed_steps"], total["unpriced"]) == (0, 0, 0)
    assert total["cost_usd"] == 0
    assert all(row["input_tokens"] > 0 and row["output_tokens"] > 0 for row in rows)
    runs = site.task_runs(first_run, CALLS)
    assert total["escalations"] == sum("escalated" in run.tags for run in runs)
    assert headline.startswith(f"{CALLS} calls, 0 from the cache, cost $0.00")


def test_the_example_automation_pauses_the_deployment_that_escalated(
    site: Site, first_run: FlowRun
) -> None:
    paused = wait_for(lambda: paused_deployments(site) or None, "the automation to fire")
    assert paused == {first_run.deployment_id}
    _, rows = site.cost_table(first_run)
    (urgency,) = (row for row in rows if row["step"] == "urgency")
    assert urgency["escalations"] > 0


def paused_deployments(site: Site) -> set[UUID]:
    return {each.id for each in site.client.read_deployments() if each.paused}


@needs_browser
@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("ui", ["", "/v2"], ids=["V1", "V2"])
def test_the_run_report_can_be_read_in_the_prefect_ui(
    site: Site, first_run: FlowRun, ui: str, mode: Any
) -> None:
    report = site.artifacts(first_run)["markdown"]
    with open_browser(mode) as browser:
        browser.set_window_size(1400, 2000)
        browser.get(f"{site.url}{ui}/artifacts/artifact/{report.id}")

        def pictures() -> list[Shown] | None:
            found = shown_images(browser, "img[src^='data:image/svg+xml']")
            return found if len(found) == 2 else None

        shown = wait_for(pictures, "the pictures of the report")
        said = browser.find_element("css selector", "body").text
    for each in shown:
        assert each.own_width == COLUMN_PX
        # V2's column is some px narrower: the picture shrinks, and its texts with it.
        assert COLUMN_PX * 0.95 <= each.width <= COLUMN_PX + 2
    grounds = {"light": GROUND, "dark": DARK[GROUND]}
    # V1 has a mode of its own until its user chooses one; V2 goes by the browser's.
    expected = {grounds[mode]} if ui else set(grounds.values())
    assert {each.ground for each in shown} <= expected
    assert str(report.description) in said
    for words in ("When the steps ran", "Escalations", "triage", "digest"):
        assert words in said


def test_the_same_flow_again_is_answered_from_the_cache_alone(
    site: Site, first_run: FlowRun
) -> None:
    again = site.run("triage/triage", limit=TICKETS)
    assert again.state is not None
    assert again.state.is_completed(), again.state.message
    assert again.id != first_run.id
    runs = site.task_runs(again, CALLS)
    assert {run.state_name for run in runs} == {"Cached (exact)"}
    assert {run.name.rpartition(" · ")[2] for run in runs} == {"cached"}
    assert {prefixed(run, "cache: ") for run in runs} == {"exact"}
    _, (*rows, total) = site.cost_table(again)
    assert total["exact_hits"] == total["calls"] == CALLS
    assert [row["input_tokens"] + row["output_tokens"] for row in rows] == [0, 0, 0, 0]
    assert total["cost_usd"] == 0


RECORDINGS = ROOT.parent / "shared" / "data" / "answers" / "mmlu_pro"


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recorded answers on this machine")
def test_the_worker_runs_the_exam_on_its_own_catalogue(site: Site) -> None:
    ended = site.run("exam/exam", limit=4)
    assert ended.state is not None
    assert ended.state.is_completed(), ended.state.message
    models = {prefixed(run, "model: ") for run in site.task_runs(ended, 8)}
    assert "gemini-1.5-pro-002" in models
    assert models <= {"gemini-1.5-flash-002", "gemini-1.5-pro-002"}
