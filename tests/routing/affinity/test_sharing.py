"""Sharing: what workers tell each other through a store, in a file or on a server."""

import logging
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tierflow.errors import StoreError
from tierflow.routing.affinity import Sent, Sharing
from tierflow.routing.affinity.sharing import KEPT_S
from tierflow.routing.affinity.sql_placements import SqlPlacements

PATIENCE_S = 30.0
ONE = Sent("llama", "http://a/v1", (1, 2**64 - 1))
OTHER = Sent("llama", "http://b/v1", (3,))


class Now:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture(params=["sqlite", "postgres"])
def placements(request: pytest.FixtureRequest, tmp_path: Path, now: Now) -> Iterator[SqlPlacements]:
    where: Path | SecretStr = tmp_path / "placements.db"
    if request.param == "postgres":
        where = SecretStr(request.getfixturevalue("postgres_url"))
    placements = SqlPlacements(where, now)
    yield placements
    placements.close()


def test_others_hear_what_one_sent_once_and_in_order(placements: SqlPlacements) -> None:
    placements.tell("me", [ONE, OTHER])

    last, heard = placements.heard("you", 0)
    assert list(heard) == [ONE, OTHER]
    assert placements.heard("you", last) == (last, [])
    assert placements.heard("me", 0) == (last, [])
    placements.tell("you", [ONE])
    assert list(placements.heard("me", last)[1]) == [ONE]


def test_what_is_old_is_told_no_more(placements: SqlPlacements, now: Now) -> None:
    placements.tell("me", [ONE])
    now.now += KEPT_S + 1
    assert list(placements.heard("you", 0)[1]) == []

    placements.tell("me", [OTHER])

    assert list(placements.heard("you", 0)[1]) == [OTHER]


def test_who_hears_first_makes_no_file(tmp_path: Path) -> None:
    assert SqlPlacements(tmp_path / "placements.db").heard("me", 0) == (0, ())
    assert not list(tmp_path.iterdir())


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_blocks_come_out_of_a_store_as_they_went_in(blocks: list[int]) -> None:
    sent = Sent("llama", "http://a/v1", tuple(blocks))

    assert Sent.of("llama", "http://a/v1", sent.packed()) == sent


def test_two_workers_hear_each_other(placements: SqlPlacements) -> None:
    mine, theirs = list[Sent](), list[Sent]()
    me, you = Sharing(placements, mine.append), Sharing(placements, theirs.append)

    me.sent(ONE)
    you.sent(OTHER)
    me.exchange()
    you.exchange()
    me.exchange()

    assert (mine, theirs) == ([OTHER], [ONE])


def test_the_same_is_not_told_again_within_a_minute(tmp_path: Path, now: Now) -> None:
    placements = SqlPlacements(tmp_path / "placements.db", now)
    heard = list[Sent]()
    me, you = Sharing(placements, heard.append, now), Sharing(placements, heard.append, now)
    for _ in range(3):
        me.sent(ONE)
    me.exchange()
    now.now += 61
    me.sent(ONE)
    me.sent(Sent("llama", "http://a/v1", ()))
    me.exchange()
    you.exchange()
    me.close()

    assert heard == [ONE, ONE]


def test_what_is_left_is_told_at_the_end(tmp_path: Path) -> None:
    placements = SqlPlacements(tmp_path / "placements.db")
    heard = list[Sent]()
    me, you = Sharing(placements, heard.append), Sharing(placements, heard.append)
    me.begin()
    me.sent(ONE)
    me.close()

    you.exchange()
    you.close()

    assert heard == [ONE]


def test_without_the_store_nothing_is_heard_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "placements.db").mkdir()
    sharing = Sharing(SqlPlacements(tmp_path / "placements.db"), lambda _: None)
    sharing.sent(ONE)
    with pytest.raises(StoreError):
        sharing.exchange()
    with caplog.at_level(logging.WARNING):
        sharing.begin()
        ends = monotonic() + PATIENCE_S
        while "do not know" not in caplog.text:
            assert monotonic() < ends
        sharing.close()

    assert caplog.text.count("do not know of each other's prefixes") == 1
