"""Secrets are planted wherever text comes from, and looked for wherever it could go."""

import logging
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from pydantic import BaseModel

from tests.fakes import Fail, FakeProvider, Say
from tests.tracing.emitted import Emitted
from tierflow import Cascade, Chunk, Prompt, llm_task, model_judge

from .runs import ON_A_SERVER, run_id, task_runs

pytestmark = ON_A_SERVER

KEY = "sk-canary-of-a-key"
IN_PREFIX, IN_ASK, IN_REPLY = "canary-prefix-1a", "canary-ask-2b", "canary-reply-3c"
IN_REASON, IN_EXAMPLE = "canary-reason-4d", "canary-example-5e"
SECRETS = (KEY, IN_PREFIX, IN_ASK, IN_REPLY, IN_REASON, IN_EXAMPLE)
ECHO = f"You said {IN_ASK} after {IN_PREFIX}, with the key {KEY}"


class City(BaseModel):
    city: str


def ignore(_: Chunk) -> None:
    """Stream, and drop what comes."""


RULE = Cascade(to="frontier", judge=model_judge("standard", "Is it right?"), max_loss=None)


@llm_task(tier="fast", returns=City, cascade=RULE)
def located(about: str) -> Prompt:
    return Prompt(
        prefix=f"Guide {IN_PREFIX}",
        examples=[(IN_EXAMPLE, City(city=IN_EXAMPLE))],
        ask=f"Where is {IN_ASK} {about}?",
    )


@pytest.fixture
def locked(project: Path, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> FakeProvider:
    """A provider behind a key: the fast tier's second deployment mends what the first does."""
    monkeypatch.setenv("ENGINE_KEY", KEY)

    def tier(name: str, *models: str) -> str:
        listed = ", ".join(
            f'{{ model = "openai/{each}", api_base = "{provider.base_url}", '
            'api_key_env = "ENGINE_KEY" }'
            for each in models
        )
        return f"[tiers.{name}]\ndeployments = [{listed}]\n"

    (project / "tierflow.toml").write_text(
        tier("fast", "a", "b") + tier("standard", "judge") + tier("frontier", "strong")
    )
    provider.script("judge", Say({"score": 0.1, "reason": IN_REASON}))
    provider.script("strong", Say({"city": IN_REPLY}))
    return provider


def told_to_prefect(flow_run_id: UUID, steps: int) -> str:
    """All that Prefect's server has of a flow run but its events."""
    only = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    runs: list[Any] = list(task_runs(flow_run_id, steps))
    with get_client(sync_client=True) as client:
        runs += client.read_artifacts(artifact_filter=only)
        runs.append(client.read_flow_run(flow_run_id))
    return "\n".join(each.model_dump_json() for each in runs)


def kept_in_the_ledger(project: Path) -> str:
    files = (project / ".tierflow").glob("ledger.db*")
    return "".join(path.read_bytes().decode("latin-1") for path in files)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("ends_well", [True, False])
def test_no_secret_is_told_to_anybody(
    *,
    ends_well: bool,
    streamed: bool,
    project: Path,
    locked: FakeProvider,
    emitted: Emitted,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # The first deployment repeats all it heard; the second answers, needs a repair, is judged.
    locked.script("a", Fail(503, ECHO))
    locked.script("b", [Say(IN_REPLY), Say({"city": IN_REPLY})])
    if not ends_well:
        locked.script("strong", Fail(400, ECHO))
    step = located.with_options(on_chunk=ignore if streamed else None)
    for name in ("tierflow", "prefect"):
        caplog.set_level(logging.DEBUG, logger=name)

    @flow(name="private")
    def private() -> None:
        step("a")
        step("a")

    state = private(return_state=True)

    asked = "\n".join(str(call.body) + str(call.headers) for call in locked.calls)
    assert {secret for secret in SECRETS if secret not in asked} <= {IN_REASON}
    printed = capfd.readouterr()
    places = {
        "telemetry": emitted.written(),
        "logs": caplog.text + printed.out + printed.err,
        "Prefect": told_to_prefect(run_id(state), 1 + ends_well),
        "ledger": kept_in_the_ledger(project),
    }
    assert [place for place, text in places.items() if not text] == []
    leaks = [(place, secret) for place in places for secret in SECRETS if secret in places[place]]
    assert leaks == []
