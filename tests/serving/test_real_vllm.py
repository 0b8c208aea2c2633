"""A real vLLM on this CPU: its KV events, its tokenizer page and its own count agree with ours."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import httpx
import pytest

from benchmarks.engines import PYTHON, Shape, engines, save_model, vllm
from tests.servers import free_port
from tierflow.routing.affinity import Translation, chain_of_tokens
from tierflow.serving import KvEndpoint, KvEvent, KvSubscriber, MetricsPage, Stored, TokenizePage

pytestmark = pytest.mark.slow

PATIENCE_S = 300.0


@dataclass(frozen=True)
class Vllm:
    url: str
    events: str
    model: str


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    if not PYTHON.exists():
        pytest.skip("no vLLM: make engines")
    shape = Shape(layers=2, hidden=128, window=4096)
    model = save_model(shape, tmp_path_factory.mktemp("vllm") / "llama")
    events = free_port()
    told = {
        "enable_kv_cache_events": True,
        "publisher": "zmq",
        # Without a * it connects, so this side binds.
        "endpoint": f"tcp://127.0.0.1:{events}",
    }
    options = ("--max-num-batched-tokens", "512", "--kv-events-config", json.dumps(told))
    with engines([vllm(model, *options)], model.parent) as (url,):
        yield Vllm(url, f"bind+tcp://127.0.0.1:{events}", "small")


def asked(tenant: int, ask: str) -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": f"You serve the desk {tenant}. " * 60},
        {"role": "user", "content": ask},
    ]


def test_what_its_events_say_is_held_is_what_it_finds_cached(engine: Vllm) -> None:
    known, held = Translation(), set[int]()

    def hear(_replica: str, events: Sequence[KvEvent]) -> None:
        for each in events:
            if isinstance(each, Stored):
                fields = (each.hashes, each.parent, each.token_ids, each.block_size, each.salts)
                held.update(known.stored(*fields))

    subscriber = KvSubscriber({"a": KvEndpoint.of(engine.events)}, hear)
    page = TokenizePage(timeout_s=30)
    counts: list[tuple[int, int]] = []
    try:
        # A publisher that connects is heard once it is connected.
        ends = monotonic() + PATIENCE_S
        warming = 0
        while not held:
            assert monotonic() < ends
            _ask(engine, asked(1000 + warming, "?"))
            warming += 1
        for turn in range(3):
            for tenant in range(4):
                messages = asked(tenant, f"ask {turn}")
                ids = page.token_ids(engine.url, engine.model, messages, replies=True, options={})
                chain = chain_of_tokens(ids, known.tokens_per_block)
                ends = monotonic() + PATIENCE_S
                depth = next(
                    (at for at, block in enumerate(chain.hashes) if block not in held),
                    len(chain.hashes),
                )
                counts.append((chain.cached_tokens(depth), _ask(engine, messages)))
                while not set(chain.hashes) <= held:
                    assert monotonic() < ends
    finally:
        subscriber.close()
        page.close()

    assert [expected for expected, _ in counts] == [found for _, found in counts]
    assert sum(found > 0 for _, found in counts) >= 8
    signals = MetricsPage(timeout_s=30).read(engine.url)
    assert signals.hit_rate is not None
    assert signals.hit_rate > 0


def _ask(engine: Vllm, messages: list[dict[str, Any]]) -> int:
    """Ask, and return how many tokens it says were cached."""
    body = {"model": engine.model, "messages": messages, "max_tokens": 2, "temperature": 0}
    answer = httpx.post(f"{engine.url}/chat/completions", json=body, timeout=PATIENCE_S)
    usage: Any = answer.raise_for_status().json()["usage"]
    details: dict[str, Any] = usage.get("prompt_tokens_details") or {}
    return int(details.get("cached_tokens") or 0)
