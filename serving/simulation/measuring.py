"""Measuring: streams write, a prompt joins them, and the client takes the time of every token."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import ceil
from random import Random
from statistics import median
from typing import Any, Protocol

from ...errors import SimulationError
from .measurements import Measured, Setting, reading_work

_LEAD_TOKENS = 16
_SPARE_TOKENS = 128
_TRIES = 3
_SHORT = 24
_LONG = 224


class Reply(Protocol):
    """A streamed reply: times in seconds from when it was asked for, and what it failed with."""

    @property
    def ttft_s(self) -> float:
        """Time to first token."""
        ...

    @property
    def gaps_s(self) -> tuple[float, ...]:
        """Between tokens."""
        ...

    @property
    def input_tokens(self) -> int:
        """Of the prompt."""
        ...

    @property
    def error(self) -> str | None:
        """Why it is not whole."""
        ...


class Client(Protocol):
    """Asks an engine, as serving/load does."""

    async def ask(self, body: Mapping[str, Any]) -> Reply:
        """Send a chat request and time its reply."""
        ...


@dataclass(frozen=True, slots=True)
class Told:
    """A reply and when it was asked for."""

    sent: float
    reply: Reply

    def at(self) -> list[float]:
        """When each token came."""
        return list(accumulate((self.sent + self.reply.ttft_s, *self.reply.gaps_s)))


@dataclass(slots=True)
class Runs:
    """Measures one engine. `clock`: monotonic seconds; `chance`: no two prompts are equal."""

    client: Client
    max_num_batched_tokens: int
    clock: Callable[[], float]
    chance: Random
    _tokens_per_word: float = 0.0
    _tokens_around: float = 0.0
    _pace_s: float = 0.0

    async def warm_up(self) -> None:
        """Learn how many tokens a word has and how fast it writes. Raises SimulationError."""
        short, long = [await self._ask(words, 2) for words in (_SHORT, _LONG)]
        first, second = short.reply.input_tokens, long.reply.input_tokens
        self._tokens_per_word = (second - first) / (_LONG - _SHORT)
        if self._tokens_per_word <= 0:
            raise SimulationError(
                f"The engine counts {first} tokens for {_SHORT} words and {second} for {_LONG}. It "
                "must tell the tokens of a prompt (usage in the last piece of a stream)."
            )
        self._tokens_around = first - _SHORT * self._tokens_per_word
        told = await self._ask(_SHORT, _LEAD_TOKENS)
        self._pace_s = told.reply.ttft_s + sum(told.reply.gaps_s)

    async def join(self, decodes: int, prompt_tokens: int) -> Measured:
        """Have a prompt join streams that write, and tell what all saw. Raises SimulationError.

        On a busy machine the prompt may come before all streams write, or after; then once more.
        """
        run = await self._join(decodes, prompt_tokens)
        for _ in range(_TRIES - 1):
            if not decodes or (run.quiet_ms and run.gaps_ms):
                break
            run = await self._join(decodes, prompt_tokens)
        return run

    async def _join(self, decodes: int, prompt_tokens: int) -> Measured:
        words = max(1, round((prompt_tokens - self._tokens_around) / self._tokens_per_word))
        iterations = ceil(prompt_tokens / max(1, self.max_num_batched_tokens - decodes))
        # The streams must write until the prompt is read, also where they are faster than alone.
        tokens = 2 * iterations + _SPARE_TOKENS
        streams = [asyncio.create_task(self._ask(_SHORT, tokens)) for _ in range(decodes)]
        try:
            if streams:
                await asyncio.sleep(2 * self._pace_s)
            joined = await self._ask(words, 2)
            told = await asyncio.gather(*streams)
        finally:
            # Where one failed, or the user ended it, nobody hears the others any more.
            for each in streams:
                each.cancel()
            await asyncio.gather(*streams, return_exceptions=True)
        return seen(self.max_num_batched_tokens, told, joined)

    async def _ask(self, words: int, tokens: int) -> Told:
        # Two words that any tokenizer counts alike: runs of one kind have prompts of one length.
        text = " ".join(self.chance.choices("01", k=words))
        body = {
            "messages": [{"role": "user", "content": text}],
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
        }
        sent = self.clock()
        reply = await self.client.ask(body)
        if reply.error is not None:
            raise SimulationError(
                f"The engine did not answer a prompt of {words} words ({reply.error}). Is its "
                "context long enough for what is measured (--prompt-tokens)?"
            )
        return Told(sent, reply)


def seen(max_num_batched_tokens: int, told: Sequence[Told], joined: Told) -> Measured:
    """Return a run: the streams' gaps before a prompt joined, and while it was read.

    The last iteration that reads the prompt is the one that writes its first token, so that gaps
    are counted back from there. A stream that ended before tells nothing of it.
    """
    first = joined.sent + joined.reply.ttft_s
    times = [each.at() for each in told]
    began = max((each[0] for each in times), default=0.0)
    quiet = [
        (later - earlier) * 1000
        for each in times
        for earlier, later in pairwise(each)
        if earlier >= began and later <= joined.sent
    ]
    written = [sum(at <= joined.sent for at in each) for each in times]
    inputs = [each.reply.input_tokens for each in told]
    setting = Setting(
        max_num_batched_tokens=max_num_batched_tokens,
        decodes=len(told),
        # About: runs of one kind shall be one setting.
        decode_context=64 * max(1, round((median(inputs) + median(written)) / 64)) if told else 64,
        prompt_tokens=joined.reply.input_tokens,
    )
    count = len(reading_work(setting))
    slack = median(quiet) / 2000 if quiet else 0.0
    while_read = list[list[float]]()
    for each in times:
        until = [at for at in each if at <= first + slack]
        if len(until) > count and len(until) < len(each):
            last = until[-count - 1 :]
            while_read.append([b - a for a, b in pairwise(last)])
    return Measured(
        setting=setting,
        quiet_ms=tuple(quiet),
        gaps_ms=tuple(median(each) * 1000 for each in zip(*while_read, strict=True)),
        ttft_ms=joined.reply.ttft_s * 1000,
    )
