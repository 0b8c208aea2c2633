"""Calibrate a cascade's judge on labelled items, or learn a step's route, and publish it.

Run it with `python flows/calibrate.py STEP ITEMS`, or deploy it on a schedule (prefect.yaml). STEP
is path/to/file.py:function; ITEMS is a file of JSON lines: the step's arguments by name, and
"label" and "stratum" where they are known. All tiers, and the judge, are asked about each item that
was not asked before. The gate or the route opens or closes by the result; the report is an
artifact, and so is what it cost.
"""

import argparse
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from slugify import slugify

from tierflow.cli.steps import load_step
from tierflow.tasks.proving import calibrate_judge, learn_step_route, read_items
from tierflow.tasks.proving.report import markdown
from tierflow.tasks.proving.route_report import route_markdown
from tierflow.tracing.batch_progress import progress


@task(task_run_name="calibrate {step}", persist_result=False)
def prove(step: str, items: str, tier: str | None) -> dict[str, Any]:
    """Ask, prove and keep; publish the report. Return the figures."""
    chosen, questions = load_step(step), read_items(Path(items))
    with progress(f"{chosen.name} calibration", len(questions)) as ended:
        found = calibrate_judge(chosen, questions, tier=tier, ended=lambda: ended(True))
    proof = found.proof
    create_markdown_artifact(
        key=f"tierflow-judge-{slugify(proof.calibration.step)}",
        markdown=markdown(proof, found.collected.outcomes),
        description=f"{proof.calibration.step}: {proof.calibration.reason}",
    )
    return {
        "gate": proof.calibration.step,
        "opens": proof.calibration.pooled.opens,
        "reason": proof.calibration.reason,
        "accepted": proof.accepted,
        "saving": proof.saving,
        "without_outcome": len(found.collected.errors),
        "cost_usd": found.collected.cost_usd,
    }


@task(task_run_name="learn the route of {step}", persist_result=False)
def learn(step: str, items: str) -> dict[str, Any]:
    """Ask, learn and keep; publish the report. Return the figures."""
    chosen, questions = load_step(step), read_items(Path(items))
    with progress(f"{chosen.name} route", len(questions)) as ended:
        found = learn_step_route(chosen, questions, ended=lambda: ended(True))
    create_markdown_artifact(
        key=f"tierflow-route-{slugify(found.route.step)}",
        markdown=route_markdown(found),
        description=f"{found.route.step}: {found.refusal or 'the route is open'}",
    )
    return {
        "step": found.route.step,
        "opens": found.chosen is not None,
        "reason": found.refusal,
        "without_outcome": len(found.errors),
        "cost_usd": found.cost_usd,
    }


@flow(name="calibrate")
def calibrate(step: str, items: str, tier: str | None = None) -> dict[str, Any]:
    """Learn the route of a step that has one; else calibrate its judge for a cheaper tier.

    `tier`: whose answers are judged, None for those of the step's own.
    """
    return learn(step, items) if load_step(step).spec.route else prove(step, items, tier)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", help="path/to/file.py:function")
    parser.add_argument("items", help="a file of JSON lines")
    parser.add_argument("--tier", help="the cheaper tier")
    options = parser.parse_args()
    print(calibrate(options.step, options.items, options.tier))
