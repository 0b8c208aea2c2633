"""Batching: what continuous admission and chunked prefill bring on a real engine.

Run `python -m benchmarks.batching --json FILE`; `make engines` installs the engine once. Two of it
run side by side with the same small model: one reads a prompt in one go, the other in chunks.

continuous_over_static: tokens a second of `.batch` over those of rigid batches of as many at once,
the next sent when all of the last have ended. Same steps, same items, whose replies are 16 to 256
tokens long. gap_cut: four replies are being written when a prompt of 6,000 tokens comes; the 99th
percentile of their gaps while it is read in one go, over the same in chunks. ttft_cost: what the
chunks add to the prompt's own time to first token. The arms alternate; figures are medians.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.table import Table

from tierflow import Sampling, llm_task
from tierflow.errors import EngineStartError, MeasuringError
from tierflow.percentiles import percentile
from tierflow.serving.load import Arrival, LoadClient, Timed, arriving
from tierflow.tasks import close_hands

from .engines import SMALL, engines, save_model, vllm
from .running import at_least_one, end, enter, machine, write

_ONE_SHOT = 8192
_LENGTHS = {16: 24, 64: 12, 128: 8, 256: 4}
"""Tokens of a reply, and how many items have such replies."""
_WRITERS, _WRITTEN = 4, 400
_PROMPT_CHARACTERS = 23_000
_JOINS_AFTER_S = 3.0

_console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure must reach. `is_most`: it may not be more, where others may not be less."""

    value: float
    is_most: bool = False

    def is_met(self, figure: float) -> bool:
        """Tell whether a figure reaches it."""
        return figure <= self.value if self.is_most else figure >= self.value


BARS = {
    "continuous_over_static": Bar(1.5),
    "gap_cut": Bar(5.0),
    "ttft_cost": Bar(0.10, is_most=True),
}


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the batch. `tokens`: of its reply."""

    ask: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Joined:
    """A long prompt that met replies being written. `p99_gap_s`: theirs while it was read."""

    ttft_s: float
    p99_gap_s: float
    input_tokens: int


def measure(cap: int, chunk: int, repeats: int, seed: int) -> dict[str, Any]:
    """Return the figures and what they are made of. Leaves nothing behind.

    Raises EngineStartError, MeasuringError.
    """
    with TemporaryDirectory(prefix="tierflow-benchmark-") as folder:
        home = Path(folder)
        enter(home, "http://127.0.0.1:9/api")  # no step here runs in a flow
        model = save_model(SMALL, home / "model")
        arms = [vllm(model, "--max-num-batched-tokens", str(each)) for each in (_ONE_SHOT, chunk)]
        with engines(arms, logs=home) as (one_shot, chunked):
            (home / "tierflow.toml").write_text(_catalogue(chunked, cap))
            try:
                rates = asyncio.run(_rates(cap, repeats, random.Random(seed)))
            finally:
                close_hands()
            joined = asyncio.run(_joined(one_shot, chunked, repeats, random.Random(seed)))
    return figures(rates, *joined)


def _catalogue(api_base: str, cap: int) -> str:
    tier = 'deployments = [{ model = "hosted_vllm/small", pool = "engine" }]\ntimeout_s = 600.0\n'
    tiers = "".join(f"[tiers.{name}]\n{tier}" for name in ("fast", "standard", "frontier"))
    return f'{tiers}[pools.engine]\nreplicas = ["{api_base}"]\n[batch]\nconcurrency = {cap}\n'


async def _rates(cap: int, repeats: int, chance: random.Random) -> list[tuple[float, float]]:
    """Return tokens a second of both ways, round by round: continuous and static."""
    steps = {tokens: _step(tokens) for tokens in _LENGTHS}
    # What is done once in a process, such as importing litellm, is nobody's.
    answer = await steps[16].answer.fn("Is anybody there?")
    assert answer.usage.output_tokens == 16, answer.usage
    found: list[tuple[float, float]] = []
    for number in range(repeats):
        items = _items(number, chance)
        ways = [lambda: _continuous(steps, items), lambda: _static(steps, items, cap)]  # noqa: B023  # called here
        rates = [0.0, 0.0]
        for way in (0, 1) if number % 2 == 0 else (1, 0):
            began = perf_counter()
            await ways[way]()
            rates[way] = sum(item.tokens for item in items) / (perf_counter() - began)
        _console.print(f"continuous {rates[0]:.0f}, static {rates[1]:.0f} tokens/s")
        found.append((rates[0], rates[1]))
    return found


def _step(tokens: int) -> Any:
    @llm_task(tier="fast", cache=None, sampling=Sampling(max_tokens=tokens), name=f"say {tokens}")
    async def say(ask: str) -> str:
        return ask

    return say


def _items(number: int, chance: random.Random) -> list[Item]:
    lengths = [tokens for tokens, count in _LENGTHS.items() for _ in range(count)]
    chance.shuffle(lengths)
    # No two prompts begin alike: nothing is in the engine's cache.
    return [
        Item(f"{chance.random()} in round {number}: go on, item {at}.", tokens)
        for at, tokens in enumerate(lengths)
    ]


async def _continuous(steps: Mapping[int, Any], items: Sequence[Item]) -> None:
    """Answer all items by `.batch`: the length is the step's, so there is one for each."""

    async def batch(tokens: int) -> None:
        task = steps[tokens].batch
        await task.fn(task.items(([each.ask for each in items if each.tokens == tokens],), {}))

    await asyncio.gather(*map(batch, steps))


async def _static(steps: Mapping[int, Any], items: Sequence[Item], size: int) -> None:
    for start in range(0, len(items), size):
        batch = items[start : start + size]
        await asyncio.gather(*(steps[each.tokens].fn(each.ask) for each in batch))


async def _joined(
    one_shot: str, chunked: str, repeats: int, chance: random.Random
) -> tuple[list[Joined], list[Joined]]:
    text = _text()
    found: tuple[list[Joined], list[Joined]] = ([], [])
    async with LoadClient.connected(one_shot) as first, LoadClient.connected(chunked) as second:
        clients = (first, second)
        for client in clients:
            await client.ask(_body("Is anybody there?", 16))
        for number in range(repeats):
            for way in (0, 1) if number % 2 == 0 else (1, 0):
                start = chance.randrange(len(text) - _PROMPT_CHARACTERS)
                prompt = f"{chance.random()} {text[start : start + _PROMPT_CHARACTERS]}"
                found[way].append(await _join(clients[way], prompt, chance))
            pair = found[0][-1], found[1][-1]
            gaps = ", ".join(f"{1000 * each.p99_gap_s:.0f} ms" for each in pair)
            ttfts = ", ".join(f"{each.ttft_s:.2f} s" for each in pair)
            _console.print(f"in one go, in chunks: gaps {gaps}; first token {ttfts}")
    return found


async def _join(client: LoadClient, prompt: str, chance: random.Random) -> Joined:
    writers = [Arrival(0.0, _body(f"{chance.random()}: go on.", _WRITTEN)) for _ in range(_WRITERS)]
    asked = await arriving(client.ask, [*writers, Arrival(_JOINS_AFTER_S, _body(prompt, 1))])
    if asked.failed:
        raise MeasuringError(f"The engine failed a request: {asked.failed[0]}.")
    *written, reader = asked.timed
    until_s = _JOINS_AFTER_S + reader.ttft_s
    gaps = [gap for each in written for gap in gaps_within(each, _JOINS_AFTER_S, until_s)]
    if not gaps:
        raise MeasuringError("Nobody was writing any more when the prompt came.")
    return Joined(reader.ttft_s, percentile(gaps, 0.99), reader.input_tokens)


def gaps_within(timed: Timed, since_s: float, until_s: float) -> list[float]:
    """Return the gaps of a reply that overlap with a time, in seconds since it was sent."""
    at, found = timed.ttft_s, list[float]()
    for gap in timed.gaps_s:
        if at + gap > since_s and at < until_s:
            found.append(gap)
        at += gap
    return found


def _body(text: str, tokens: int) -> dict[str, Any]:
    message = {"role": "user", "content": text}
    return {"messages": [message], "max_tokens": tokens, "temperature": 0}


def _text() -> str:
    library = sorted(Path(os.__file__).parent.glob("*.py"))[60:120]
    return "".join(path.read_text(errors="ignore") for path in library)


def figures(
    rates: Sequence[tuple[float, float]], one_shot: Sequence[Joined], chunked: Sequence[Joined]
) -> dict[str, Any]:
    """Return the figures of rounds. `rates`: tokens a second, continuous and static."""
    pairs = list(zip(one_shot, chunked, strict=True))
    gap: Callable[[Joined], float] = lambda each: each.p99_gap_s  # noqa: E731
    return {
        "continuous_over_static": median(ours / theirs for ours, theirs in rates),
        "gap_cut": median(map(gap, one_shot)) / median(map(gap, chunked)),
        "ttft_cost": median(chunks.ttft_s / whole.ttft_s for whole, chunks in pairs) - 1,
        "continuous_tokens_per_s": median(ours for ours, _ in rates),
        "static_tokens_per_s": median(theirs for _, theirs in rates),
        "gap_one_shot_ms": 1000 * median(map(gap, one_shot)),
        "gap_chunked_ms": 1000 * median(map(gap, chunked)),
        "ttft_one_shot_s": median(each.ttft_s for each in one_shot),
        "ttft_chunked_s": median(each.ttft_s for each in chunked),
        "prompt_tokens": median(each.input_tokens for each in one_shot),
    }


def report(found: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures as JSON data."""
    return {
        **{name: round(value, 4) for name, value in found.items()},
        "bars": {name: bar.value for name, bar in BARS.items()},
        "met": {name: bar.is_met(found[name]) for name, bar in BARS.items()},
        "parameters": parameters,
        "machine": machine(),
    }


def show(found: Mapping[str, Any]) -> None:
    """Print the figures, and whether the bars were met."""
    table = Table(title="Batches on a real engine", title_justify="left")
    for column in ("figure", "measured", "bar", ""):
        table.add_column(column, justify="right" if column in {"measured", "bar"} else "left")
    for name, value in found.items():
        bar = BARS.get(name)
        if bar is None:
            table.add_row(name, f"{value:.3g}")
        else:
            sign = "≤" if bar.is_most else "≥"
            met = "met" if bar.is_met(value) else "missed"
            table.add_row(name, f"{value:.3g}", f"{sign} {bar.value:g}", met)
    Console().print(table)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark. A missed bar is no error; without an engine it exits with 2."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batching", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--cap", type=at_least_one, default=8, help="calls at once, both ways")
    parser.add_argument("--chunk", type=at_least_one, default=256, help="max-num-batched-tokens")
    parser.add_argument("--repeats", type=at_least_one, default=3, help="of each arm")
    parser.add_argument("--seed", type=int, default=0, help="of the items")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, end)
    try:
        found = measure(options.cap, options.chunk, options.repeats, options.seed)
    except (EngineStartError, MeasuringError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    show(found)
    parameters = {name: getattr(options, name) for name in ("cap", "chunk", "repeats", "seed")}
    write(report(found, parameters), options.json)


if __name__ == "__main__":
    main()
