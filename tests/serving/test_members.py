"""Members: who serves a pool, by a list or by a name, watched over real sockets."""

import socket
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from time import monotonic

import pytest

from tests.fakes import FakeEngine, FakeProvider, Load
from tierflow.pools import Pool
from tierflow.serving import EngineSignals, Seen, Watcher, addresses

PATIENCE_S = 30.0


class Watched:
    """What a watcher told last."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.members: tuple[str, ...] = ()
        self.seen: tuple[Seen, ...] = ()

    def found(self, members: Sequence[str]) -> None:
        with self._changed:
            self.members = tuple(members)
            self._changed.notify_all()

    def heard(self, seen: Sequence[Seen]) -> None:
        with self._changed:
            self.seen = tuple(seen)
            self._changed.notify_all()

    def wait_until(self, holds: Callable[["Watched"], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: holds(self), PATIENCE_S), (
                self.members,
                self.seen,
            )


@contextmanager
def watching(
    pool: Pool, resolve: Callable[[str, int], Sequence[str]] | None = None
) -> Generator[tuple[Watched, Watcher]]:
    watched = Watched()
    watcher = Watcher(pool, watched.found, watched.heard, resolve)
    try:
        yield watched, watcher
    finally:
        watcher.close()


def test_replicas_say_how_busy_they_are(provider: FakeProvider) -> None:
    provider.set_loads(Load(running=3, waiting=2, kv_cache_usage=0.25, hits=30, queries=40))
    with watching(Pool(replicas=(provider.base_url,))) as (watched, _):
        watched.wait_until(lambda each: bool(each.seen))

    signals = EngineSignals(3, 2, 0.25, hit_rate=0.75)
    assert watched.members == (provider.base_url,)
    assert watched.seen == (Seen(provider.base_url, is_up=True, signals=signals),)


def test_a_replica_without_the_page_is_up_and_unheard() -> None:
    with (
        FakeEngine(has_pages=False) as engine,
        watching(Pool(replicas=(engine.base_url,))) as (watched, _),
    ):
        watched.wait_until(lambda each: bool(each.seen))

        assert watched.seen == (Seen(engine.base_url, is_up=True),)


def test_a_host_that_takes_no_connection_in_time_is_down() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as waiting:
        for _ in range(4):
            # Nobody accepts them, so that the next gets no answer at all, as from a dead host.
            each = waiting.enter_context(socket.socket())
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        replica = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        with watching(Pool(replicas=(replica,))) as (watched, _):
            watched.wait_until(lambda each: bool(each.seen))

    assert watched.seen == (Seen(replica, is_up=False),)


def test_one_that_dies_is_seen_to_be_down_and_up_again_when_it_is_back() -> None:
    with FakeEngine() as engine:
        pool = Pool(replicas=(engine.base_url,), poll_s=3600)
        with watching(pool) as (watched, watcher):
            watched.wait_until(lambda each: bool(each.seen) and each.seen[0].is_up)
            engine.die()
            watcher.look()
            watched.wait_until(lambda each: not each.seen[0].is_up)
            engine.start()
            watcher.look()
            watched.wait_until(lambda each: each.seen[0].is_up)


def test_a_name_is_resolved_again_and_again(
    provider: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[list[str] | None] = [["127.0.0.1", "127.0.0.2", "127.0.0.1"], None, ["127.0.0.2"]]
    asked: list[tuple[str, int]] = []

    def resolve(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if found is None:
            raise socket.gaierror("no such host")
        return found

    port = provider.base_url.rpartition(":")[2]
    with watching(Pool(dns=f"http://engines:{port}", poll_s=0.01), resolve) as (watched, watcher):
        watched.wait_until(lambda each: len(each.members) == 1)
        assert watcher.found.is_set()

    assert watched.members == (f"http://127.0.0.2:{port}",)
    assert asked[0] == ("engines", int(port.partition("/")[0]))
    assert caplog.text.count("has no address now") == 1


def test_a_name_is_resolved_by_the_system_unless_told_otherwise(provider: FakeProvider) -> None:
    port = provider.base_url.rpartition(":")[2]
    with watching(Pool(dns=f"http://localhost:{port}")) as (watched, _):
        watched.wait_until(lambda each: bool(each.members))

    assert f"http://127.0.0.1:{port}" in watched.members


def test_addresses_take_the_place_of_the_host() -> None:
    found = ["10.0.0.2", "10.0.0.1", "fd00::1"]

    assert addresses("http://engines:8000/v1", found) == (
        "http://10.0.0.1:8000/v1",
        "http://10.0.0.2:8000/v1",
        "http://[fd00::1]:8000/v1",
    )


def test_closing_does_not_wait_for_the_next_look(provider: FakeProvider) -> None:
    began = monotonic()
    with watching(Pool(replicas=(provider.base_url,), poll_s=3600)):
        pass
    assert monotonic() - began < PATIENCE_S
