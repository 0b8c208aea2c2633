"""An exam: recorded answers of real models to 1,000 MMLU-Pro questions, through a cascade.

Run it with `make exam`, or `python flows/exam.py --limit 200`. The cheap model answers; where
another cheap model disagrees, the strong one is asked. The same questions then go to the strong
model alone, for comparison. Recordings come from TIERFLOW_DATA (default ../shared/data).
"""

import argparse
import gzip
import json
import os
import random
import re
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tierflow import Answer, Cascade, Prompt, agreement, llm_task
from tierflow.tracing.console import show_run

HERE = Path(__file__).parent
ANSWER = re.compile(r"answer is \(?([A-J])\)?", re.IGNORECASE)
SEED = 7


class Question(BaseModel):
    """One multiple-choice question; `answer` is the letter of the right option."""

    id: str
    category: str
    question: str
    options: list[str]
    answer: str


def letter(reply: str) -> str | None:
    """Return the option that a reply settles on, None if it names none."""
    found = ANSWER.findall(reply)
    return found[-1].upper() if found else None


@llm_task(  # tierflow: ignore[TF002, TF006] agreement is what the exam measures; see exam.toml
    tier="fast",
    cascade=Cascade(to="frontier", judge=agreement("specialist.helper", by=letter), max_loss=None),
    task_run_name="solve {question.id}",
)
def solve(question: Question) -> Prompt:
    """Answer a question step by step."""
    options = "\n".join(f"{'ABCDEFGHIJ'[i]}. {text}" for i, text in enumerate(question.options))
    return Prompt(
        prefix=f"These are questions about {question.category}. Think step by step, then finish "
        'with "the answer is (X)".',
        ask=f"{question.question}\n{options}",
        item=question.id,
    )


solve_strong = solve.with_options(
    name="solve_strong", tier="frontier", cascade=None, reason="what the cascade is compared with"
)


def recordings() -> Path | None:
    """Return the folder of recorded answers, None where it is absent."""
    default = HERE.parent.parent / "shared" / "data"
    folder = Path(os.environ.get("TIERFLOW_DATA", default)) / "answers" / "mmlu_pro"
    return folder if folder.is_dir() else None


def questions(folder: Path, count: int) -> list[Question]:
    """Return questions drawn at random, the same ones each time."""
    with gzip.open(folder / "questions.jsonl.gz", "rt", encoding="utf-8") as lines:
        every = [Question(**json.loads(line)) for line in lines]
    return random.Random(SEED).sample(every, min(count, len(every)))  # noqa: S311  # no secret


@flow(name="exam", task_runner=ThreadPoolTaskRunner(max_workers=8))  # type: ignore[arg-type]
def exam(limit: int = 1000) -> dict[str, Any]:
    """Answer the questions by cascade and by the strong model alone; return what was measured."""
    folder = recordings()
    if folder is None:
        return {"skipped": "no recordings: set TIERFLOW_DATA to a folder with answers/mmlu_pro"}
    os.environ.setdefault("TIERFLOW_CONFIG", str(HERE / "exam.toml"))
    os.environ.setdefault("TIERFLOW_REPLAY_DIR", str(folder))
    asked = questions(folder, limit)
    cascade = [future.result() for future in track(solve.answer.map(asked), "cascade")]
    strong = [future.result() for future in track(solve_strong.answer.map(asked), "strong ")]
    cost = {"cascade": list_cost_usd(cascade), "strong": list_cost_usd(strong)}
    right = {"cascade": correct(asked, cascade), "strong": correct(asked, strong)}
    return {
        "flow_run_id": flow_run.get_id(),
        "questions": len(asked),
        **{
            name: {"accuracy": fmean(right[name]), "cost_usd": cost[name]}
            for name in ("cascade", "strong")
        },
        "saving": 1 - cost["cascade"] / cost["strong"],
        "delta": paired_delta(right["cascade"], right["strong"]),
    }


def correct(asked: list[Question], answers: list[Answer[str]]) -> list[bool]:
    """Tell for each question whether its answer is right."""
    return [
        letter(answer.value) == question.answer
        for question, answer in zip(asked, answers, strict=True)
    ]


def list_cost_usd(answers: list[Answer[str]]) -> float:
    """Return what the answers cost at list price; a hit counts with what it saved."""
    return sum((answer.cost_usd or 0) + (answer.saved_usd or 0) for answer in answers)


def paired_delta(ours: list[bool], theirs: list[bool]) -> dict[str, float]:
    """Return the difference in accuracy in points, with its normal 95 % interval over pairs."""
    differences = [100.0 * (a - b) for a, b in zip(ours, theirs, strict=True)]
    margin = 1.96 * pstdev(differences) / len(differences) ** 0.5
    mean = fmean(differences)
    return {"pp": mean, "low_pp": mean - margin, "high_pp": mean + margin}


def show(result: dict[str, Any]) -> None:
    """Print accuracy, cost and saving."""
    console = Console()
    if "skipped" in result:
        console.print(f"Skipped: {result['skipped']}.")
        return
    table = Table(title=f"{result['questions']} questions of MMLU-Pro", title_justify="left")
    table.add_column("who answers")
    table.add_column("accuracy", justify="right")
    table.add_column("list cost $", justify="right")
    for name in ("cascade", "strong"):
        row = result[name]
        table.add_row(name, f"{row['accuracy']:.1%}", f"{row['cost_usd']:.4f}")
    console.print(table)
    delta = result["delta"]
    console.print(
        f"The cascade saves {result['saving']:.1%} of the strong model's cost, helper included; "
        f"accuracy {delta['pp']:+.1f} points, 95 % interval "
        f"{delta['low_pp']:+.1f} to {delta['high_pp']:+.1f}."
    )
    show_run(result["flow_run_id"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=1000, help="number of questions")
    show(exam(parser.parse_args().limit))
