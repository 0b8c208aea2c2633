"""Advance all rollouts that are going on by what their arms showed, and approve those that wait.

Run it with `python flows/advance_rollouts.py`, or deploy it on a schedule (prefect.yaml). Each
rollout's report is an artifact; that it advanced, paused, finished or was rolled back is an event,
`tierflow.rollout-advanced` and so on, which automations can trigger on. Two runs at once advance
once.

`approve_rollout` shows the report of one rollout and waits for a form in the Prefect UI: promote,
resume or abort, and why. Should the rollout move on meanwhile, what was decided no longer holds.
"""

import argparse
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Literal

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from pydantic import Field
from slugify import slugify

from tierflow.errors import RolloutError, StoreError
from tierflow.rollouts.acting import Change, act
from tierflow.rollouts.advancing import advance, shown
from tierflow.rollouts.controller import Judgement
from tierflow.rollouts.opening import open_rollouts
from tierflow.rollouts.report import as_json, headline, markdown
from tierflow.rollouts.state import RolloutState
from tierflow.rollouts.store import Rollouts
from tierflow.rollouts.verbs import abort, promote, resume
from tierflow.settings import settings
from tierflow.tracing.notices import notice

EVENTS: Mapping[str, str] = {
    "advance": "rollout-advanced",
    "finish": "rollout-finished",
    "pause": "rollout-paused",
    "roll back": "rollout-rolled-back",
}


DECIDED: Mapping[str, str] = {
    "promote": "rollout-promoted",
    "resume": "rollout-resumed",
    "abort": "rollout-aborted",
}
"""Events: of what the controller did, and of what a person said in the form."""


class Decision(RunInput):
    """What to do with a rollout that waits."""

    decision: Literal["promote", "resume", "abort"] = Field(
        description="promote: to the next step, without proof. resume: go on looking, in this one. "
        "abort: the baseline answers again."
    )
    why: str = Field(default="", description="What others should know.")
    by: str = Field(default="the Prefect UI", description="Who decides.")


@task(task_run_name="advance {name}", persist_result=False)
def advance_one(name: str) -> dict[str, Any]:
    """Advance one rollout; publish its report, and an event where it moved."""
    with closing(open_rollouts(settings())) as store:
        found = advance(store, name, time.time())
        report = published(store, found.after, found.judgement)
    if found.after.phase != found.before.phase or found.after.step != found.before.step:
        notice(EVENTS[found.judgement.kind], name, found.after.reason)
    return {**report, "lost_races": found.lost}


def published(store: Rollouts, state: RolloutState, judgement: Judgement) -> dict[str, Any]:
    """Publish a rollout's report as an artifact. Return it as JSON data."""
    history = store.history(state.rollout)
    create_markdown_artifact(
        key=f"tierflow-rollout-{slugify(state.rollout)}",
        markdown=markdown(state, judgement, history),
        description=f"{state.rollout}: {headline(state)}",
    )
    return as_json(state, judgement)


@flow(name="advance-rollouts")
def advance_rollouts() -> dict[str, Any]:
    """Advance every rollout that is progressing. One that cannot be read holds up no other."""
    with closing(open_rollouts(settings())) as store:
        names = [name for name in store.names() if is_due(store, name)]
    ended: dict[str, State[dict[str, Any]]] = {
        name: advance_one(name, return_state=True) for name in names
    }
    if lost := [name for name, state in ended.items() if not state.is_completed()]:
        raise RolloutError(
            f"Not looked at: {', '.join(lost)}. The task runs say why; the weights stay as they "
            "are, and the next run looks again."
        )
    return {name: state.result() for name, state in ended.items()}


def is_due(store: Rollouts, name: str) -> bool:
    """Tell whether a rollout is progressing; one that cannot be read is to be told of, too."""
    try:
        state = store.newest(name)
    except StoreError:
        return True
    return state is not None and state.phase == "progressing"


@flow(name="approve-rollout")
def approve_rollout(rollout: str, timeout_s: int = 86_400, poll_s: int = 10) -> dict[str, Any]:
    """Show the report of a rollout that waits, and do what a person says of it.

    `timeout_s`: how long the form waits, and this run with it. `poll_s`: how often it looks.
    """
    with closing(open_rollouts(settings())) as store:
        state, judgement = shown(store, rollout, time.time())
        if state.phase != "paused":
            raise RolloutError(f"{rollout} is {state.word}, so it waits for nobody.")
        published(store, state, judgement)
    form = Decision.with_initial_data(
        description=markdown(state, judgement), decision="resume", why="", by="the Prefect UI"
    )
    said = pause_flow_run(wait_for_input=form, timeout=timeout_s, poll_interval=poll_s)
    with closing(open_rollouts(settings())) as store:
        act(store, rollout, verb(said), why=said.why, revision=state.revision)
        after, judgement = shown(store, rollout, time.time())
        report = published(store, after, judgement)
    notice(DECIDED[said.decision], rollout, after.reason)
    return report


def verb(said: Decision) -> Change:
    """Return what was decided, as a change of the rollout's state."""
    now = time.time()
    match said.decision:
        case "promote":
            return lambda state: promote(state.plan, state, said.by, now)
        case "resume":
            return lambda state: resume(state.plan, state, said.by, now)
        case "abort":
            return lambda state: abort(state.plan, state, said.by, now, "Aborted by hand")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--approve", metavar="ROLLOUT", help="wait for a decision in the UI")
    options = parser.parse_args()
    print(approve_rollout(options.approve) if options.approve else advance_rollouts())
