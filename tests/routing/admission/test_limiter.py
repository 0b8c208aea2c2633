"""The limiter on a clock of its own: what it lets go, against deployments that bear so much."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.request import Usage
from tierflow.routing.admission import Limiter, Sample
from tierflow.routing.admission.limiter import FIRST

from .simulated import Deployment, Run, always


def test_a_provider_that_takes_all_is_soon_sent_as_many_as_the_settings_allow() -> None:
    run = Run(Limiter(64), Deployment()).until(60)
    assert max(limit for _, limit in run.limits) == 64


@pytest.mark.parametrize("room", [1, 2, 4, 10, 20])
def test_a_provider_with_room_for_so_many_is_sent_as_many(room: int) -> None:
    run = Run(Limiter(64), Deployment(room=always(room))).until(300)
    assert 0.7 * room <= run.mean_limit(60) <= room + 1
    # A refusal every half minute is the price of knowing whether there is more room by now.
    assert run.refusals < 30
    assert run.crowded == run.refusals


def test_what_was_cut_comes_back_when_there_is_room_again() -> None:
    deployment = Deployment(room=lambda now: 3 if now < 100 else 30)
    run = Run(Limiter(64), deployment).until(100)
    assert run.mean_limit(50) <= 4
    assert run.until(400).mean_limit(350) >= 20


def test_calls_sent_together_and_refused_together_cut_once() -> None:
    limiter = Limiter(64)
    for under_way in range(FIRST, 6, -1):
        assert limiter.refused(1.0, 0.0, under_way)
    assert limiter.places == math.floor(0.7 * FIRST)


@pytest.mark.parametrize("bears", [12, 24])
def test_it_stops_where_more_at_once_bring_no_more(bears: int) -> None:
    def replies(most: int, seed: int) -> tuple[int, float]:
        deployment = Deployment(saturated_at=bears, rng=random.Random(seed))
        run = Run(Limiter(most), deployment).until(400)
        return run.replies, run.mean_limit(60)

    found = [replies(256, seed) for seed in range(3)]
    # As much comes out as with exactly as many as it bears, and few of 256 places are used for it.
    assert all(count >= 0.75 * replies(bears, 0)[0] for count, _ in found)
    assert all(limit <= 4 * bears for _, limit in found)


def test_it_cuts_when_replies_stay_longer_than_is_usual_at_as_many() -> None:
    deployment = Deployment(slower=lambda now: 4.0 if 200 < now < 300 else 1.0)
    run = Run(Limiter(64), deployment).until(200)
    assert run.mean_limit(100) > 50
    run.until(300)
    assert min(limit for at, limit in run.limits if at > 200) < 32


def test_longer_replies_are_no_sign_of_too_many() -> None:
    limiter, now = Limiter(16), 0.0
    for tokens in [10] * 100 + [400] * 100 + [3] * 100:
        took_s = 0.5 + 0.02 * tokens
        now += took_s / 16
        sample = Sample("step", 16, took_s, Usage(100, tokens))
        limiter.replied(now, now - took_s, limiter.places, sample)
    assert limiter.places == 16


def test_what_is_slow_for_one_step_is_usual_for_another() -> None:
    limiter, now = Limiter(16), 0.0
    for call in range(400):
        step, took_s = ("page", 20.0) if call % 7 == 0 else ("word", 0.2)
        now += 0.3
        sample = Sample(step, 16, took_s, Usage(100, 10))
        limiter.replied(now, now - took_s, limiter.places, sample)
    assert limiter.places == 16


def test_a_limit_that_nobody_uses_is_not_raised() -> None:
    limiter = Limiter(64)
    for now in range(100):
        limiter.replied(float(now), now - 0.5, 2)
    assert limiter.places == FIRST


def test_timeouts_and_overload_cut() -> None:
    limiter = Limiter(64)
    limiter.strained(1.0, 0.5)
    limiter.strained(1.1, 0.6)
    assert limiter.places == 5
    limiter.strained(3.0, 2.0)
    assert limiter.places == 3


class TestTheEnginesQueue:
    """What waits in the engine itself need not be sent yet."""

    def test_a_queue_that_stands_takes_the_limit_down_to_what_runs(self) -> None:
        limiter = Limiter(64)
        for _ in range(24):
            limiter.replied(1.0, 0.0, limiter.places)
        assert limiter.places == 32
        limiter.queued(2.0, 12, 32)
        limiter.queued(3.0, 12, 32)
        assert limiter.places == 20
        # Until calls sent since then have replied, the queue says nothing new.
        limiter.queued(4.0, 12, 32)
        assert limiter.places == 20

    def test_a_queue_of_a_moment_says_nothing(self) -> None:
        limiter = Limiter(64)
        for now, waiting in enumerate([5, 0, 7, 0, 3, 0]):
            limiter.queued(float(now), waiting, 8)
        assert limiter.places == FIRST

    def test_a_queue_of_others_takes_half_of_it_at_a_time(self) -> None:
        limiter = Limiter(64)
        limiter.queued(1.0, 100, 8)
        limiter.queued(2.0, 100, 8)
        assert limiter.places == FIRST // 2


class TestAlone:
    """A call that was alone and refused met no crowd of ours."""

    def test_it_was_crowded_where_others_were_answered_a_moment_ago(self) -> None:
        limiter = Limiter(8)
        limiter.replied(0.0, 0.0, 1)
        assert limiter.refused(50.0, 49.0, 1)
        assert not limiter.refused(70.0, 69.0, 1)

    def test_nobody_is_sent_for_longer_and_longer(self) -> None:
        limiter, now, holds = Limiter(8), 0.0, list[float]()
        for _ in range(8):
            limiter.refused(now, now, 1)
            holds.append(limiter.hold_s(now))
            now += holds[-1]
            assert limiter.hold_s(now) == 0
        assert holds == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
        limiter.replied(now, now, 1)
        limiter.refused(now, now, 1)
        assert limiter.hold_s(now) == pytest.approx(0.1)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["replied", "refused", "strained", "queued"]),
        st.floats(0, 10),
        st.floats(0.001, 1000),
        st.integers(0, 1000),
    ),
    max_size=300,
)


@given(EVENTS, st.integers(1, 50))
def test_whatever_happens_there_is_a_place_and_never_more_than_the_most(
    events: list[tuple[str, float, float, int]], most: int
) -> None:
    limiter, now = Limiter(most), 0.0
    for what, later, took_s, tokens in events:
        now += later
        under_way = limiter.places
        match what:
            case "replied":
                sample = Sample("step", under_way, took_s, Usage(tokens, tokens))
                limiter.replied(now, now - took_s, under_way, sample)
            case "refused":
                limiter.refused(now, now - took_s, under_way)
            case "strained":
                limiter.strained(now, now - took_s)
            case _:
                limiter.queued(now, tokens, under_way)
        assert 1 <= limiter.places <= most
        assert 0 <= limiter.hold_s(now) <= 5
