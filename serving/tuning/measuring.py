"""Measuring: replies under way while long prompts join them, and loads of so many at a time."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from statistics import median
from typing import Any

from ...errors import MeasuringError
from ...percentiles import percentile
from ..load import LoadClient, Timed, closed_loop
from .chunks import ChunkMeasured
from .concurrency import LevelMeasured

_SETTLED = 16
"""Pieces that each reply must have had before a prompt joins: so many gaps are quiet ones."""

_SAMPLE_WORDS = 256
_IGNORE_EOS = {"vllm", "sglang", "llamacpp"}
_SYLLABLES = ("ba", "ce", "di", "fo", "gu", "ha", "ke", "li", "mo", "nu", "pa", "re", "si", "to")


@dataclass(frozen=True, slots=True)
class Workload:
    """What is asked. `streams`: replies under way; `reply_tokens`: of each, at most.

    `joins`: long prompts that are timed, after one that warms up.
    """

    streams: int = 4
    prompt_tokens: int = 4000
    reply_tokens: int = 1024
    joins: int = 3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Join:
    quiet: tuple[float, ...]
    gaps: tuple[float, ...]
    ttft_s: float


async def measure_chunk(client: LoadClient, chunk_tokens: int, load: Workload) -> ChunkMeasured:
    """Let long prompts join replies, one at a time. Raises MeasuringError."""
    words = Words(client, load.seed)
    await words.weigh()
    found = [await _join(client, words, load) for _ in range(1 + load.joins)][1:]
    gaps = [gap for each in found for gap in each.gaps]
    return ChunkMeasured(
        chunk_tokens=chunk_tokens,
        gap_p99_ms=1000 * percentile(gaps, 0.99),
        gap_max_ms=1000 * max(gaps),
        quiet_ms=1000 * median(gap for each in found for gap in each.quiet),
        ttft_ms=1000 * median(each.ttft_s for each in found),
        joins=load.joins,
        gaps=len(gaps),
    )


async def measure_level(
    client: LoadClient, concurrency: int, load: Workload, per_place: int = 3
) -> LevelMeasured:
    """Have so many requests under way, each new to the engine. Raises MeasuringError."""
    # Seeded by the level: what an earlier one asked is cached, and would cost less.
    words = Words(client, load.seed + concurrency)
    await words.weigh()
    bodies = [
        words.body(load.prompt_tokens, load.reply_tokens) for _ in range(concurrency * per_place)
    ]
    found = await closed_loop(client.ask, bodies, concurrency)
    for each in found.timed:
        _whole(each)
    gaps = [gap for each in found.timed for gap in each.gaps_s]
    return LevelMeasured(
        concurrency=concurrency,
        tokens_per_s=found.tokens_per_s,
        ttft_ms=1000 * median(each.ttft_s for each in found.timed),
        gap_p99_ms=1000 * percentile(gaps, 0.99) if gaps else 0.0,
    )


class Words:
    """Prompts of about so many tokens, no two of which begin alike. `seed`: of their words."""

    def __init__(self, client: LoadClient, seed: int) -> None:
        self._client, self._random = client, Random(seed)  # noqa: S311  # no secret
        self._tokens_per_word = 1.0
        owner = client.setup.partition(" ")[0]
        # Drawn or small models end early otherwise; an engine that does not know it may refuse it.
        self._further = {"ignore_eos": True} if owner in _IGNORE_EOS else {}

    async def weigh(self) -> None:
        """Learn from the engine how many tokens a word has. Raises MeasuringError."""
        found = _whole(await self._client.ask(self.body(_SAMPLE_WORDS, 1)))
        self._tokens_per_word = max(1, found.input_tokens) / _SAMPLE_WORDS

    def body(self, tokens: int, reply_tokens: int) -> Mapping[str, Any]:
        """Return a request of about so many tokens."""
        return {
            "messages": [{"role": "user", "content": self.text(tokens)}],
            "max_tokens": reply_tokens,
            "temperature": 0,
            **self._further,
        }

    def text(self, tokens: int) -> str:
        """Return a text of about so many tokens."""
        count = max(1, round(tokens / self._tokens_per_word))
        return " ".join(self._word() for _ in range(count))

    def _word(self) -> str:
        return "".join(self._random.choices(_SYLLABLES, k=3))


async def _join(client: LoadClient, words: Words, load: Workload) -> _Join:
    """Start replies; when all are under way, send a prompt, and end all when its reply begins."""
    streams = _Streams(load)
    try:
        for _ in range(load.streams):
            streams.start(client, words.body(_SETTLED, load.reply_tokens))
        await streams.until(lambda times: len(times) > _SETTLED)
        sent = client.clock()
        prompt = _whole(await client.ask(words.body(load.prompt_tokens, 1)))
        first = sent + prompt.ttft_s
        # A gap that began before the prompt's reply ends with the next piece of each stream.
        await streams.until(lambda times: times[-1] >= first)
    finally:
        await streams.end()
    pairs = [pair for times in streams.heard for pair in pairwise(times)]
    return _Join(
        quiet=tuple(after - before for before, after in pairs if after <= sent),
        gaps=tuple(after - before for before, after in pairs if before < first and after > sent),
        ttft_s=prompt.ttft_s,
    )


class _Streams:
    """Replies under way, and when each piece of them came."""

    def __init__(self, load: Workload) -> None:
        self.heard: list[list[float]] = []
        self._load = load
        self._tasks: list[asyncio.Task[Timed]] = []
        self._news = asyncio.Event()

    def start(self, client: LoadClient, body: Mapping[str, Any]) -> None:
        times: list[float] = []

        def hear(now: float) -> None:
            times.append(now)
            self._news.set()

        task = asyncio.create_task(client.ask(body, hear))
        task.add_done_callback(lambda _: self._news.set())
        self.heard.append(times)
        self._tasks.append(task)

    async def until(self, holds: Callable[[Sequence[float]], bool]) -> None:
        """Wait until it holds for each reply. Raises MeasuringError when one ends before that."""
        while not all(map(holds, self.heard)):
            for each in self._tasks:
                if each.done():
                    _whole(each.result())
                    raise MeasuringError(
                        f"A reply of {self._load.reply_tokens} tokens ended before the prompt that "
                        "should join it was read. Allow longer replies."
                    )
            self._news.clear()
            await self._news.wait()

    async def end(self) -> None:
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _whole(timed: Timed) -> Timed:
    if timed.error is not None:
        raise MeasuringError(
            f"The engine failed while it was measured ({timed.error}). Do prompt and reply fit "
            "into its window, and does it hold so many requests?"
        )
    return timed
