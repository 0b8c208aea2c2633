"""Replay recorded requests against several pools, and decide which serves what. Publishes a report.

Run it with `python flows/validate_serving.py POOL AGAINST...`, or deploy it on a schedule
(prefect.yaml). POOL and AGAINST are pools of tierflow.toml that serve the same model, such as one
without and one with a draft model. The requests are those of `[cassette] path`. What is proven to
be faster and to say the same is adopted for its slice, as `tierflow serving policy` shows; the
report is an artifact.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from slugify import slugify

from tierflow.serving.validation.consulting import open_policies
from tierflow.serving.validation.opening import Validation
from tierflow.serving.validation.report import as_json, markdown
from tierflow.serving.validation.slices import DIMENSIONS, Dimension
from tierflow.serving.validation.trials import Extent
from tierflow.serving.validation.validating import Question
from tierflow.settings import settings
from tierflow.tracing.batch_progress import progress


@task(task_run_name="validate {question.pool}", persist_result=False)
def prove(question: Question, against: Sequence[str]) -> dict[str, Any]:
    """Replay, decide and keep; publish the report. Return the figures."""
    current, pool = settings(), question.pool
    validation = Validation(current, question, tuple(against))
    with progress(f"{pool} replays", validation.blocks) as ended:
        found = asyncio.run(validation.run(served=lambda: ended(True)))
    policy = validation.policy(found, now=time.time())
    with closing(open_policies(current)) as store:
        store.add(policy)
    create_markdown_artifact(
        key=f"tierflow-serving-{slugify(pool)}",
        markdown=markdown(policy, found),
        description=f"{pool}: another way of serving for some requests, or for none",
    )
    return as_json(policy, found)


@flow(name="validate-serving")
def validate_serving(
    pool: str,
    against: list[str],
    concurrencies: Sequence[int] = (1, 4, 8),
    pairs: int = 12,
    *,
    slices: Sequence[Dimension] = DIMENSIONS,
    limit: int = 200,
    lossy: Sequence[str] = (),
    accept_lossy: bool = False,
) -> dict[str, Any]:
    """Decide for which requests another pool serves those of `pool`.

    `concurrencies`: how many requests are under way at once. `pairs`: of blocks, of each trial.
    `slices`: what is decided apart. `limit`: requests of a slice that are replayed, at most.
    `lossy`: of `against`, those that relax what they accept; adopted with `accept_lossy` alone.
    """
    extent = Extent(tuple(sorted(concurrencies)), pairs)
    question = Question(
        pool, frozenset(slices), extent, frozenset(lossy), accept_lossy, limit=limit
    )
    return prove(question, against)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", help="the plain pool, of tierflow.toml")
    parser.add_argument("against", nargs="+", help="pools that serve the same model another way")
    given = parser.parse_args()
    print(json.dumps(validate_serving(given.pool, given.against), indent=2))
