"""The main job: sort a support inbox, judge its urgency, draft replies, and write a digest.

Run it with `make demo`, or `python flows/triage.py --limit 40`. With an API key of Anthropic,
OpenAI or Gemini in the environment the tiers of tierflow.toml are real providers; without one the
embedded models answer. The tickets and their gold labels are in flows/inbox/.
"""

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import BaseModel, Field
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tierflow import Cascade, Prompt, confidence, llm_task
from tierflow.tracing.console import show_run

INBOX = Path(__file__).parent / "inbox"
GUIDE = (INBOX / "labels.md").read_text(encoding="utf-8")


def read(name: str) -> list[dict[str, Any]]:
    """Return the rows of a file of the inbox."""
    lines = (INBOX / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


EXAMPLES = read("examples.jsonl")
TEMPLATES = {row["id"]: row for row in read("templates.jsonl")}


class Intent(BaseModel):
    """What a ticket wants."""

    intent: Literal[
        "refund", "delivery", "billing", "account", "cancel", "keep", "technical", "other"
    ]


class Urgency(BaseModel):
    """How soon someone must act."""

    urgency: Literal["low", "normal", "high"]


class Draft(BaseModel):
    """The reply template that fits best."""

    template: Literal[
        "refund-started", "refund-faulty", "refund-pending",
        "delivery-tracking", "delivery-damaged", "delivery-address",
        "billing-charge", "billing-details",
        "account-login", "account-data",
        "cancel-order", "cancel-subscription",
        "keep-order", "keep-subscription",
        "technical-app", "technical-machine",
        "other-thanks", "other-forward",
    ]  # fmt: skip


class Digest(BaseModel):
    """What the morning shift should read first."""

    highlights: list[str] = Field(max_length=5)


@llm_task(  # tierflow: ignore[TF002] a demo: nobody has labelled tickets to prove it with
    tier="fast",
    returns=Intent,
    cascade=Cascade(to="frontier", judge=confidence(), threshold=0.6, max_loss=None),
    task_run_name="intent",
)
def triage(ticket: str) -> Prompt:
    """Find what the ticket wants."""
    examples = [(row["text"], {"intent": row["intent"]}) for row in EXAMPLES]
    return Prompt(
        prefix=f"Give the intent of the ticket.\n\n{GUIDE}", examples=examples, ask=ticket
    )


@llm_task(  # tierflow: ignore[TF002] a demo: nobody has labelled tickets to prove it with
    tier="fast",
    returns=Urgency,
    cascade=Cascade(to="frontier", judge=confidence(), threshold=0.6, max_loss=None),
    task_run_name="urgency",
)
def urgency(ticket: str) -> Prompt:
    """Find how urgent the ticket is."""
    examples = [(row["text"], {"urgency": row["urgency"]}) for row in EXAMPLES]
    return Prompt(
        prefix=f"Give the urgency of the ticket.\n\n{GUIDE}", examples=examples, ask=ticket
    )


@llm_task(
    tier="frontier",
    returns=Draft,
    reason="the reply goes to the customer as it is",
    task_run_name="draft",
)
def draft(ticket: str) -> Prompt:
    """Choose the reply template that fits."""
    library = "\n".join(f"- {row['id']}: {row['when']}" for row in TEMPLATES.values())
    examples = [(row["text"], {"template": row["template"]}) for row in EXAMPLES]
    return Prompt(prefix=f"Choose the reply template.\n\n{library}", examples=examples, ask=ticket)


@llm_task(tier="standard", returns=Digest, task_run_name="digest")
def digest(tickets: Sequence[str]) -> Prompt:
    """Pick what the morning shift should read first."""
    return Prompt(
        prefix="Pick the tickets that the morning shift must read first, at most five.",
        ask="\n".join(tickets),
    )


@flow(name="triage", task_runner=ThreadPoolTaskRunner(max_workers=8))  # type: ignore[arg-type]
def inbox(limit: int | None = None) -> dict[str, Any]:
    """Work through the inbox. Return the measured accuracies and the flow run's id."""
    tickets = read("tickets.jsonl")[:limit]
    texts = [ticket["text"] for ticket in tickets]
    steps = {
        "intent": triage.map(texts),
        "urgency": urgency.map(texts),
        "template": draft.map(texts),
    }
    found: dict[str, list[str]] = {}
    for field, futures in steps.items():
        waiting = track(list(futures), description=f"{field:>8}")
        found[field] = [getattr(future.result(), field) for future in waiting]
    replies = [
        TEMPLATES[template]["text"].format(name=ticket["name"])
        for ticket, template in zip(tickets, found["template"], strict=True)
    ]
    urgent = [text for text, level in zip(texts, found["urgency"], strict=True) if level == "high"]
    highlights = digest(urgent or texts[:1]).highlights
    get_run_logger().info("Drafted %d replies, %d urgent tickets", len(replies), len(urgent))
    return {
        "flow_run_id": flow_run.get_id(),
        "tickets": len(tickets),
        "accuracy": {
            field: score([ticket[field] for ticket in tickets], answers)
            for field, answers in found.items()
        },
        "example_reply": replies[0],
        "highlights": highlights,
    }


def score(gold: Sequence[str], answers: Sequence[str]) -> dict[str, float]:
    """Return the share of right answers, and that of always giving the commonest label."""
    right = sum(a == b for a, b in zip(gold, answers, strict=True))
    commonest = Counter(gold).most_common(1)[0][1]
    return {"answers": right / len(gold), "commonest": commonest / len(gold)}


def show(result: dict[str, Any]) -> None:
    """Print what the run found and what it took."""
    console = Console()
    table = Table(title="Accuracy against the gold labels", title_justify="left")
    table.add_column("field")
    table.add_column("right", justify="right")
    table.add_column("always the commonest label", justify="right")
    for field, share in result["accuracy"].items():
        table.add_row(field, f"{share['answers']:.1%}", f"{share['commonest']:.1%}")
    console.print(table)
    console.print("Read first:", *(f"  · {line}" for line in result["highlights"]), sep="\n")
    show_run(result["flow_run_id"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, help="only the first N tickets")
    show(inbox(parser.parse_args().limit))
