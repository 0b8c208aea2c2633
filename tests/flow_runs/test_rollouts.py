"""The flow that advances rollouts, and the one that approves them, on a real server."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterName,
)
from prefect.client.schemas.objects import FlowRun
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.flows import load_flow_from_entrypoint

import tierflow
from tests.rollouts.filed import FiledRollouts
from tests.rollouts.observed import a_rollout, begun, seen
from tierflow.rollouts.verbs import pause

from .runs import ON_A_SERVER, PATIENCE_S, run_id

pytestmark = ON_A_SERVER

FLOW = Path(tierflow.__file__).parents[1] / "flows" / "advance_rollouts.py"
ROLLOUT = a_rollout()


@pytest.fixture
def store(project: Path) -> Iterator[FiledRollouts]:
    opened = FiledRollouts(project / ".tierflow" / "rollouts.db")
    yield opened
    opened.close()


def loaded(name: str) -> Any:
    return load_flow_from_entrypoint(f"{FLOW}:{name}")


def going(
    store: FiledRollouts, name: str, errors: tuple[float, float], units: int = 12_000
) -> None:
    rollout = a_rollout(name=name)
    # Long ago, so that its least time has passed.
    state = begun(rollout, time.time() - 5000)
    assert store.put(state)
    store.observe(name, seen(state, units, errors=errors))


def reports(flow_run_id: UUID) -> dict[str, str]:
    """The Markdown artifacts of a flow run by their keys."""
    only = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=only)
    return {str(each.key): str(each.data) for each in found if each.type == "markdown"}


def messages(event: str, flow_run_id: UUID) -> list[tuple[str, str]]:
    """Whom an event of a run was about, and its message, once the server has taken it in."""
    only = EventFilter(event=EventNameFilter(name=[event]))

    def taken_in(client: SyncPrefectClient) -> list[tuple[str, str]] | None:
        found = [
            (str(each.resource["prefect.resource.name"]), str(each.payload["message"]))
            for each in client.read_events(filter=only, limit=50).events
            if any(str(flow_run_id) in str(related) for related in each.related)
        ]
        return found or None

    found: list[tuple[str, str]] = waited(taken_in)
    return found


def waited(look: Callable[[SyncPrefectClient], Any]) -> Any:
    until = time.monotonic() + PATIENCE_S
    with get_client(sync_client=True) as client:
        while time.monotonic() < until:
            if (found := look(client)) is not None:
                return found
            time.sleep(0.2)
    pytest.fail("The server did not tell in time.")


def test_what_is_proven_advances_and_what_is_harmed_is_rolled_back(store: FiledRollouts) -> None:
    going(store, "good", (0.02, 0.02))
    going(store, "bad", (0.2, 0.02))
    state = loaded("advance_rollouts")(return_state=True)
    found = state.result()
    assert {name: each["verdict"] for name, each in found.items()} == {
        "good": "advance",
        "bad": "roll back",
    }
    good, bad = store.newest("good"), store.newest("bad")
    assert good is not None
    assert bad is not None
    assert (good.weight, bad.phase) == (0.5, "degraded")
    texts = reports(run_id(state))
    assert texts["tierflow-rollout-bad"].startswith("# bad: taken back")
    assert "error rate is harmed by +0.2" in texts["tierflow-rollout-bad"]
    for text in texts.values():
        assert "data:image/svg+xml;base64," in text
    assert "| 2 |" in texts["tierflow-rollout-good"]
    ((about, message),) = messages("tierflow.rollout-rolled-back", run_id(state))
    assert about == "bad"
    assert message.startswith("error rate is harmed by +0.2")
    assert messages("tierflow.rollout-advanced", run_id(state))[0][0] == "good"


def test_what_waits_or_rests_is_left_alone(store: FiledRollouts) -> None:
    state = begun(ROLLOUT)
    assert store.put(state)
    assert store.put(pause(ROLLOUT, state, "me", 1.0, "lunch"))
    assert loaded("advance_rollouts")(return_state=True).result() == {}
    assert [each.phase for each in store.history(ROLLOUT.name)] == ["progressing", "paused"]


def test_one_that_cannot_be_read_holds_up_no_other(store: FiledRollouts) -> None:
    going(store, "good", (0.02, 0.02))
    store.damage("a broken one")
    state = loaded("advance_rollouts")(return_state=True)
    assert state.is_failed()
    with pytest.raises(Exception, match="Not looked at: a broken one"):
        state.result()
    good = store.newest("good")
    assert good is not None
    assert good.weight == 0.5


class TestApproval:
    """A person decides in a form."""

    def paused(self, store: FiledRollouts, units: int = 300) -> None:
        state = begun(ROLLOUT)
        assert store.put(state)
        store.observe(ROLLOUT.name, seen(state, units))
        assert store.put(pause(ROLLOUT, state, "controller", 1.0, "Undecided after 2 hours"))

    def decided(self, meanwhile: Callable[[], object] = bool, **said: str) -> Any:
        """Run the flow; fill in the form as soon as the server shows one."""
        approve, name = loaded("approve_rollout"), f"approve {uuid4()}"

        def fill_in() -> None:
            waiting = waited(lambda client: form(client, name))
            meanwhile()
            with get_client(sync_client=True) as client:
                client.resume_flow_run(waiting.id, run_input=said)

        thread = threading.Thread(target=fill_in)
        thread.start()
        try:
            return approve.with_options(flow_run_name=name)(
                ROLLOUT.name, timeout_s=int(PATIENCE_S), poll_s=1, return_state=True
            )
        finally:
            thread.join()

    @pytest.mark.parametrize(
        ("decision", "phase", "weight", "event"),
        [
            ("promote", "progressing", 0.5, "tierflow.rollout-promoted"),
            ("resume", "progressing", 0.1, "tierflow.rollout-resumed"),
            ("abort", "degraded", 0.0, "tierflow.rollout-aborted"),
        ],
    )
    def test_what_is_decided_is_done(
        self, store: FiledRollouts, decision: str, phase: str, weight: float, event: str
    ) -> None:
        self.paused(store)
        state = self.decided(decision=decision, why="we looked", by="Ada")
        assert state.result()["phase"] == phase
        after = store.newest(ROLLOUT.name)
        assert after is not None
        assert (after.phase, after.weight, after.by) == (phase, weight, "Ada")
        assert after.reason.endswith("we looked")
        assert messages(event, run_id(state)) == [(ROLLOUT.name, after.reason)]

    def test_what_was_decided_of_another_revision_does_not_hold(self, store: FiledRollouts) -> None:
        self.paused(store)
        waiting = store.newest(ROLLOUT.name)
        assert waiting is not None
        moved = waiting.model_copy(update={"revision": 3, "reason": "moved"})
        state = self.decided(lambda: store.put(moved), decision="promote")
        with pytest.raises(Exception, match="was at revision 2, and is at 3"):
            state.result()

    def test_what_does_not_wait_needs_no_approval(self, store: FiledRollouts) -> None:
        going(store, ROLLOUT.name, (0.02, 0.02), units=10)
        state = loaded("approve_rollout")(ROLLOUT.name, return_state=True)
        with pytest.raises(Exception, match="waits for nobody"):
            state.result()


def form(client: SyncPrefectClient, name: str) -> FlowRun | None:
    """The flow run by that name, once it shows its form."""
    named = FlowRunFilter(name=FlowRunFilterName(any_=[name]))
    for run in client.read_flow_runs(flow_run_filter=named):
        if run.state is not None and run.state.is_paused():
            # The form is written after the state.
            keys = {each.key for each in client.filter_flow_run_input(run.id, "", 10, set())}
            return run if any(key.endswith("-schema") for key in keys) else None
    return None
