"""A rollout on a server with two workers: a candidate that degrades is rolled back by itself."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import FlowRun

from tests.fakes import Fail, FakeProvider, Say
from tests.servers import command, free_port, is_up, prefect, running, wait_for
from tierflow.rollouts import arm_of
from tierflow.rollouts.sql_store import SqlRollouts

NAME = "triage-v2"
TENANTS = 30
"""In each flow run; each tenant is a unit."""

FLOWS = """
from prefect import flow
from tierflow import Prompt, llm_task

@llm_task(tier="fast", cache=None)
def sort(ticket: str, tenant: str) -> Prompt:
    return Prompt(ask=ticket, tenant=tenant)

@flow(name="inbox")
def inbox(first: int, count: int):
    tenants = [f"tenant-{number}" for number in range(first, first + count)]
    sort.map([f"ticket of {each}" for each in tenants], tenants, return_state=True)
"""
CONFIG = """
[tiers.fast]
deployments = [{{ model = "openai/steady", api_base = "{url}" }}]
max_wait_s = 0

[tiers.standard]
deployments = [{{ model = "openai/candidate", api_base = "{url}" }}]
max_wait_s = 0

[rollouts.triage-v2]
steps = [5, 25, 100]
assign_by = "tenant"
min_units = 20
min_step_s = 0
candidate.sort = {{ tier = "standard" }}
"""
DEPLOYED = """
name: site
pull:
  - prefect.deployments.steps.set_working_directory:
      directory: "{folder}"
deployments:
  - name: inbox
    entrypoint: inbox.py:inbox
    work_pool: {{ name: site }}
  - name: advance
    entrypoint: advance_rollouts.py:advance_rollouts
    work_pool: {{ name: site }}
"""
ROOT = Path(__file__).parents[1]


class Site:
    """A server with two workers, the flows, and the store that they share."""

    def __init__(self, client: SyncPrefectClient, folder: Path, environ: dict[str, str]) -> None:
        self.client, self.folder, self.environ = client, folder, environ
        self.store = SqlRollouts(folder / "home" / "rollouts.db")

    def run(self, deployment: str, *given: dict[str, Any]) -> list[FlowRun]:
        """Have the workers run a deployment so often, side by side, to the end of all."""
        found = self.client.read_deployment_by_name(deployment)
        started = [
            self.client.create_flow_run_from_deployment(found.id, parameters=each).id
            for each in given
        ]

        def ended() -> list[FlowRun] | None:
            runs = [self.client.read_flow_run(each) for each in started]
            return runs if all(run.state and run.state.is_final() for run in runs) else None

        return wait_for(ended, f"the flow runs of {deployment}")

    def inbox(self, first: int) -> None:
        """Have two flow runs ask for tenants of their own."""
        half = TENANTS // 2
        self.run("inbox/inbox", *({"first": first + at, "count": half} for at in (0, half)))

    def report(self) -> str:
        key = ArtifactFilter(key=ArtifactFilterKey(any_=[f"tierflow-rollout-{NAME}"]))
        newest = self.client.read_artifacts(artifact_filter=key)
        return str(max(newest, key=lambda each: str(each.created)).data)


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider(default=Say("sorted")) as fake:
        yield fake


@pytest.fixture
def site(tmp_path: Path, provider: FakeProvider) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "inbox.py").write_text(FLOWS)
    (folder / "tierflow.toml").write_text(CONFIG.format(url=provider.base_url))
    (folder / "prefect.yaml").write_text(DEPLOYED.format(folder=folder))
    advance = (ROOT / "flows" / "advance_rollouts.py").read_text(encoding="utf-8")
    (folder / "advance_rollouts.py").write_text(advance)
    url = f"http://127.0.0.1:{free_port()}"
    keep = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "TIERFLOW_")) and not name.endswith("_API_KEY")
    }
    environ = keep | {
        "DO_NOT_TRACK": "1",
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "TIERFLOW_HOME": str(folder / "home"),
        "TIERFLOW_CONFIG": str(folder / "tierflow.toml"),
    }
    port = url.rpartition(":")[2]
    with ExitStack() as stack:
        server = ["server", "start", "--port", port, "--no-ui"]
        stack.enter_context(running(server, environ, tmp_path / "server.log"))
        wait_for(lambda: is_up(f"{url}/api/health") or None, "the server")
        prefect(["work-pool", "create", "site", "--type", "process"], environ)
        deploy = ["deploy", "--all", "--prefect-file", str(folder / "prefect.yaml"), "--no-prompt"]
        prefect(deploy, environ, folder)
        for name in ("one", "two"):
            worker = ["worker", "start", "--pool", "site", "--type", "process", "--name", name]
            stack.enter_context(running([*worker, "--limit", "1"], environ, tmp_path / name))
        client = stack.enter_context(SyncPrefectClient(f"{url}/api"))
        found = Site(client, folder, environ)
        stack.callback(found.store.close)
        yield found


def test_a_candidate_that_degrades_is_rolled_back_and_no_baseline_unit_ever_got_it(
    site: Site, provider: FakeProvider
) -> None:
    tierflow_cli(site, "rollout", "start", NAME)
    site.inbox(0)
    tierflow_cli(site, "rollout", "promote", NAME)
    state = site.store.newest(NAME)
    assert state is not None
    assert (state.phase, state.weight) == ("progressing", 0.25)

    provider.script("candidate", Fail(503))
    for first in range(TENANTS, 6 * TENANTS, TENANTS):
        site.inbox(first)
        site.run("advance-rollouts/advance", {})
        state = site.store.newest(NAME)
        assert state is not None
        if state.phase != "progressing":
            break

    assert (state.phase, state.weight, state.by) == ("degraded", 0.0, "controller")
    assert state.reason.startswith("error rate is harmed by +")
    assert state.reason in site.report()
    asked = {ask_of(call.body) for call in provider.calls_to("candidate")}
    assert asked
    assert {arm_of(NAME, unit, 0.25) for unit in asked} == {"candidate"}

    before = len(provider.calls_to("candidate"))
    site.inbox(6 * TENANTS)
    assert len(provider.calls_to("candidate")) == before


def ask_of(body: dict[str, Any]) -> str:
    """The tenant whose ticket was asked about."""
    return str(body["messages"][-1]["content"]).removeprefix("ticket of ")


def tierflow_cli(site: Site, *words: str) -> None:
    command(["-m", "tierflow.cli", *words], site.environ, site.folder)
