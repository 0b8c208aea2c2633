"""Pooled: a pool in a project, and prompts whose long prefixes its replicas may hold."""

from collections.abc import Sequence
from pathlib import Path

from tests.fakes import FakeEngine
from tierflow import Prompt

TENANTS = 6
"""As many prefixes, of some 500 tokens each."""


def a_pool(project: Path, replicas: Sequence[str], more: str = "", tail: str = "") -> None:
    """Write a tierflow.toml with one pool, behind the tier fast."""
    path = project / "tierflow.toml"
    path.write_text(f"""
[pools.llama]
replicas = {list(replicas)!r}
{more}

[tiers.fast]
deployments = [{{ model = "openai/llama", pool = "llama" }}]
timeout_s = 10
max_wait_s = 0
{tail}
""")


def urls(engines: Sequence[FakeEngine]) -> list[str]:
    return [each.base_url for each in engines]


def asked(item: str) -> Prompt:
    """A prompt whose long prefix is its tenant's."""
    tenant, _, ask = item.partition(":")
    return Prompt(prefix=f"You serve {tenant}. " + f"{tenant} is a house of rules. " * 80, ask=ask)


def items(rounds: int) -> list[str]:
    return [f"tenant {each}:ask {turn}" for turn in range(rounds) for each in range(TENANTS)]


def served(engines: Sequence[FakeEngine]) -> list[int]:
    return [len(each.all_calls) for each in engines]


def hit_rate(engines: Sequence[FakeEngine]) -> float:
    hits = sum(each.cache.hits for each in engines)
    return hits / sum(each.cache.queries for each in engines)
