"""Collecting: what a calibration's items bring, asked so many at a time. Proves nothing.

Each outcome is appended to a file as soon as it is there, without any text of prompts or replies:
after Ctrl-C or a crash only what is missing is asked.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError
from slugify import slugify

from ..errors import ConfigError
from ..tracing.prefect_ui import report_at_end
from .aside import Aside
from .batch import each
from .body import around_here
from .calibration import Item, Outcome, Proof, label_text, outcome_plan, pair_of, prove, summed
from .decorator import LLMTask
from .drive import PromptCall, drive
from .gated import binding_of, gate_of
from .hands import hands
from .plan import begun
from .step import Step

_FIELDS = ("label", "stratum")

_FRESH_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Collected:
    """The outcomes that could be had, and by the item's place the errors of the others.

    `cost_usd`: of what was asked for now, failed items too; None if a price is unknown.
    """

    outcomes: Sequence[Outcome]
    errors: Mapping[int, Exception]
    cost_usd: float | None = 0.0


def read_items(path: Path) -> list[Item]:
    """Read items: a JSON object a line, the step's arguments by name, and `label`, `stratum`.

    Raises ConfigError that names the file and the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} cannot be read: {exc}. Give a file of JSON lines.") from exc
    return [_item(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]


def _item(line: str, where: str) -> Item:
    try:
        row: Any = json.loads(line)
    except json.JSONDecodeError as exc:
        raise ConfigError(f"{where} is no JSON: {exc}. Correct that line.") from exc
    if not isinstance(row, dict):
        raise ConfigError(f'{where} is no JSON object. Write {{"argument": ..., "label": ...}}.')
    known = cast("dict[str, Any]", row)
    stratum = known.get("stratum", "all")
    if not isinstance(stratum, str):
        raise ConfigError(f"{where} has the stratum {stratum!r:.60}, which is no text.")
    arguments = {name: value for name, value in known.items() if name not in _FIELDS}
    return Item(arguments, known.get("label"), stratum)


def check_askable(step: LLMTask[..., Any], items: Sequence[Item]) -> None:
    """Raise ConfigError for an async step, or for no items."""
    if step.isasync:
        raise ConfigError(f"{step.name} is async. Calibrate it with a plain prompt function.")
    if not items:
        raise ConfigError("There are no items. Give questions, and their labels if there are any.")


def prompt_call(step: LLMTask[..., Any], item: Item) -> PromptCall:
    """Return what calls the step's prompt function with an item's arguments."""
    return lambda other: (other or step.prompt)(**item.arguments)


def collect(
    step: LLMTask[..., Any],
    tier: str,
    items: Sequence[Item],
    ended: Callable[[], None] = lambda: None,
) -> Collected:
    """Return the items' outcomes: those in the step's file, and those asked for now.

    What was asked more than a day ago, or before audits raised an alarm, is asked again: models
    change behind their names. `ended` is called at each item's end. Raises ConfigError before
    anything is asked: for an async step, one without a cascade, no items, or a label of another
    type.
    """
    check_askable(step, items)
    report_at_end()
    mine, writing = hands(), threading.Lock()
    around, costs = around_here(mine), list[float | None]()
    first = drive(begun(step.spec, around), mine, prompt_call(step, items[0]))
    path = mine.settings.home / "calibrations" / _file_name(first, tier)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    alarm = mine.judges.known(gate_of(step.name, tier)).state
    since = max(around.now() - _FRESH_S, (alarm and alarm.alarmed_at) or 0.0)
    known = {key: each_ for key, each_ in _read(path).items() if each_.at > since}
    for item in items:
        if item.label is not None:
            label_text(step.spec, item)

    def ask(row: Mapping[str, Any]) -> Outcome:
        item: Item = row["item"]
        aside = Aside("calibration")
        plan = outcome_plan(step.spec, around_here(mine), tier, item, aside)
        try:
            outcome = drive(plan, mine, prompt_call(step, item))
        finally:
            costs.append(aside.cost_usd)
        with writing, path.open("a", encoding="utf-8") as file:
            file.write(outcome.model_dump_json() + "\n")
        return outcome

    places = {item.key: at for at, item in reversed(list(enumerate(items)))}
    asked = [at for key, at in places.items() if key not in known]
    missing = [{"item": items[at]} for at in asked]
    for _ in range(len(items) - len(missing)):
        ended()
    found = (
        each(ask, missing, mine.settings.batch.concurrency, lambda _: ended()) if missing else []
    )
    have = known | {one.item: one for one in found if isinstance(one, Outcome)}
    return Collected(
        [have[key] for key in dict.fromkeys(item.key for item in items) if key in have],
        {at: error for at, error in zip(asked, found, strict=True) if isinstance(error, Exception)},
        summed(costs),
    )


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What a calibration proved, and what it was proved with."""

    proof: Proof
    collected: Collected


def calibrate_judge(
    step: LLMTask[..., Any],
    items: Sequence[Item],
    *,
    tier: str | None = None,
    ended: Callable[[], None] = lambda: None,
) -> Calibrated:
    """Collect outcomes, prove what they prove, and keep it: the gate opens or closes by it.

    `tier`: the cheaper one, None for the step's own. Raises ConfigError for what cannot be
    calibrated, StoreError where it cannot be kept.
    """
    rule, first = step.spec.cascade, tier or step.spec.tier
    if rule is None:
        raise ConfigError(f"{step.name} has no cascade, and so no judge to calibrate.")
    collected = collect(step, first, items, ended)
    proof = prove(step.name, first, rule, collected.outcomes)
    hands().judges.add(proof.calibration)
    return Calibrated(proof, collected)


def _file_name(step: Step[Any], tier: str) -> str:
    rule, cheap = pair_of(step, tier)
    bound_to = binding_of(step, cheap, rule)
    digest = hashlib.sha256(bound_to.model_dump_json().encode()).hexdigest()[:16]
    return f"{slugify(gate_of(step.spec.name, tier))}-{digest}.jsonl"


def _read(path: Path) -> dict[str, Outcome]:
    found = dict[str, Outcome]()
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            # The last line may be cut off, by a kill.
            with suppress(ValidationError):
                outcome = Outcome.model_validate_json(line)
                found[outcome.item] = outcome
    return found
