"""`tierflow cache explain "question"`. Reads the similar-question cache; asks no model."""

import json
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ..caching import SemanticCache, has_questions, open_similar_cache
from ..caching.similar import Explanation
from ..plural import plural
from ..settings import settings

_MOST_SHOWN = 5


def explain_question(
    ask: str, *, step: str | None, max_wrong_rate: float, confidence: float, as_json: bool
) -> None:
    """Print what the similar-question cache has for a question, the likest first."""
    try:
        terms = SemanticCache(max_wrong_rate=max_wrong_rate, confidence=confidence)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    current = settings()
    if not has_questions(current):
        raise click.ClickException(
            f"No step with cache=SemanticCache(...) has kept a question in {current.home}. Run one "
            "here, or go to the directory where it ran."
        )
    similar = open_similar_cache(current)
    try:
        found = similar.explain_text(ask, terms, step=step)
    finally:
        similar.close()
    if found is None:
        raise click.ClickException(
            "The question is longer than the encoder reads: it is only answered by the exact cache."
        )
    found = [each for each in found if each.finding.candidate is not None][:_MOST_SHOWN]
    if as_json:
        click.echo(json.dumps([_told(each) for each in found], indent=2, ensure_ascii=False))
    elif not found:
        click.echo("Nothing is kept that it could be compared with.")
    else:
        for each in found:
            _show(each, terms)


def _told(explanation: Explanation) -> dict[str, Any]:
    finding = explanation.finding
    return {
        "step": finding.place.labels.step,
        "tenant": finding.place.labels.tenant,
        "partition": finding.place.partition,
        "questions": explanation.questions,
        "nearest": asdict(finding.candidate) if finding.candidate else None,
        "would_serve": finding.would_serve,
        "why": finding.why,
        "probability_right": finding.score,
        "probability_needed": explanation.needed,
        "proven": explanation.evidence,
        "checked": explanation.checked,
        "wrong": explanation.wrong,
        "bound": explanation.bound,
        "drifts": explanation.drifts,
        "features": explanation.features,
    }


def _show(explanation: Explanation, terms: SemanticCache) -> None:
    told = _told(explanation)
    nearest: dict[str, Any] = told["nearest"]
    whose = f" of tenant {told['tenant']}" if told["tenant"] else ""
    click.echo(f"Step {told['step']}{whose}: {plural(told['questions'], 'question')} kept")
    click.echo(f"  nearest      {json.dumps(nearest['ask'], ensure_ascii=False)}")
    click.echo(f"  would serve  {'yes' if told['would_serve'] else 'no'}: {told['why']}")
    promised = f"{terms.max_wrong_rate:.2%} wrong at most, {terms.confidence:.0%} confidence"
    click.echo(f"  promise      {promised} (--max-wrong-rate, --confidence: as the step's)")
    needed = told["probability_needed"]
    enough = "nothing is proven yet" if needed is None else f"from {needed:.4f} on it is served"
    click.echo(f"  right with   {told['probability_right']:.4f}; {enough}")
    bound = "" if told["bound"] is None else f", so at most {told['bound']:.2%} are wrong"
    click.echo(
        f"  proof        {min(1.0, told['proven']):.0%} of the way; {told['checked']} checks of "
        f"likely hits, {told['wrong']} wrong{bound}"
    )
    if told["drifts"]:
        click.echo(f"  drift        proof was thrown away {plural(told['drifts'], 'time')}")
    table = Table("feature", "value", box=None, pad_edge=False)
    for name, value in told["features"].items():
        table.add_row(name, f"{value:.3f}")
    Console().print(table)
