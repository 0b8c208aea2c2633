"""Fixtures: a provider that echoes, and an end to what flow runs leave open."""

import gc
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from openai import AsyncOpenAI

from tests.conftest import Catalogue
from tests.fakes import FakeProvider
from tierflow.routing.vendor import litellm

from .runs import LEAKS, said


@pytest.fixture
def leaks_collected() -> Iterator[None]:
    """Collect what a flow run leaked here, where it is expected, and not in another test."""
    yield
    kept: Any = litellm().in_memory_llm_clients_cache
    for key in [key for key, each in kept.cache_dict.items() if isinstance(each, AsyncOpenAI)]:
        kept.delete_cache(key)
    with warnings.catch_warnings():
        for leak in LEAKS:
            warnings.filterwarnings("ignore", leak, ResourceWarning)
        gc.collect()


@pytest.fixture
def echoing(provider: FakeProvider, catalogue: Catalogue) -> FakeProvider:
    """A provider whose models repeat what they were asked."""
    catalogue()
    for model in ("fast", "standard", "frontier"):
        provider.script(model, said)
    return provider
