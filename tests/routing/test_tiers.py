"""Tiers: which deployments can be asked, and what is said before any call where none can."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeProvider, Say
from tests.tasks.ways import Way, both_ways, plain
from tierflow import Sampling
from tierflow.errors import ConfigError, MissingKeyError, UnknownTierError
from tierflow.routing import NamedTier, is_usable, key_variables, resolve
from tierflow.routing.tiers import api_key
from tierflow.settings import Catalogue, Deployment, Tier


def a_catalogue(*fast: Deployment, **specialists: Deployment) -> Catalogue:
    other = Tier(deployments=(Deployment(model="local/other"),))
    special = {name: Tier(deployments=(each,)) for name, each in specialists.items()}
    return Catalogue(
        fast=Tier(deployments=fast), standard=other, frontier=other, specialist=special
    )


@pytest.mark.parametrize(
    ("deployment", "variables"),
    [
        (Deployment(model="anthropic/claude"), ("ANTHROPIC_API_KEY",)),
        (Deployment(model="gemini/gemini"), ("GEMINI_API_KEY", "GOOGLE_API_KEY")),
        (Deployment(model="anthropic/claude", api_key_env="MINE"), ("MINE",)),
        (Deployment(model="openai/gpt", api_base="http://engine/v1"), ()),
        (Deployment(model="openai/gpt", api_base="http://gate/v1", api_key_env="GATE"), ("GATE",)),
        (Deployment(model="local/zero-shot"), ()),
    ],
)
def test_a_deployment_names_the_variables_of_its_key(
    deployment: Deployment, variables: tuple[str, ...]
) -> None:
    assert key_variables(deployment) == variables


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        ({}, None),
        ({"GEMINI_API_KEY": ""}, None),
        ({"GOOGLE_API_KEY": "second"}, "second"),
        ({"GEMINI_API_KEY": "first", "GOOGLE_API_KEY": "second"}, "first"),
        ({"GEMINI_API_KEY": "", "GOOGLE_API_KEY": "second"}, "second"),
    ],
)
def test_the_first_variable_that_holds_a_key_counts(
    environ: dict[str, str], key: str | None
) -> None:
    deployment = Deployment(model="gemini/gemini")

    assert api_key(deployment, environ) == key
    assert is_usable(deployment, environ) is (key is not None)


def test_deployments_without_their_key_are_left_out() -> None:
    claude, gpt = Deployment(model="anthropic/claude"), Deployment(model="openai/gpt")
    local = Deployment(model="local/zero-shot")

    tier = resolve(a_catalogue(claude, gpt, local), "fast", {"OPENAI_API_KEY": "key"})

    assert tier.name == "fast"
    assert tier.tier.deployments == (gpt, local)


def test_a_specialist_is_found_by_its_domain() -> None:
    special = Deployment(model="local/legal")

    tier = resolve(a_catalogue(special, legal=special), "specialist.legal", {})

    assert tier.tier.deployments == (special,)


def test_a_tier_without_any_key_names_every_variable_that_would_do() -> None:
    catalogue = a_catalogue(Deployment(model="gemini/g"), Deployment(model="xai/x"))

    with pytest.raises(MissingKeyError) as caught:
        resolve(catalogue, "fast", {})

    assert "GEMINI_API_KEY or GOOGLE_API_KEY for gemini/g; XAI_API_KEY for xai/x" in str(
        caught.value
    )
    assert "[tiers.fast]" in str(caught.value)


def test_an_unknown_tier_names_the_known_ones() -> None:
    catalogue = a_catalogue(Deployment(model="local/a"), legal=Deployment(model="local/b"))

    with pytest.raises(UnknownTierError) as caught:
        resolve(catalogue, "quick", {})

    assert "No tier 'quick'. Known: fast, standard, frontier, specialist.legal" in str(caught.value)


def test_a_tier_that_answers_otherwise_has_another_identity() -> None:
    def identity(name: str = "fast", **changed: Any) -> str:
        deployment = Deployment(model="openai/a", api_base="http://x/v1", **changed)
        return NamedTier(name, Tier(deployments=(deployment,))).identity

    warm = Tier(deployments=(Deployment(model="openai/a"),), sampling=Sampling(temperature=1))
    identities = [
        identity(),
        identity("standard"),
        identity(params={"reasoning_effort": "low"}),
        NamedTier("fast", warm).identity,
    ]
    assert len(set(identities)) == len(identities)
    assert identity(input_usd_per_mtok=1, output_usd_per_mtok=1) == identity()


@dataclass(frozen=True)
class Wrong:
    """A step's tier, more fields of the only deployment, and what is said about them."""

    fields: str
    kind: type[ConfigError]
    message: str
    tier: str = "fast"


WRONG = {
    "unknown tier": Wrong("", UnknownTierError, "No tier 'quick'", tier="quick"),
    "missing key": Wrong(', api_key_env = "ENGINE"', MissingKeyError, "ENGINE for openai/a@"),
    "half a price": Wrong(", input_usd_per_mtok = 1", ConfigError, "output_usd_per_mtok"),
    "unknown field": Wrong(", price = 1", ConfigError, "price"),
}


@both_ways
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_configuration_fails_before_any_call(
    way: Way, wrong: Wrong, project: Path, provider: FakeProvider
) -> None:
    provider.script("a", Say("never"))
    deployment = f'{{ model = "openai/a", api_base = "{provider.base_url}"{wrong.fields} }}'
    (project / "tierflow.toml").write_text(f"[tiers.fast]\ndeployments = [{deployment}]")

    with pytest.raises(wrong.kind, match=wrong.message):
        way.step(plain, tier=wrong.tier)("Where is it?")

    assert provider.calls == ()
