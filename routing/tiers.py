"""Tiers: which deployments can be asked right now, and which keys they need."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import MissingKeyError
from ..policy import ANYTHING, Rules
from ..request import Sampling, canonical_json
from ..settings import Catalogue, Deployment, Tier

_KEYS: Mapping[str, tuple[str, ...]] = {
    "anthropic": ("ANTHROPIC_API_KEY",),
    "cohere": ("COHERE_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "groq": ("GROQ_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "openai": ("OPENAI_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "together_ai": ("TOGETHERAI_API_KEY",),
    "xai": ("XAI_API_KEY",),
}


@dataclass(frozen=True, slots=True)
class NamedTier:
    """A tier with its name, holding only deployments that can be asked."""

    name: str
    tier: Tier

    @property
    def identity(self) -> str:
        """All of the tier that decides an answer, as canonical JSON."""
        return canonical_json(
            {
                "tier": self.name,
                "deployments": [
                    [deployment.model, _endpoint(deployment), dict(deployment.params)]
                    for deployment in self.tier.deployments
                ],
                "sampling": self.tier.sampling.given(),
            }
        )


def _endpoint(deployment: Deployment) -> str | None:
    # Replicas come and go; what they answer is the pool's.
    return f"pool {deployment.pool}" if deployment.pool else deployment.api_base


def temperature_of(own: Sampling, deployment: Deployment, tier: Tier) -> float | None:
    """Return the temperature a request is sampled at, None if the provider decides.

    What the request asks for goes over the deployment's params, and those over the tier.
    """
    if own.temperature is not None:
        return own.temperature
    given: float | None = deployment.params.get("temperature", tier.sampling.temperature)
    return given


def key_variables(deployment: Deployment) -> tuple[str, ...]:
    """Return the environment variables of which one must hold a deployment's key; () for none."""
    if deployment.api_key_env:
        return (deployment.api_key_env,)
    # A deployment with its own endpoint is self-hosted: most engines ask for no key.
    return () if deployment.is_self_hosted else _KEYS.get(deployment.provider, ())


def knows_keys(deployment: Deployment) -> bool:
    """Tell whether `key_variables` is an answer: not for providers outside its table."""
    ours = {"local", "replay", "record"}
    is_known = deployment.provider in {*_KEYS, *ours}
    return bool(deployment.api_key_env) or deployment.is_self_hosted or is_known


def api_key(deployment: Deployment, environ: Mapping[str, str]) -> str | None:
    """Return the deployment's key from the environment, None if it has or needs none."""
    return next((environ[name] for name in key_variables(deployment) if environ.get(name)), None)


def is_usable(deployment: Deployment, environ: Mapping[str, str]) -> bool:
    """Tell whether a deployment needs no key or has one."""
    return not key_variables(deployment) or api_key(deployment, environ) is not None


def resolve(
    catalogue: Catalogue,
    name: str,
    environ: Mapping[str, str],
    rules: Rules = ANYTHING,
    *,
    model: str | None = None,
) -> NamedTier:
    """Return a tier without the deployments that `rules` forbid or whose key is missing.

    `model`: only that one, by litellm's name; where the tier has no deployment of it, it is asked
    as its provider serves it. Raises UnknownTierError, PolicyError, or MissingKeyError when none
    is left.
    """
    tier = catalogue.get(name)
    if model is not None:
        alone = tuple(each for each in tier.deployments if each.model == model)
        tier = tier.model_copy(update={"deployments": alone or (Deployment(model=model),)})
    allowed = rules.allowed(name, tier.deployments)
    usable = tuple(each for each in allowed if is_usable(each, environ))
    if not usable:
        wanted = "; ".join(
            f"{' or '.join(key_variables(each))} for {each.name}" for each in allowed
        )
        raise MissingKeyError(
            f"Tier {name!r} has no API key. Set one of: {wanted}. Or name a deployment that "
            f"needs none under [tiers.{name}] in tierflow.toml, such as an engine with api_base."
        )
    if usable != tier.deployments:
        tier = tier.model_copy(update={"deployments": usable})
    return NamedTier(name, tier)
