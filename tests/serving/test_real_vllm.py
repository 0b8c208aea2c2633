"""A real vLLM on this CPU: its KV events, its tokenizer page and its own count agree with ours."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import pytest

import tierflow
from benchmarks.engines import Shape, save_model
from tests.servers import free_port
from tierflow.routing.affinity import Translation, chain_of_tokens
from tierflow.serving import KvEndpoint, KvEvent, KvSubscriber, MetricsPage, Stored, TokenizePage

pytestmark = pytest.mark.slow

PATIENCE_S = 300.0
ENGINE = Path(tierflow.__file__).parents[1] / ".engines" / ".venv" / "bin" / "python"


@dataclass(frozen=True)
class Vllm:
    url: str
    events: str
    model: str


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    if not ENGINE.exists():
        pytest.skip("no vLLM: make engines")
    shape = Shape(layers=2, hidden=128, window=4096)
    model = save_model(shape, tmp_path_factory.mktemp("vllm") / "llama")
    port, events = free_port(), free_port()
    told = {
        "enable_kv_cache_events": True,
        "publisher": "zmq",
        # Without a * it connects, so this side binds.
        "endpoint": f"tcp://127.0.0.1:{events}",
    }
    command = [str(ENGINE), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    options = "--dtype float32 --enforce-eager --block-size 32 --max-num-batched-tokens 512"
    more = ["--enable-prompt-tokens-details", "--kv-events-config", json.dumps(told)]
    where = ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "llama"]
    small = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    environ = {**os.environ, **small, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    log = model.parent / "vllm.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *options.split(), *more, *where],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(process, f"http://127.0.0.1:{port}/health", log)
            yield Vllm(f"http://127.0.0.1:{port}/v1", f"bind+tcp://127.0.0.1:{events}", "llama")
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    ends = monotonic() + PATIENCE_S
    while monotonic() < ends:
        assert process.poll() is None, log.read_text(errors="replace")[-4000:]
        with suppress(httpx.TransportError):
            if httpx.get(url, timeout=5).is_success:
                return
        sleep(0.5)
    pytest.fail(log.read_text(errors="replace")[-4000:])


def asked(tenant: int, ask: str) -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": f"You serve the desk {tenant}. " * 60},
        {"role": "user", "content": ask},
    ]


def test_what_its_events_say_is_held_is_what_it_finds_cached(vllm: Vllm) -> None:
    known, held = Translation(), set[int]()

    def hear(_replica: str, events: Sequence[KvEvent]) -> None:
        for each in events:
            if isinstance(each, Stored):
                fields = (each.hashes, each.parent, each.token_ids, each.block_size, each.salts)
                held.update(known.stored(*fields))

    subscriber = KvSubscriber({"a": KvEndpoint.of(vllm.events)}, hear)
    page = TokenizePage(timeout_s=30)
    counts: list[tuple[int, int]] = []
    try:
        # A publisher that connects is heard once it is connected.
        ends = monotonic() + PATIENCE_S
        warming = 0
        while not held:
            assert monotonic() < ends
            _ask(vllm, asked(1000 + warming, "?"))
            warming += 1
        for turn in range(3):
            for tenant in range(4):
                messages = asked(tenant, f"ask {turn}")
                ids = page.token_ids(vllm.url, vllm.model, messages, replies=True, options={})
                chain = chain_of_tokens(ids, known.tokens_per_block)
                ends = monotonic() + PATIENCE_S
                depth = next(
                    (at for at, block in enumerate(chain.hashes) if block not in held),
                    len(chain.hashes),
                )
                counts.append((chain.cached_tokens(depth), _ask(vllm, messages)))
                while not set(chain.hashes) <= held:
                    assert monotonic() < ends
    finally:
        subscriber.close()
        page.close()

    assert [expected for expected, _ in counts] == [found for _, found in counts]
    assert sum(found > 0 for _, found in counts) >= 8
    signals = MetricsPage(timeout_s=30).read(vllm.url)
    assert signals.hit_rate is not None
    assert signals.hit_rate > 0


def _ask(vllm: Vllm, messages: list[dict[str, Any]]) -> int:
    """Ask, and return how many tokens it says were cached."""
    body = {"model": vllm.model, "messages": messages, "max_tokens": 2, "temperature": 0}
    answer = httpx.post(f"{vllm.url}/chat/completions", json=body, timeout=PATIENCE_S)
    usage: Any = answer.raise_for_status().json()["usage"]
    details: dict[str, Any] = usage.get("prompt_tokens_details") or {}
    return int(details.get("cached_tokens") or 0)
