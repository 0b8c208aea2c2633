"""Members: who serves a pool now, and how busy they say they are. Watches; decides nothing."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ..errors import EngineUnreadableError
from ..pools import Pool
from ..settings import shown_url
from .signals import EngineSignals, metrics_url, signals_in

_LOG = logging.getLogger("tierflow")
_TIMEOUT_S = 2.0
_AT_ONCE = 32
"""So many pages are read at the same time."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A replica as it was seen. `is_up`: something takes connections. `signals`: None if unheard.

    `at`: when it was asked, on the monotonic clock.
    """

    replica: str
    is_up: bool
    signals: EngineSignals | None = None
    at: float = field(default=0.0, compare=False)


def addresses(url: str, found: Sequence[str]) -> tuple[str, ...]:
    """Return a URL once for each address of its host, sorted."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    hosts = (f"[{each}]" if ":" in each else each for each in sorted(set(found)))
    return tuple(urlunsplit((parts.scheme, f"{host}{port}", *parts[2:])) for host in hosts)


class Watcher:
    """Watches a pool's replicas in a thread of its own, until it is closed.

    `members`: is given all that there are, whenever that changes. `heard`: is given what was seen,
    every `poll_s` seconds. Both are called in that thread. `resolve`: addresses of a host and port.
    """

    def __init__(
        self,
        pool: Pool,
        members: Callable[[Sequence[str]], None],
        heard: Callable[[Sequence[Seen]], None],
        resolve: Callable[[str, int], Sequence[str]] | None = None,
    ) -> None:
        self._pool, self._members, self._heard = pool, members, heard
        self._resolve = resolve
        self._known: tuple[str, ...] = pool.replicas
        self._loop = asyncio.new_event_loop()
        self._wake = asyncio.Event()
        self._is_closing = False
        self._is_lost = False
        self.found = threading.Event()
        """Set once it is known who there is."""
        self._thread = threading.Thread(target=self._run, name="tierflow-pool", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Look now: somebody failed, perhaps."""
        with suppress(RuntimeError):  # it has just ended
            self._loop.call_soon_threadsafe(self._wake.set)

    def close(self) -> None:
        """Watch no more."""
        if not self._is_closing:
            self._is_closing = True
            self.look()
            self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._watch())
        finally:
            self.found.set()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def _watch(self) -> None:
        async with _client() as client:
            while not self._is_closing:
                self._wake.clear()
                await self._find()
                self.found.set()
                self._heard(await asyncio.gather(*(_see(client, each) for each in self._known)))
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pool.poll_s):
                        await self._wake.wait()

    async def _find(self) -> None:
        try:
            self._known = await find(self._pool, self._resolve)
        except (OSError, ValueError) as exc:
            # Whoever was there before may be there still.
            if not self._is_lost:
                self._is_lost = True
                shown = shown_url(self._pool.dns or "")
                _LOG.warning("The host of %s has no address now (%s).", shown, type(exc).__name__)
            return
        self._is_lost = False
        self._members(self._known)


async def find(
    pool: Pool, resolve: Callable[[str, int], Sequence[str]] | None = None
) -> tuple[str, ...]:
    """Return the api_bases of a pool's replicas. Raises OSError where its host has no address."""
    if pool.dns is None:
        return pool.replicas
    parts = urlsplit(pool.dns)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if resolve is not None:
        return addresses(pool.dns, resolve(host, port))
    loop = asyncio.get_running_loop()
    rows = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return addresses(pool.dns, [str(row[4][0]) for row in rows])


async def see(replicas: Sequence[str]) -> list[Seen]:
    """Return how replicas do, in their order."""
    async with _client() as client:
        return await asyncio.gather(*(_see(client, each) for each in replicas))


def _client() -> Any:
    import httpx  # noqa: PLC0415  # comes with litellm; only for pools

    limits = httpx.Limits(max_connections=_AT_ONCE)
    # A proxy's page about a replica that is down would say that it is up.
    return httpx.AsyncClient(timeout=_TIMEOUT_S, limits=limits, trust_env=False)


async def _see(client: Any, replica: str) -> Seen:
    import httpx  # noqa: PLC0415  # loaded by now

    url, at = metrics_url(replica), time.monotonic()
    try:
        answer: Any = await client.get(url)
    except (httpx.ConnectError, httpx.ConnectTimeout):
        # Connections are taken by the system: it is not the engine that is too busy for them.
        return Seen(replica, is_up=False)
    except (httpx.HTTPError, httpx.InvalidURL):
        # It may be too busy to say so.
        return Seen(replica, is_up=True)
    if answer.is_error:
        return Seen(replica, is_up=True)
    try:
        return Seen(replica, is_up=True, signals=signals_in(answer.text, shown_url(url)), at=at)
    except (EngineUnreadableError, ValueError, LookupError):
        return Seen(replica, is_up=True)
