"""Kinship: which models are taken for one family, by their names."""

import pytest

from tierflow.routing import NamedTier
from tierflow.routing.kinship import families, shared_family
from tierflow.settings import Deployment, Tier


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("openai/gpt-5-mini", {"openai"}),
        ("openai/o3", {"openai"}),
        ("azure/gpt-5", {"openai"}),
        ("anthropic/claude-haiku-5-5", {"anthropic"}),
        ("bedrock/anthropic.claude-sonnet", {"anthropic"}),
        ("openrouter/google/gemini-3-flash", {"gemini"}),
        ("gemini/gemma-3-27b", {"gemini"}),
        ("together_ai/meta-llama/Llama-3.3-70B", {"llama"}),
        ("groq/deepseek-r1-distill-llama-70b", {"deepseek", "llama"}),
        ("ollama/phi4:14b", {"phi"}),
        ("local/7b", set[str]()),
    ],
)
def test_a_models_families_are_read_from_its_name(model: str, expected: set[str]) -> None:
    assert families(Deployment(model=model)) == expected


def test_an_own_endpoint_tells_nothing_of_the_model() -> None:
    own = Deployment(model="openai/Qwen3-8B", api_base="http://localhost:8000/v1")
    assert families(own) == {"qwen"}


def test_one_pair_of_kin_is_enough() -> None:
    def tier(*models: str) -> NamedTier:
        return NamedTier("a", Tier(deployments=tuple(Deployment(model=each) for each in models)))

    mixed = tier("anthropic/claude-haiku-5-5", "openai/gpt-5-mini")
    assert shared_family(mixed, tier("azure/gpt-5")) == "openai"
    assert shared_family(mixed, tier("gemini/gemini-3-flash")) is None
