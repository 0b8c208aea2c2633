"""Engine: a replica with a real prefix cache behind a socket; it can die and come back.

It keeps whole blocks of tokens, forgets those that were not read for longest, and tells of it as
vLLM does: in usage, on ``/metrics`` and by KV events. Its tokens are four characters each.
"""

from __future__ import annotations

import hashlib
import json
import threading
import zlib
from collections import OrderedDict
from types import TracebackType
from typing import Any, Protocol, Self

from .ledger import Recorded
from .provider import FakeProvider
from .steps import Say, Step
from .wire import Load

MODEL = "llama"


class Events(Protocol):
    """Who is told what the cache holds."""

    def stored(self, hashes: list[int], parent: int | None, token_ids: list[int]) -> None: ...

    def removed(self, hashes: list[int]) -> None: ...


def token_ids(messages: Any) -> list[int]:
    """What the engine reads for messages: equal beginnings are equal."""
    text = "".join(f"{each['role']}\n{each['content']}\n" for each in messages)
    pieces = (text[at : at + 4] for at in range(0, len(text), 4))
    return [zlib.crc32(piece.encode()) & 0x7FFFFFFF for piece in pieces]


def all_ids(body: dict[str, Any]) -> list[int]:
    """What it reads for a request: its template writes tools, and its own options, first."""
    first = {name: body[name] for name in ("tools", "chat_template_kwargs") if body.get(name)}
    written = [{"role": "tools", "content": json.dumps(first, sort_keys=True)}] if first else []
    return token_ids([*written, *body["messages"]])


class PrefixCache:
    """Blocks of tokens, each named by all tokens up to its end. Thread-safe."""

    def __init__(self, blocks: int, block_tokens: int, events: Events | None = None) -> None:
        self.block_tokens = block_tokens
        self._most, self._events = blocks, events
        self._held: OrderedDict[int, None] = OrderedDict()
        self._lock = threading.Lock()
        self.hits = self.queries = 0

    def read(self, tokens: list[int]) -> int:
        """Read a prompt. How many of its tokens were held."""
        size = self.block_tokens
        chain = self._chain(tokens)
        with self._lock:
            held = 0
            while held < len(chain) and chain[held] in self._held:
                held += 1
            # The last token is read in any case.
            cached = min(held, max(0, len(tokens) - 1) // size) * size
            new = chain[held:]
            # The begin of a prompt outlives its end.
            for each in reversed(chain):
                self._held[each] = None
                self._held.move_to_end(each)
            gone: list[int] = []
            while len(self._held) > self._most:
                gone.append(self._held.popitem(last=False)[0])
            self.hits += cached
            self.queries += len(tokens)
            if self._events is not None and new:
                parent = chain[held - 1] if held else None
                self._events.stored(new, parent, tokens[held * size : len(chain) * size])
            if self._events is not None and gone:
                self._events.removed(gone)
        return cached

    def _chain(self, tokens: list[int]) -> list[int]:
        size, above, found = self.block_tokens, b"", list[int]()
        for at in range(0, len(tokens) - size + 1, size):
            block = repr(tokens[at : at + size]).encode()
            above = hashlib.sha256(above + block).digest()
            found.append(int.from_bytes(above[:8], "big"))
        return found


class FakeEngine:
    """One replica; use it as a context manager.

    blocks: how many its cache holds, of block_tokens tokens each. read_s: for each token that it
    must read anew. tells: it says in usage what was cached. has_pages: it has /metrics and
    /tokenize. events: who hears of its cache.
    """

    def __init__(
        self,
        *,
        blocks: int = 4096,
        block_tokens: int = 16,
        read_s: float = 0.0,
        tells: bool = True,
        has_pages: bool = True,
        events: Events | None = None,
        text: str = "fine",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._blocks, self._block_tokens, self._read_s = blocks, block_tokens, read_s
        self._tells, self._has_pages, self._events, self._text = tells, has_pages, events, text
        self._host, self._port = host, port
        self._provider: FakeProvider | None = None
        self._replies: list[Step] = []
        self.calls: list[Recorded] = []
        """Of its former lives; see all_calls."""
        self.tokenized: list[dict[str, Any]] = []
        """What its /tokenize was asked in all its lives."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.die()

    def start(self) -> None:
        """Serve, with an empty cache, on the port of the last time."""
        self.cache = PrefixCache(self._blocks, self._block_tokens, self._events)
        pages = self._tokenize if self._has_pages else None
        provider = FakeProvider(
            default=self._step, port=self._port, token_ids=pages, host=self._host
        )
        self._provider = provider.__enter__()
        self._port = int(provider.root_url.rpartition(":")[2])
        self._load()

    def die(self) -> None:
        """Serve no more; what is under way breaks off."""
        if self._provider is not None:
            self.calls += self._provider.calls
            self._provider.__exit__(None, None, None)
            self._provider = None

    def next(self, *steps: Step) -> None:
        """Play these for the next calls."""
        self._replies += steps

    @property
    def base_url(self) -> str:
        """Its api_base; it stays the same over restarts."""
        return f"http://{self._host}:{self._port}/v1"

    @property
    def all_calls(self) -> list[Recorded]:
        """What it was asked in all its lives."""
        return [*self.calls, *(self._provider.calls if self._provider is not None else ())]

    @property
    def hit_rate(self) -> float:
        """The share of prompt tokens that were cached in this life."""
        return self.cache.hits / self.cache.queries if self.cache.queries else 0.0

    def _step(self, body: dict[str, Any]) -> Step:
        if self._replies:
            return self._replies.pop(0)
        tokens = all_ids(body)
        cached = self.cache.read(tokens)
        self._load()
        return Say(
            self._text,
            input_tokens=len(tokens),
            cached_tokens=cached if self._tells else 0,
            delay_s=self._read_s * (len(tokens) - cached),
        )

    def _tokenize(self, body: dict[str, Any]) -> list[int]:
        self.tokenized.append(body)
        return all_ids(body)

    def _load(self) -> None:
        if self._provider is not None:
            load = Load(model=MODEL, hits=self.cache.hits, queries=self.cache.queries)
            self._provider.set_loads(*([load] if self._has_pages else []))
