"""Feedback on what ran in a flow: by the ids that the Prefect UI shows, and in a run's scores."""

from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner
from prefect.client.schemas.objects import State

from tierflow import checked, record_evaluation
from tierflow.cli import cli
from tierflow.tasks import close_hands
from tierflow.tracing.evaluations import scores_of

from .runs import ON_A_SERVER, echo, echo_later, run_flow, run_id, task_runs

pytestmark = [*ON_A_SERVER, pytest.mark.usefixtures("echoing")]


def run(state: State[Any]) -> UUID:
    assert state.is_completed()
    close_hands()
    return run_id(state)


def feedback(ref: str, *words: str) -> str:
    done = CliRunner().invoke(cli, ["feedback", ref, *words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_task_run_that_the_ui_shows_names_its_answer() -> None:
    flow_run = run(run_flow(lambda: [echo("a"), echo("b")]))
    first, second = task_runs(flow_run, 2)

    feedback(str(first.id), "--score", "1")
    feedback(str(second.id), "--score", "0.5")

    assert scores_of(str(flow_run)) == {"echo": (0.75, 2)}


def test_a_flow_run_names_its_answer_where_it_has_one_of_a_step() -> None:
    flow_run = run(run_flow(lambda: echo("a")))
    assert feedback(str(flow_run), "--step", "echo", "--label", "good").startswith("satisfaction")
    feedback("last", "--score", "1", "--name", "correct")
    assert scores_of(str(flow_run)) == {"echo": (1.0, 1)}


def test_a_flow_may_say_something_of_its_own_answers() -> None:
    def body() -> None:
        answer = echo.answer("a")
        record_evaluation(answer, "long", score=len(answer.value) / 10, source="code")

    flow_run = run(run_flow(body))
    assert scores_of(str(flow_run)) == {"echo": (0.5, 1)}


@pytest.mark.parametrize("step", [echo, echo_later], ids=["sync", "async"])
def test_evaluators_of_mapped_steps_are_in_the_runs_scores(step: Any) -> None:
    watched = step.with_options(evaluate=[checked("short", lambda value: len(value) < 6)])
    flow_run = run(run_flow(lambda: watched.map(["a", "long"]).result()))
    assert scores_of(str(flow_run)) == {step.name: (0.5, 2)}
