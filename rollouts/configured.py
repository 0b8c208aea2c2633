"""Configured: the rollouts of tierflow.toml, checked. Reads settings; starts nothing.

[rollouts.triage-v2]
steps = ["shadow", 5, 25, 100]
guardrails = [{ metric = "error_rate", limit = 1.25 }, { metric = "p95_latency" }]
candidate.classify = { tier = "standard" }
candidate.reply = { prompt = "reply", cascade = { to = "frontier", judge = "schema" } }
"""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from ..errors import ConfigError, UnknownTierError
from ..request import Sampling
from ..settings import CONFIG_NAME, Settings
from .rollout import Rollout, Variant
from .terms import (
    CostTerms,
    ErrorRateTerms,
    QualityTerms,
    TailLatencyTerms,
    Terms,
)

_READ: dict[int, tuple[Settings, "Mapping[str, ConfiguredRollout]"]] = {}
_reading = threading.Lock()

_STRICT = ConfigDict(frozen=True, extra="forbid")


class CascadeTerms(BaseModel):
    """Where an arm may escalate to, and who is its judge."""

    model_config = _STRICT

    to: str
    judge: Literal["schema", "confidence"]


class VariantTerms(BaseModel):
    """What an arm changes of a step. `prompt`: a name in the registry of prompts. See Variant."""

    model_config = _STRICT

    tier: str | None = None
    model: str | None = None
    prompt: str | None = None
    sampling: Sampling | None = None
    cascade: CascadeTerms | None = None

    def made(self) -> Variant:
        """Return the variant. Raises ValueError."""
        return Variant(
            tier=self.tier,
            model=self.model,
            sampling=self.sampling,
            prompt_name=self.prompt,
            cascade=None if self.cascade is None else self.cascade.model_dump(),
        )


class _Written(Terms):
    """A table of tierflow.toml: the terms, and what both arms change by the step's name."""

    candidate: dict[str, VariantTerms]
    baseline: dict[str, VariantTerms] = Field(default_factory=dict[str, VariantTerms])


@dataclass(frozen=True, slots=True)
class ConfiguredRollout:
    """A rollout of tierflow.toml. Several steps under its name are a chain that moves together.

    `candidate`, `baseline`: what an arm changes, by the step's name.
    """

    name: str
    terms: Terms
    candidate: Mapping[str, Variant]
    baseline: Mapping[str, Variant] = field(default_factory=dict[str, Variant])

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of the steps that it changes, in either arm."""
        return tuple(dict.fromkeys((*self.candidate, *self.baseline)))

    def of_step(self, step: str) -> Rollout:
        """Return the rollout as one step sees it: without a change where it is not named."""
        return self.terms.rollout(self.name, self.candidate.get(step), self.baseline.get(step))


def configured(settings: Settings) -> Mapping[str, ConfiguredRollout]:
    """Return the rollouts of tierflow.toml by name. Raises ConfigError for the first wrong one.

    Read once for each settings: every call of every step asks.
    """
    if not settings.rollouts:
        return {}
    with _reading:
        known = _READ.get(id(settings))
        if known is None or known[0] is not settings:
            found = {name: configured_one(name, settings) for name in settings.rollouts}
            known = _READ[id(settings)] = (settings, found)
        return known[1]


def configured_one(name: str, settings: Settings) -> ConfiguredRollout:
    """Return the rollout by a name that is in the settings.

    Raises ConfigError that names the key, its value and the remedy.
    """
    table, where = settings.rollouts[name], f"rollouts.{name}"
    if not isinstance(table, Mapping):
        raise ConfigError(
            f"{where} is {table!r:.60} in {CONFIG_NAME}, and no table. Write [{where}]."
        )
    try:
        written = _Written.model_validate(table)
    except ValidationError as exc:
        # A step is one of two things, and is no fault of both.
        said = " ".join(dict.fromkeys(_fault(where, each) for each in exc.errors()))
        raise ConfigError(f"Wrong rollout in {CONFIG_NAME}: {said}") from None
    if not written.candidate:
        raise ConfigError(
            f"{where}.candidate is {{}} in {CONFIG_NAME}, so there is nothing to try. Write "
            f'candidate.STEP = {{ tier = "standard" }}.'
        )
    for key, tier in _tiers(written):
        try:
            settings.tiers.get(tier)
        except UnknownTierError as exc:
            raise ConfigError(f"{where}.{key} in {CONFIG_NAME}: {exc}") from None
    terms = Terms(**{each: getattr(written, each) for each in Terms.model_fields})
    try:
        # Terms know their kinds only; a rollout also knows what makes sense together.
        terms.rollout(name)
        candidate, baseline = _made(written.candidate), _made(written.baseline)
    except ValueError as exc:
        raise ConfigError(f"Wrong rollout in {CONFIG_NAME}: {where}: {exc}") from None
    return ConfiguredRollout(name, terms, candidate, baseline)


def _made(arms: Mapping[str, VariantTerms]) -> dict[str, Variant]:
    return {step: each.made() for step, each in arms.items()}


def _tiers(written: _Written) -> Iterator[tuple[str, str]]:
    for arm in ("candidate", "baseline"):
        variants: Mapping[str, VariantTerms] = getattr(written, arm)
        for step, variant in variants.items():
            if variant.tier is not None:
                yield f"{arm}.{step}.tier", variant.tier
            if variant.cascade is not None:
                yield f"{arm}.{step}.cascade.to", variant.cascade.to


_KINDS: Mapping[str, type[BaseModel]] = {
    "error_rate": ErrorRateTerms,
    "p95_latency": TailLatencyTerms,
    "quality": QualityTerms,
    "cost_per_task": CostTerms,
}


def _fault(where: str, error: ErrorDetails) -> str:
    """Say one fault: key, value, remedy."""
    at = [str(each) for each in error["loc"]]
    value: Any = error["input"]
    if at[0] == "steps" and len(at) > 1:
        return f'{where}.steps.{at[1]} is {value!r:.60}. Give "shadow" or a percentage up to 100.'
    # Between the place in a list and the key stands the metric's kind.
    named = [*at[:2], *at[3:]] if at[0] in ("guardrails", "signals") else at
    key = ".".join((where, *named))
    match error["type"]:
        case "extra_forbidden":
            return f"{key} is no key. Known: {', '.join(_known(at))}."
        case "missing":
            return f"{key} is missing. Write it."
        case "union_tag_invalid" | "union_tag_not_found":
            return f"{key}.metric is {_metric(value)}. Known: {', '.join(_KINDS)}."
        case _:
            return f"{key} is {value!r:.60}: {error['msg'][:1].lower()}{error['msg'][1:]}."


def _metric(value: object) -> str:
    if not isinstance(value, Mapping) or "metric" not in value:
        return f"missing in {value!r:.60}"
    return repr(cast("Mapping[str, object]", value)["metric"])


def _known(at: list[str]) -> list[str]:
    """Return the keys that are known where an unknown one stands."""
    above = at[:-1]
    kind: type[BaseModel] = _Written
    if above[:1] in (["guardrails"], ["signals"]):
        kind = _KINDS[above[2]]
    elif above[:1] in (["candidate"], ["baseline"]):
        kinds: Mapping[str, type[BaseModel]] = {"cascade": CascadeTerms, "sampling": Sampling}
        kind = kinds.get(at[-2], VariantTerms)
    return list(kind.model_fields)
