"""Kinship: do two tiers hold models of one family? Knows names only, and guesses by them."""

import re

from ..settings import Deployment
from .tiers import NamedTier

_MAKERS = {"anthropic", "cohere", "deepseek", "gemini", "mistral", "openai", "xai"}
"""Providers that sell their own models. Others pass on those of many makers."""

_FAMILIES = {
    "claude": "anthropic",
    "command": "cohere",
    "deepseek": "deepseek",
    "gemini": "gemini",
    "gemma": "gemini",
    "gpt": "openai",
    "grok": "xai",
    "llama": "llama",
    "mistral": "mistral",
    "mixtral": "mistral",
    "qwen": "qwen",
}


def shared_family(one: NamedTier, other: NamedTier) -> str | None:
    """Return a model family that both tiers have, the first by name; None for none."""
    ours, theirs = (
        set[str]().union(*(families(each) for each in tier.tier.deployments))
        for tier in (one, other)
    )
    return min(ours & theirs, default=None)


def families(deployment: Deployment) -> set[str]:
    """Return the families a deployment's model may be of: of its maker, else by its name's stem.

    A distilled model has two: deepseek-r1-distill-llama is of both.
    """
    provider, _, model = deployment.model.lower().partition("/")
    # An own endpoint speaks a provider's dialect, and tells nothing of the model.
    if provider in _MAKERS and not deployment.is_self_hosted:
        return {provider}
    known = {family for stem, family in _FAMILIES.items() if stem in model}
    return known or set(re.findall(r"^[a-z]+", model.rpartition("/")[2]))
