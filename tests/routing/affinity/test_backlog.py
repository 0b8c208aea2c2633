"""Backlog: guessed from what was sent, put right by what was heard, first tokens or ends."""

import random
from bisect import bisect_right
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.routing.affinity import Backlog, Pace


def known(tokens_per_s: float = 1000) -> Pace:
    pace = Pace()
    pace.seen(1e6 * tokens_per_s, 1e6)
    return pace


def backlog(now: float = 0) -> Backlog:
    return Backlog(known(), now)


def test_what_was_sent_is_read_at_the_pace() -> None:
    it = backlog()
    it.sent(1, 2000, 0)
    it.sent(2, 1000, 1)
    assert it.done_at == pytest.approx(3, abs=0.01)
    it.sent(3, 1000, 10)
    assert it.done_at == pytest.approx(11, abs=0.01)


def test_hearing_that_nothing_waits_leaves_one_request_at_most() -> None:
    it = backlog()
    for ticket in range(5):
        it.sent(ticket, 2000, 0)
    it.heard(0, 1)
    assert it.done_at == pytest.approx(3, abs=0.05)


def test_hearing_of_the_past_leaves_what_was_sent_since() -> None:
    it = backlog()
    it.sent(1, 5000, 0)
    it.sent(2, 5000, 2)
    it.heard(0, 1)
    assert it.done_at == pytest.approx(10, abs=0.05)


def test_requests_that_wait_longer_than_thought_are_counted_again() -> None:
    it = backlog()
    for ticket in range(4):
        it.sent(ticket, 1000, 0)
    it.heard(3, 10)
    assert it.done_at >= 12


def test_what_others_sent_counts_like_ours() -> None:
    it = backlog()
    it.sent(1, 1000, 0)
    it.heard(4, 0.5)
    assert it.done_at == pytest.approx(0.5 + 4, abs=0.05)


def test_what_others_sent_before_a_request_is_read_when_its_first_token_comes() -> None:
    it = backlog()
    it.sent(1, 1000, 0)
    it.heard(9, 0.5)
    it.sent(2, 1000, 1)
    it.began(1, 2)
    assert it.done_at > 8
    it.began(2, 3)
    assert it.done_at <= 3


def test_older_news_than_the_last_changes_nothing() -> None:
    it = backlog()
    it.sent(1, 1000, 0)
    it.heard(0, 2)
    it.heard(50, 1)
    assert it.done_at <= 2


def test_ends_alone_keep_it_right() -> None:
    it = backlog()
    for ticket in range(3):
        it.sent(ticket, 1000, 0)
    it.ended(0, 0.5)
    it.ended(1, 0.6)
    assert it.done_at == pytest.approx(1.6, abs=0.01)
    it.failed(2, 0.7)
    assert it.done_at <= 0.7


def test_a_replica_that_came_to_a_stop_is_not_thought_idle() -> None:
    it = backlog()
    for ticket in range(3):
        it.sent(ticket, 1000, 0)
    it.began(0, 1)
    it.sent(3, 1000, 100)
    assert it.done_at == pytest.approx(102, abs=0.05)


def test_the_pace_is_learned_from_ends() -> None:
    pace = Pace()
    it = Backlog(Pace(pace), 0)
    for ticket in range(200):
        it.sent(ticket, 1000, ticket)
        it.ended(ticket, ticket + 0.5)
    assert pace.per_s == pytest.approx(2000, rel=0.05)


@pytest.mark.parametrize("true_pace", [300.0, 3_000.0, 30_000.0])
def test_the_backlog_is_close_from_delayed_metrics_alone(true_pace: float) -> None:
    drawn = random.Random(0)
    it = Backlog(Pace(), 0)
    now, free_at, polls = 0.0, 0.0, 0
    starts, errors = deque[tuple[float, float]](), list[float]()
    for ticket in range(1500):
        tokens = drawn.uniform(100, 2000)
        now += drawn.expovariate(0.8 * true_pace / 1050)
        while polls * 0.5 <= now:
            at = polls * 0.5 - 0.3
            it.heard(sum(1 for sent, start in starts if sent <= at < start), at)
            polls += 1
        starts.append((now, max(now, free_at)))
        if bisect_right(starts, now, key=lambda each: each[1]) > 200:
            starts.popleft()
        it.sent(ticket, tokens, now)
        free_at = max(now, free_at) + tokens / true_pace
        if ticket > 500:
            errors.append(abs(it.done_at - free_at))
    assert sum(errors) / len(errors) < 0.5 * 1050 / true_pace + 0.3


events = st.one_of(
    st.tuples(st.just("sent"), st.integers(1, 9)),
    st.tuples(st.sampled_from(["began", "ended", "failed"]), st.integers(0, 30)),
    st.tuples(st.just("heard"), st.integers(0, 9)),
)


@given(st.lists(st.tuples(events, st.floats(0, 3)), max_size=400))
def test_whatever_happens_it_is_never_more_than_all_that_could_be_left(
    history: list[tuple[tuple[str, int], float]],
) -> None:
    pace = known()
    it, now, sent = Backlog(pace, 0), 0.0, 0.0
    for number, ((kind, what), passed) in enumerate(history):
        now += passed
        if kind == "sent":
            it.sent(number, 100 * what, now)
            sent += 100 * what
        elif kind == "heard":
            it.heard(what, now - 1)
            sent += 900 * what
        else:
            getattr(it, kind)(what, now)
        assert pace.per_s >= 0
        assert (it.done_at - now) * pace.per_s <= sent + 1
