"""Collecting: what a calibration's items bring, asked so many at a time. Proves nothing.

Each outcome is appended to a file as soon as it is there, without any text of prompts or replies:
after Ctrl-C or a crash only what is missing is asked.
"""

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from slugify import slugify

from ...errors import ConfigError
from ..aside import Aside
from ..decorator import LLMTask
from ..gated import binding_of, gate_of
from ..hands import hands
from ..spec import Surroundings
from ..step import Plan, Step
from .asking import FRESH_S, ask_each, begin
from .calibration import Outcome, Proof, outcome_plan, pair_of, prove
from .items import Item


@dataclass(frozen=True, slots=True)
class Collected:
    """The outcomes that could be had, and by the item's place the errors of the others.

    `cost_usd`: of what was asked for now, failed items too; None if a price is unknown.
    """

    outcomes: Sequence[Outcome]
    errors: Mapping[int, Exception]
    cost_usd: float | None = 0.0


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
    first, mine, writing = begin(step, items), hands(), threading.Lock()
    path = mine.settings.home / "calibrations" / _file_name(first, tier)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    alarm = mine.judges.known(gate_of(step.name, tier)).state
    since = max(first.around.now() - FRESH_S, (alarm and alarm.alarmed_at) or 0.0)
    known = {key: each for key, each in _read(path).items() if each.at > since}

    def plan(around: Surroundings, item: Item, aside: Aside) -> Plan[Outcome]:
        return outcome_plan(step.spec, around, tier, item, aside)

    def keep(outcome: Outcome) -> None:
        with writing, path.open("a", encoding="utf-8") as file:
            file.write(outcome.model_dump_json() + "\n")

    asked = ask_each(step, items, "calibration", plan, ended, known=known, keep=keep)
    have = known | {each.item: each for each in asked.found}
    keys = dict.fromkeys(item.key for item in items)
    return Collected([have[key] for key in keys if key in have], asked.errors, asked.cost_usd)


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
