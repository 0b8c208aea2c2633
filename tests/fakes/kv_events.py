"""KV events: a publisher as vLLM's is, with its replay socket. Own wire code, no product's."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType
from typing import Any, Literal, Self

import msgspec
import zmq

from .engine import Events

END = (-1).to_bytes(8, "big", signed=True)


class KvPublisher(Events):
    """Publishes what a cache holds; use it as a context manager.

    endpoint: with a ``*`` it binds, else it connects. shape: how events are written. keeps: how
    many batches can be replayed, by a socket of its own; 0 for none.
    """

    def __init__(
        self,
        endpoint: str = "tcp://127.0.0.1:*",
        *,
        shape: Literal["array", "map"] = "map",
        keeps: int = 0,
        block_tokens: int = 16,
    ) -> None:
        self._endpoint, self._shape, self._block_tokens = endpoint, shape, block_tokens
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=keeps)
        self._replays = keeps > 0
        self._number = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.XPUB_VERBOSER, 1)
        (self._socket.bind if "*" in self._endpoint else self._socket.connect)(self._endpoint)
        self._closing = threading.Event()
        self.replay_port = 0
        if self._replays:
            self._router = self._context.socket(zmq.ROUTER)
            self.replay_port = self._router.bind_to_random_port("tcp://127.0.0.1")
            self._thread = threading.Thread(target=self._replay)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.set()
        if self._replays:
            self._thread.join()
            self._router.close(0)
        self._socket.close(0)
        self._context.term()

    @property
    def endpoint(self) -> str:
        """Where it is heard, as a pool would name it."""
        bound = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        return f"{bound}?replay={self.replay_port}" if self._replays else bound

    def wait_for_listener(self) -> None:
        """Wait until somebody has subscribed: what is published before is lost."""
        assert self._socket.poll(30_000)
        self._socket.recv()

    def stored(self, hashes: list[int], parent: int | None, token_ids: list[int]) -> None:
        given = {
            "block_hashes": hashes,
            "parent_block_hash": parent,
            "token_ids": token_ids,
            "block_size": self._block_tokens,
            "lora_id": None,
            "medium": "GPU",
        }
        self.publish("BlockStored", given)

    def removed(self, hashes: list[int]) -> None:
        self.publish("BlockRemoved", {"block_hashes": hashes, "medium": "GPU"})

    def cleared(self) -> None:
        self.publish("AllBlocksCleared", {})

    def publish(self, kind: str, given: dict[str, Any]) -> None:
        """Send one event as a batch of its own."""
        event: Any = {"type": kind, **given}
        if self._shape == "array":
            event = [kind, *given.values()]
        payload = msgspec.msgpack.encode([0.0, [event], 0])
        with self._lock:
            self._kept.append((self._number, payload))
            number, self._number = self._number, self._number + 1
            self._socket.send_multipart((b"kv", number.to_bytes(8, "big"), payload))

    def skip(self, batches: int = 1) -> None:
        """Lose what would have been published."""
        self._number += batches

    def begin_anew(self) -> None:
        """Count from 0 again, as an engine that was restarted."""
        self._number = 0
        self._kept.clear()

    def lose(self, kind: str, given: dict[str, Any]) -> None:
        """Publish an event that never arrives, and can be replayed."""
        event: Any = {"type": kind, **given} if self._shape == "map" else [kind, *given.values()]
        with self._lock:
            self._kept.append((self._number, msgspec.msgpack.encode([0.0, [event], 0])))
            self._number += 1

    def _replay(self) -> None:
        while not self._closing.is_set():
            if not self._router.poll(20):
                continue
            who, _, start = self._router.recv_multipart()
            with self._lock:
                kept = [each for each in self._kept if each[0] >= int.from_bytes(start, "big")]
            for number, payload in kept:
                frames = (who, b"", b"kv", number.to_bytes(8, "big"), payload)
                self._router.send_multipart(frames)
            self._router.send_multipart((who, b"", b"", END, b""))
