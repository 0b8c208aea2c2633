"""Flights: who asks, who waits, and how a flight ends for those who wait."""

import asyncio
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import suppress
from typing import Any

import pytest

from tests.caching.answers import key_of
from tierflow.caching import Flights
from tierflow.errors import AllDeploymentsFailedError

KEY, OTHER = key_of("one"), key_of("other")


def follower_of(flights: Flights) -> Future[Any]:
    flight = flights.board(KEY)
    assert flight is not None
    return flight.ended


def test_the_first_to_board_leads_and_the_others_wait_for_the_same_flight() -> None:
    flights = Flights()
    assert flights.board(KEY) is None
    assert follower_of(flights) is follower_of(flights)


def test_another_key_is_another_flight() -> None:
    flights = Flights()
    assert flights.board(KEY) is None
    assert flights.board(OTHER) is None


def test_followers_wake_when_the_leader_is_done() -> None:
    flights = Flights()
    flights.board(KEY)
    with flights.leading(KEY):
        follower = follower_of(flights)
        assert not follower.done()
    assert follower.result(0) is None


def test_followers_get_the_leaders_error() -> None:
    flights = Flights()
    flights.board(KEY)
    follower, fault = follower_of(flights), AllDeploymentsFailedError("no answer", [])
    with pytest.raises(AllDeploymentsFailedError, match="no answer"), flights.leading(KEY):
        raise fault
    assert follower.exception(0) is fault


# A ValueError stands for what the leader's own callbacks raise: no follower has those.
@pytest.mark.parametrize(
    "leaving", [KeyboardInterrupt, asyncio.CancelledError, SystemExit, ValueError]
)
def test_followers_of_a_leader_that_was_stopped_are_told_to_look_again(
    leaving: type[BaseException],
) -> None:
    flights = Flights()
    flights.board(KEY)
    follower = follower_of(flights)
    with pytest.raises(leaving), flights.leading(KEY):
        raise leaving
    assert follower.result(0) is None


@pytest.mark.parametrize("fault", [None, ValueError, KeyboardInterrupt])
def test_after_a_flight_the_next_one_leads_again(fault: type[BaseException] | None) -> None:
    flights = Flights()
    for _ in range(2):
        assert flights.board(KEY) is None
        with suppress(ValueError, KeyboardInterrupt), flights.leading(KEY):
            if fault:
                raise fault


def test_a_follower_that_gives_up_does_not_end_the_flight_for_the_others() -> None:
    flights = Flights()
    flights.board(KEY)

    async def give_up() -> None:
        waiting = asyncio.ensure_future(asyncio.wrap_future(follower_of(flights)))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])

    with flights.leading(KEY):
        asyncio.run(give_up())
        other = follower_of(flights)
        assert not other.done()
    assert wait_for([other], timeout=0).done == {other}
    assert other.result() is None
