"""Ruled: what `[policy]` allows a step. Decides only; `routing.resolve` leaves out the rest."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

from ..policy import Rules
from .spec import StepSpec, Surroundings

T = TypeVar("T")


def rules_of(spec: StepSpec[Any], around: Surroundings) -> Rules:
    """Return the rules for a step's tiers.

    Raises PolicyError where they forbid the first tier of either arm of its rollout: also in runs
    of the other arm, because a step that fails for a share of the runs is found out late.
    """
    rules, catalogue = around.settings.policy.rules(spec.tags), around.settings.tiers
    candidate = spec.rollout.candidate.tier if spec.rollout else None
    if rules and candidate is not None:
        for name in (spec.tier, candidate):
            rules.allowed(name, catalogue.get(name).deployments)
    return rules


def with_run_tags(spec: StepSpec[T], tags: Iterable[str]) -> StepSpec[T]:
    """Return a step with the tags of its task run, too: those of a `prefect.tags` block."""
    every = spec.tags.union(tags)
    return spec if every == spec.tags else replace(spec, tags=every)


def refuse_text(tags: object) -> None:
    """Raise TypeError for tags given as one text: Prefect would take each letter for a tag."""
    if isinstance(tags, str):
        raise TypeError(f"tags is the text {tags!r}. Give a list: tags=[{tags!r}].")
