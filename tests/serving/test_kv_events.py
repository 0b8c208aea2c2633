"""KV events: batches in both encodings, in order or not, and over real ZeroMQ sockets."""

import queue
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import msgspec
import pytest
import zmq

from tests.fakes import KvPublisher
from tierflow.errors import EngineUnreadableError
from tierflow.serving import (
    Cleared,
    Gap,
    KvEndpoint,
    KvEvent,
    KvSubscriber,
    Removed,
    Sequenced,
    Stored,
    events_in,
)

PATIENCE_S = 30.0
TOKENS = tuple(range(32))
STORED = Stored((7, 8), None, TOKENS, 16, ("", ""))
SHAPES = pytest.mark.parametrize("shape", ["array", "map"])


def batch(*events: Any, as_map: bool = False) -> bytes:
    told: Any = {"ts": 0.0, "events": list(events)} if as_map else [0.0, list(events)]
    return msgspec.msgpack.encode(told)


def a_map(**more: Any) -> dict[str, Any]:
    fields = {
        "type": "BlockStored",
        "block_hashes": [7, 8],
        "parent_block_hash": None,
        "token_ids": list(TOKENS),
        "block_size": 16,
        "lora_id": None,
    }
    return fields | more


@pytest.mark.parametrize("as_map", [False, True])
@pytest.mark.parametrize(
    "event", [a_map(), list(a_map().values()), [*a_map().values(), "GPU", None, None, 0]]
)
def test_stored_blocks_are_read_from_arrays_and_from_maps(event: Any, as_map: bool) -> None:
    assert events_in(batch(event, as_map=as_map)) == (STORED,)


def test_all_kinds_are_read_and_unknown_ones_passed_by() -> None:
    events = [
        {"type": "BlockRemoved", "block_hashes": [b"bytes", 8]},
        ["BlockRemoved", [9]],
        {"type": "AllBlocksCleared"},
        ["AllBlocksCleared"],
        {"type": "BlockMoved", "to": "moon"},
    ]

    read = events_in(batch(*events))

    assert read == (Removed((b"bytes", 8)), Removed((9,)), Cleared(), Cleared())


def test_blocks_outside_of_the_first_memory_and_group_say_nothing_of_prefixes() -> None:
    assert events_in(batch(a_map(medium="CPU"), a_map(group_idx=1))) == ()


def test_what_a_hash_covers_beside_tokens_makes_a_salt() -> None:
    (adapted,) = events_in(batch(a_map(lora_name="poet")))
    (pictured,) = events_in(batch(a_map(extra_keys=[None, ["picture", 3]])))

    assert isinstance(adapted, Stored)
    assert adapted.salts == ("['poet']", "['poet']")
    assert isinstance(pictured, Stored)
    assert pictured.salts == ("", "['picture', 3]")


@pytest.mark.parametrize(
    "payload",
    [
        b"\xc1",
        msgspec.msgpack.encode("hello"),
        batch("hello"),
        batch(a_map(token_ids=[1, 2])),
        batch({"block_hashes": []}),
    ],
)
def test_what_is_no_batch_is_unreadable(payload: bytes) -> None:
    with pytest.raises(EngineUnreadableError, match="cannot be read"):
        events_in(payload)


def test_a_gap_is_told_before_what_came_after_it() -> None:
    sequenced = Sequenced()
    assert sequenced.take(0, batch(a_map())) == (STORED,)

    assert sequenced.take(3, batch(a_map())) == (Gap(1, 3), STORED)
    assert sequenced.take(4, batch()) == ()


def test_whoever_comes_late_has_missed_what_was_before() -> None:
    assert Sequenced().take(5, batch(a_map())) == (Gap(0, 5), STORED)


def test_a_number_that_goes_back_is_an_engine_that_started_anew() -> None:
    sequenced = Sequenced()
    sequenced.take(0, batch())
    sequenced.take(1, batch())

    assert sequenced.take(0, batch(a_map())) == (Cleared(), STORED)


def test_what_was_missed_is_replayed_where_all_of_it_is_left() -> None:
    kept = {number: batch(a_map(block_hashes=[number, 99])) for number in range(6)}

    def replay(start: int) -> Sequence[tuple[int, bytes]]:
        return [each for each in kept.items() if each[0] >= start]

    sequenced = Sequenced(replay)
    told = sequenced.take(2, kept[2])
    del kept[3]
    lost = sequenced.take(5, kept[5])

    assert [each.hashes[0] for each in told if isinstance(each, Stored)] == [0, 1, 2]
    assert lost[0] == Gap(3, 5)


@pytest.mark.parametrize(
    ("written", "endpoint"),
    [
        ("tcp://10.0.0.5:5557", KvEndpoint("tcp://10.0.0.5:5557")),
        (
            "tcp://10.0.0.5:5557?replay=5558",
            KvEndpoint("tcp://10.0.0.5:5557", replay="tcp://10.0.0.5:5558"),
        ),
        ("bind+tcp://127.0.0.1:5601", KvEndpoint("tcp://127.0.0.1:5601", binds=True)),
        ("tcp://*:5601", KvEndpoint("tcp://*:5601", binds=True)),
    ],
)
def test_an_endpoint_says_which_side_binds(written: str, endpoint: KvEndpoint) -> None:
    assert KvEndpoint.of(written) == endpoint


class Heard:
    """What a subscriber hears, event by event."""

    def __init__(self) -> None:
        self._events: queue.Queue[tuple[str, KvEvent]] = queue.Queue()

    def __call__(self, replica: str, events: Sequence[KvEvent]) -> None:
        for each in events:
            self._events.put((replica, each))

    def next(self) -> KvEvent:
        return self._events.get(timeout=PATIENCE_S)[1]

    def next_of(self) -> tuple[str, KvEvent]:
        return self._events.get(timeout=PATIENCE_S)


@contextmanager
def listening(**endpoints: str) -> Generator[Heard]:
    heard = Heard()
    named = {replica: KvEndpoint.of(written) for replica, written in endpoints.items()}
    subscriber = KvSubscriber(named, heard)
    try:
        yield heard
    finally:
        subscriber.close()


@SHAPES
def test_events_arrive_over_a_socket(shape: Literal["array", "map"]) -> None:
    with KvPublisher(shape=shape) as engine, listening(a=engine.endpoint) as heard:
        engine.wait_for_listener()
        engine.stored([7, 8], None, list(TOKENS))
        engine.removed([7])
        engine.cleared()

        assert heard.next_of() == ("a", STORED)
        assert heard.next() == Removed((7,))
        assert heard.next() == Cleared()


def test_replicas_are_told_apart() -> None:
    with (
        KvPublisher() as one,
        KvPublisher() as other,
        listening(a=one.endpoint, b=other.endpoint) as heard,
    ):
        one.wait_for_listener()
        other.wait_for_listener()
        other.removed([1])
        assert heard.next_of() == ("b", Removed((1,)))
        one.removed([1])
        assert heard.next_of() == ("a", Removed((1,)))


@SHAPES
def test_a_gap_and_a_restart_are_seen_over_a_socket(shape: Literal["array", "map"]) -> None:
    with KvPublisher(shape=shape) as engine, listening(a=engine.endpoint) as heard:
        engine.wait_for_listener()
        engine.removed([0])
        engine.skip(3)
        engine.removed([1])
        engine.begin_anew()
        engine.removed([2])

        told = [heard.next() for _ in range(5)]

        assert told == [Removed((0,)), Gap(1, 4), Removed((1,)), Cleared(), Removed((2,))]


def test_a_gap_is_closed_from_the_engines_replay_socket() -> None:
    with KvPublisher(keeps=10) as engine, listening(a=engine.endpoint) as heard:
        engine.wait_for_listener()
        engine.lose("BlockRemoved", {"block_hashes": [0], "medium": "GPU"})
        engine.lose("BlockRemoved", {"block_hashes": [1], "medium": "GPU"})
        engine.removed([2])

        assert [heard.next() for _ in range(3)] == [Removed((each,)) for each in range(3)]


def test_an_engine_that_connects_is_bound_for(unused_tcp_port: int) -> None:
    address = f"tcp://127.0.0.1:{unused_tcp_port}"
    with listening(a=f"bind+{address}") as heard, KvPublisher(address) as engine:
        engine.wait_for_listener()
        engine.removed([1])

        assert heard.next() == Removed((1,))


def test_an_endpoint_that_cannot_be_had_is_told_of_and_the_others_are_heard(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as taken, KvPublisher() as engine:
        port = taken.bind_to_random_port("tcp://127.0.0.1")
        endpoints = {"a": f"bind+tcp://127.0.0.1:{port}", "b": engine.endpoint}
        with listening(**endpoints) as heard:
            engine.wait_for_listener()
            engine.removed([1])

            assert heard.next_of() == ("b", Removed((1,)))
    assert "KV events of a cannot be heard" in caplog.text


def test_what_cannot_be_read_is_a_gap(caplog: pytest.LogCaptureFixture) -> None:
    with KvPublisher() as engine, listening(a=engine.endpoint) as heard:
        engine.wait_for_listener()
        engine.publish("BlockStored", {"block_hashes": [1]})

        assert isinstance(heard.next(), Gap)
    assert "cannot be read" in caplog.text
