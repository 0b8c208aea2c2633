"""Ruled: what `[policy]` allows a step. Decides only; `routing.resolve` leaves out the rest."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

from ..policy import Rules
from ..rollouts import Rollout
from .spec import StepSpec, Surroundings

T = TypeVar("T")


def rules_of(spec: StepSpec[Any], around: Surroundings) -> Rules:
    """Return the rules for a step's tiers."""
    return around.settings.policy.rules(spec.tags)


def check_arms(spec: StepSpec[Any], rollout: Rollout, around: Surroundings) -> None:
    """Raise PolicyError where the rules forbid the first tier of either arm of a step's rollout.

    Also in runs of the other arm: a step that fails for a share of the runs is found out late.
    """
    rules, catalogue = rules_of(spec, around), around.settings.tiers
    for arm in (rollout.baseline, rollout.candidate):
        name = arm.tier or spec.tier
        if rules:
            rules.allowed(name, catalogue.get(name).deployments)


def with_run_tags(spec: StepSpec[T], tags: Iterable[str]) -> StepSpec[T]:
    """Return a step with the tags of its task run, too: those of a `prefect.tags` block."""
    every = spec.tags.union(tags)
    return spec if every == spec.tags else replace(spec, tags=every)


def refuse_text(tags: object) -> None:
    """Raise TypeError for tags given as one text: Prefect would take each letter for a tag."""
    if isinstance(tags, str):
        raise TypeError(f"tags is the text {tags!r}. Give a list: tags=[{tags!r}].")
