"""KV subscriber: hears the KV events of a pool's replicas, in one thread. Decides nothing."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ..errors import EngineUnreadableError
from ..settings import shown_url
from .kv_events import NEEDED, Gap, KvEvent, Sequenced

_LOG = logging.getLogger("tierflow")
_REPLAY_MS = 2_000
_END = (-1).to_bytes(8, "big", signed=True)


@dataclass(frozen=True, slots=True)
class KvEndpoint:
    """Where one replica's events are heard.

    `binds`: the engine connects, so this side binds. `replay`: of the engine's replay_endpoint,
    empty for none.
    """

    address: str
    binds: bool = False
    replay: str = ""

    @classmethod
    def of(cls, written: str) -> "KvEndpoint":
        """Read what stands in `kv_events` of a pool.

        vLLM binds where its endpoint has a `*` (`tcp://*:5557`): write `tcp://host:5557`. It
        connects where it has none: write `bind+tcp://127.0.0.1:5601`, which one process of a
        machine can do. `?replay=5558` names the port of its replay_endpoint.
        """
        parts = urlsplit(written)
        port = parse_qs(parts.query).get("replay", [""])[0]
        return cls(
            f"tcp://{parts.netloc}",
            binds=parts.scheme == "bind+tcp" or "*" in parts.netloc,
            replay=f"tcp://{parts.netloc.rpartition(':')[0]}:{port}" if port else "",
        )


class KvSubscriber:
    """Hears replicas until it is closed.

    `endpoints`: by replica. `hear`: is given a replica and what it told, in that thread; it must
    not block for long. Raises ImportError without pyzmq and msgspec.
    """

    def __init__(
        self,
        endpoints: Mapping[str, KvEndpoint],
        hear: Callable[[str, Sequence[KvEvent]], None],
    ) -> None:
        try:
            import zmq  # noqa: PLC0415  # the extra's
        except ImportError as exc:
            raise ImportError(NEEDED) from exc
        if find_spec("msgspec") is None:
            raise ImportError(NEEDED)
        self._zmq: Any = zmq
        self._endpoints, self._hear = endpoints, hear
        self._context: Any = zmq.Context()
        # Only this pair of sockets wakes the thread from outside.
        self._bell: Any = self._context.socket(zmq.PAIR)
        self._bell.bind("inproc://close")
        self._thread = threading.Thread(target=self._run, name="tierflow-kv-events", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hear no more."""
        if self._thread.is_alive():
            self._bell.send(b"")
            self._thread.join()
        self._bell.close(0)
        self._context.term()

    def _run(self) -> None:
        zmq = self._zmq
        closing = self._context.socket(zmq.PAIR)
        closing.connect("inproc://close")
        poller = zmq.Poller()
        poller.register(closing, zmq.POLLIN)
        heard: dict[Any, tuple[str, Sequenced]] = {}
        for replica, endpoint in self._endpoints.items():
            if (socket := self._open(replica, endpoint)) is not None:
                poller.register(socket, zmq.POLLIN)
                replay = partial(self._replayed, endpoint.replay) if endpoint.replay else None
                heard[socket] = replica, Sequenced(replay)
        try:
            while closing not in (ready := dict(poller.poll())):
                for socket in ready:
                    self._take(socket, *heard[socket])
        finally:
            for socket in (*heard, closing):
                socket.close(0)

    def _open(self, replica: str, endpoint: KvEndpoint) -> Any:
        zmq = self._zmq
        socket = self._context.socket(zmq.SUB)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        # As many as vLLM's own: what is dropped is a gap.
        socket.setsockopt(zmq.RCVHWM, 100_000)
        try:
            (socket.bind if endpoint.binds else socket.connect)(endpoint.address)
        except zmq.ZMQError as exc:
            socket.close(0)
            _LOG.warning(
                "KV events of %s cannot be heard at %s (%s). Its cache is guessed from what is "
                "sent. Does another process have that port?",
                shown_url(replica),
                endpoint.address,
                exc.strerror,
            )
            return None
        return socket

    def _take(self, socket: Any, replica: str, sequenced: Sequenced) -> None:
        frames: list[bytes] = socket.recv_multipart()
        if len(frames) < 2:
            return
        number = int.from_bytes(frames[-2], "big")
        try:
            self._hear(replica, sequenced.take(number, frames[-1]))
        except (
            EngineUnreadableError,
            ValueError,
            TypeError,
            LookupError,
            self._zmq.ZMQError,
        ) as exc:
            # One engine's nonsense is no reason to hear the others no more.
            said = exc if isinstance(exc, EngineUnreadableError) else type(exc).__name__
            _LOG.warning("%s: KV events cannot be read: %s", shown_url(replica), said)
            self._hear(replica, (Gap(number, number),))

    def _replayed(self, address: str, number: int) -> Sequence[tuple[int, bytes]]:
        """Return the batches that an engine still has from a number on; what came in time."""
        zmq, batches = self._zmq, list[tuple[int, bytes]]()
        with self._context.socket(zmq.DEALER) as asking:
            asking.setsockopt(zmq.LINGER, 0)
            asking.connect(address)
            asking.send_multipart((b"", number.to_bytes(8, "big")))
            while asking.poll(_REPLAY_MS):
                # The topic before the number is there since 0.2x.
                *_, came, payload = asking.recv_multipart()
                if came == _END:
                    break
                batches.append((int.from_bytes(came, "big"), payload))
        return batches
