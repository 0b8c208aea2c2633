"""Billing: what real providers charge for a prompt, by their rules of prompt caching. No sockets.

It keeps a real cache of exact token prefixes and is the ground truth of tests and benchmarks: it
knows nothing of tierflow's own planning or prices.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

Json: TypeAlias = dict[str, Any]
Keeps: TypeAlias = Literal["marked", "breakpoints", "automatic"]

BLOCK_TOKENS = 128
LOOKBACK_BLOCKS = 20
SECONDS = {"5m": 300.0, "30m": 1800.0, "1h": 3600.0}

# Words of up to eight letters, single signs and runs of blanks: nearer to real vocabularies than
# a fixed number of characters, and no multiple of what the product assumes.
_TOKEN = re.compile(r"\s?\w{1,8}|\s?[^\w\s]|\s+")


@dataclass(frozen=True)
class Rules:
    """One model's terms. Prices in USD per million input tokens.

    keeps: "marked" (Anthropic's cache_control), "breakpoints" (OpenAI from GPT-5.6 on, which also
    keeps the whole prompt unless told otherwise) or "automatic" (older OpenAI, Gemini).
    """

    keeps: Keeps
    input: float
    read: float
    write: float
    write_1h: float = 0.0
    min_tokens: int = 1024
    ttl_s: float = 300.0


@dataclass(frozen=True)
class Charge:
    """The input tokens of one call by what they cost. `entries`: what it writes."""

    model: str
    fresh: int = 0
    read: int = 0
    write: int = 0
    write_1h: int = 0
    entries: tuple[tuple[str, float], ...] = ()

    @property
    def total(self) -> int:
        return self.fresh + self.read + self.write + self.write_1h


@dataclass(frozen=True)
class Block:
    """One piece of a prompt, in the provider's order. `mark`: how long to keep up to here."""

    text: str
    mark: str | None = None
    ends_message: bool = True


@dataclass
class _Entry:
    ttl_s: float
    until: float


@dataclass
class Tally:
    """The sum of charges of one model."""

    calls: int = 0
    fresh: int = 0
    read: int = 0
    write: int = 0
    write_1h: int = 0

    @property
    def total(self) -> int:
        return self.fresh + self.read + self.write + self.write_1h

    def usd(self, rules: Rules) -> float:
        """The input side of the bill; outputs are not in it."""
        return (
            self.fresh * rules.input
            + self.read * rules.read
            + self.write * rules.write
            + self.write_1h * rules.write_1h
        ) / 1e6


@dataclass
class Billing:
    """Charges calls by each model's rules. Thread-safe. `clock`: monotonic seconds.

    A prefix that is being written can be read only when its writer's first token is out, which
    the server tells with `first_token`: parallel first calls all write.
    """

    rules: Mapping[str, Rules]
    clock: Callable[[], float] = time.monotonic
    _entries: dict[str, _Entry] = field(default_factory=dict[str, _Entry])
    _tallies: dict[str, Tally] = field(default_factory=dict[str, Tally])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def charge(self, model: str, body: Json) -> Charge | None:
        """Bill one request; None for a model without rules."""
        rules = self.rules.get(model)
        if rules is None:
            return None
        blocks, is_implicit = blocks_of(body), False
        if rules.keeps == "breakpoints":
            is_implicit = body.get("prompt_cache_options", {}).get("mode") != "explicit"
        with self._lock:
            if rules.keeps == "automatic":
                charge = self._automatic(model, rules, blocks)
            else:
                charge = self._marked(model, rules, blocks, is_implicit=is_implicit)
            tally = self._tallies.setdefault(model, Tally())
            tally.calls += 1
            tally.fresh += charge.fresh
            tally.read += charge.read
            tally.write += charge.write
            tally.write_1h += charge.write_1h
        return charge

    def first_token(self, charge: Charge) -> None:
        """Make what a call wrote readable."""
        with self._lock:
            for key, ttl_s in charge.entries:
                self._entries[key] = _Entry(ttl_s, self.clock() + ttl_s)

    def tally(self, model: str) -> Tally:
        """What a model was asked so far."""
        with self._lock:
            return Tally(**vars(self._tallies.get(model, Tally())))

    def usd(self, model: str) -> float:
        """The input side of a model's bill so far."""
        return self.tally(model).usd(self.rules[model])

    def reset(self) -> None:
        with self._lock:
            self._entries.clear()
            self._tallies.clear()

    def _marked(
        self, model: str, rules: Rules, blocks: Sequence[Block], *, is_implicit: bool
    ) -> Charge:
        ends = list(_ends(model, blocks))
        total = ends[-1][1] if ends else 0
        marks = [place for place, block in enumerate(blocks) if block.mark][-4:]
        if is_implicit and blocks:
            marks = [*marks[-3:], len(blocks) - 1]
        marks = sorted({place for place in marks if ends[place][1] >= rules.min_tokens})
        looked_at = set[int]()
        for place in marks:
            back = LOOKBACK_BLOCKS if rules.keeps == "marked" else 0
            looked_at |= set(range(max(0, place - back), place + 1))
        if is_implicit:
            looked_at |= {place for place, block in enumerate(blocks) if block.ends_message}
        read = max((ends[place][1] for place in looked_at if self._find(ends[place][0])), default=0)
        written, before = {"5m": 0, "30m": 0, "1h": 0}, read
        entries: list[tuple[str, float]] = []
        for place in marks:
            key, tokens = ends[place]
            if tokens <= read:
                continue
            mark = "30m" if rules.keeps == "breakpoints" else blocks[place].mark or "5m"
            written[mark] += tokens - before
            before = tokens
            entries.append((key, SECONDS[mark]))
        long = written["1h"]
        short = written["5m"] + written["30m"]
        return Charge(model, total - read - short - long, read, short, long, tuple(entries))

    def _automatic(self, model: str, rules: Rules, blocks: Sequence[Block]) -> Charge:
        tokens = [token for block in blocks for token in tokens_of(block.text)]
        digest = hashlib.sha256(model.encode())
        read, entries = 0, list[tuple[str, float]]()
        for end in range(BLOCK_TOKENS, len(tokens) + 1, BLOCK_TOKENS):
            digest.update("\0".join(tokens[end - BLOCK_TOKENS : end]).encode())
            key = digest.hexdigest()
            if end < rules.min_tokens:
                continue
            if self._find(key):
                read = end
            else:
                entries.append((key, rules.ttl_s))
        return Charge(model, len(tokens) - read, read, entries=tuple(entries))

    def _find(self, key: str) -> bool:
        entry, now = self._entries.get(key), self.clock()
        if entry is None or entry.until <= now:
            return False
        entry.until = now + entry.ttl_s
        return True


def tokens_of(text: str) -> list[str]:
    """Cut a text into the tokens that are billed."""
    return _TOKEN.findall(text)


def blocks_of(body: Json) -> list[Block]:
    """A request in the order in which it is cached: schema, tools, system, messages."""
    return [*_head(body), *_system(body), *_messages(body)]


def _ends(model: str, blocks: Sequence[Block]) -> Iterator[tuple[str, int]]:
    """The hash of all up to each block's end, and its tokens."""
    digest, count = hashlib.sha256(model.encode()), 0
    for block in blocks:
        tokens = tokens_of(block.text)
        digest.update(f"{len(tokens)}\0{block.text}\0".encode())
        count += len(tokens)
        yield digest.hexdigest(), count


def _head(body: Json) -> Iterator[Block]:
    for name in ("output_format", "response_format"):
        if name in body:
            yield Block(json.dumps(body[name], sort_keys=True))
    for tool in cast("list[Json]", body.get("tools") or []):
        mark = _mark_of(tool)
        yield Block(json.dumps({**tool, "cache_control": None}, sort_keys=True), mark)


def _system(body: Json) -> Iterator[Block]:
    for name in ("system", "systemInstruction", "system_instruction"):
        if name in body:
            yield from _parts("system", body[name])


def _messages(body: Json) -> Iterator[Block]:
    for message in cast("list[Json]", body.get("messages") or body.get("contents") or []):
        yield from _parts(str(message.get("role")), message)


def _parts(role: str, holder: Any) -> Iterator[Block]:
    content: Any = holder
    if isinstance(holder, dict):
        held = cast(Json, holder)
        content = held.get("content", held.get("parts"))
    if isinstance(content, str):
        content = [{"text": content}]
    parts = cast("list[Json]", content or [])
    for place, part in enumerate(parts):
        text = f"{role}: {part.get('text', '')}" if not place else str(part.get("text", ""))
        yield Block(text, _mark_of(part), ends_message=place == len(parts) - 1)


def _mark_of(part: Json) -> str | None:
    control: Json | None = part.get("cache_control")
    if control is not None:
        return str(control.get("ttl", "5m"))
    return "30m" if part.get("prompt_cache_breakpoint") else None
