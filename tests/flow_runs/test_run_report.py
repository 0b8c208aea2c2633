"""The report at a flow run's end: its artifact and its events on a real server, and no text."""

import asyncio
import base64
import json
import logging
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.events import Event, emit_event
from prefect.events.filters import EventFilter, EventNameFilter, EventRelatedFilter

from tests.conftest import Catalogue
from tests.fakes import Fail, FakeProvider, Say
from tierflow.tracing import prefect_ui
from tierflow.tracing.notices import notice

from .runs import (
    ON_A_SERVER,
    PATIENCE_S,
    artifacts,
    cost_tables,
    echo,
    judged,
    run_flow,
    run_id,
    usd,
)

pytestmark = ON_A_SERVER

SECRET = "the customer's secret"


def report(state: State[Any]) -> str:
    """The text of a flow run's report."""
    (found,) = artifacts(run_id(state), "markdown")
    assert found.key == "tierflow-held-to-contract-report"
    return str(found.data)


def events(flow_run_id: UUID, names: Sequence[str], count: int) -> list[Event]:
    """The events of a flow run, once the server has taken in so many."""
    wanted = EventFilter(
        event=EventNameFilter(name=list(names)),
        related=EventRelatedFilter(id=[f"prefect.flow-run.{flow_run_id}"]),
    )

    async def read() -> list[Event]:
        async with asyncio.timeout(PATIENCE_S), get_client() as client:
            while True:
                asked = {"filter": wanted.model_dump(mode="json")}
                answered = await client._client.post("/events/filter", json=asked)  # pyright: ignore[reportPrivateUsage]
                found = [Event.model_validate(each) for each in answered.json()["events"]]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.2)

    return asyncio.run(read())


@pytest.fixture
def eventful(provider: FakeProvider, catalogue: Catalogue) -> State[Any]:
    """A run whose cheap deployment is down, and whose cheap replies are never JSON."""
    catalogue(fast=["down", "fast"])
    provider.script("down", Fail(503, SECRET))
    provider.script("fast", Say(SECRET, input_tokens=100, output_tokens=10))
    provider.script("frontier", Say({"good": True}, input_tokens=100, output_tokens=10))
    return run_flow(lambda: judged.map([f"{SECRET} {n}" for n in range(5)]).result())


class TestArtifact:
    """The Markdown artifact beside the cost table."""

    def test_it_says_what_the_run_cost_and_met_with(self, eventful: State[Any]) -> None:
        said = report(eventful)
        ((headline, (_, total)),) = cost_tables(run_id(eventful))
        assert said.startswith("# Held to contract\n")
        assert headline in said.replace("\\", "")
        # How many ask a deployment that is down depends on who is first to find out.
        assert re.search(r"5 escalated, [1-5] failed over\.", said)
        assert total["cost_usd"] == pytest.approx(15 * usd(100, 10), abs=1e-6)
        assert "| judged | frontier | 5 | reply: UnparseableReplyError |" in said
        assert re.search(r"\| judged \| openai/down@\S+ \| ProviderDownError \| \d+ \| ", said)

    def test_it_shows_two_pictures(self, eventful: State[Any]) -> None:
        pictures = re.findall(
            r"!\[[^\]]+\]\(data:image/svg\+xml;base64,([^)]+)\)", report(eventful)
        )
        shown = [ET.fromstring(base64.b64decode(each)) for each in pictures]
        assert [each.tag for each in shown] == ["{http://www.w3.org/2000/svg}svg"] * 2
        told = {each.text for picture in shown for each in picture.iter()}
        assert {"answer: frontier", "repair", "failed", "cost"} <= told

    def test_no_text_of_prompts_replies_or_errors_is_in_it(self, eventful: State[Any]) -> None:
        said = report(eventful)
        pictures = re.findall(r"base64,([^)]+)\)", said)
        for text in (said, *(base64.b64decode(each).decode() for each in pictures)):
            assert "secret" not in text
            assert "customer" not in text

    def test_a_flow_without_steps_has_none(self, echoing: FakeProvider) -> None:
        assert artifacts(run_id(run_flow(lambda: 1)), "markdown") == []

    def test_a_failed_flow_has_it_too(self, provider: FakeProvider, catalogue: Catalogue) -> None:
        catalogue()
        provider.script("fast", Fail(503))
        state = run_flow(lambda: echo("a"))
        assert state.is_failed()
        said = "\n".join(str(each.data) for each in artifacts(run_id(state), "markdown"))
        assert "| echo | AllDeploymentsFailedError | 1 |" in said


class TestWhatCannotBeReported:
    """A flow run never fails for its report."""

    def test_a_store_that_cannot_be_used_is_a_log_line(
        self,
        echoing: FakeProvider,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def spoil_and_answer() -> str:
            said = echo("a")
            monkeypatch.setenv("TIERFLOW_HOME", "tierflow.toml")
            return said

        state = run_flow(spoil_and_answer)
        assert state.result() == "re: a"
        assert artifacts(run_id(state), "markdown") == []
        assert "The flow run has no report." in caplog.text

    def test_a_server_that_does_not_take_it_is_a_log_line(
        self,
        echoing: FakeProvider,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        class Unwilling:
            def __enter__(self) -> Any:
                raise httpx.ConnectError("refused")

            def __exit__(self, *_: object) -> None:
                pass

        def get_client(*, sync_client: bool) -> Unwilling:
            return Unwilling()

        monkeypatch.setattr(prefect_ui, "get_client", get_client)
        with caplog.at_level(logging.WARNING, "tierflow"):
            state = run_flow(lambda: echo("a"))
        assert state.result() == "re: a"
        assert "cannot be published: refused" in caplog.text


class TestEvents:
    """What automations can go by: one event a kind, step and flow run."""

    NAMES = ("tierflow.escalated", "tierflow.failed-over")

    def test_many_escalations_and_failovers_are_one_event_each(self, eventful: State[Any]) -> None:
        found = {each.event: each for each in events(run_id(eventful), self.NAMES, 2)}
        assert found.keys() == set(self.NAMES)
        for each in found.values():
            assert each.resource.id == "tierflow.judged"
            assert each.resource.name == "judged"
            assert 1 <= each.payload["count"] <= each.payload["answers"] == 5
            assert "secret" not in json.dumps(each.payload)
        escalated = found["tierflow.escalated"]
        assert escalated.payload["message"] == "5 of 5 answers escalated"
        assert escalated.payload["reasons"] == [{"why": "reply: UnparseableReplyError", "count": 5}]
        roles = {each.role for each in escalated.related}
        assert {"flow-run", "flow"} <= roles

    def test_what_several_processes_tell_of_a_run_is_one_event(self, project: Path) -> None:
        def tell_twice() -> None:
            for reason in ("it is not calibrated", "it is too old"):
                notice("judge-closed", "echo@fast", reason)
            notice("judge-closed", "judged@fast", "it is not calibrated")

        told = self.until_now(run_id(run_flow(tell_twice)), "tierflow.judge-closed")
        assert [each.resource.name for each in told] == ["judged@fast", "echo@fast"]
        assert told[1].payload == {"message": "it is not calibrated"}

    def test_an_uneventful_run_has_none(self, echoing: FakeProvider) -> None:
        quiet = run_id(run_flow(lambda: echo("a")))
        assert self.until_now(quiet, *self.NAMES) == []

    def until_now(self, flow_run_id: UUID, *names: str) -> list[Event]:
        """Events of a run so far, the newest first. They arrive in order: so one more says when."""
        of_the_run: Any = {
            "prefect.resource.id": f"prefect.flow-run.{flow_run_id}",
            "prefect.resource.role": "flow-run",
        }
        emit_event("test.last", resource={"prefect.resource.id": "test"}, related=[of_the_run])
        events(flow_run_id, ["test.last"], 1)
        return events(flow_run_id, names, 0)
