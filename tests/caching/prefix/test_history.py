"""History and fan-out: how many further calls are expected of a prefix."""

import asyncio
import threading
from contextvars import copy_context
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.caching.prefix import History, Reuse, current_fanout, expecting


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def seen(history: History, *keys: str, group: str = "sort", left: int | None = None) -> Reuse:
    """What is expected of the last of these calls, when it comes."""
    (*_, last) = [history.see(group, [key]) for key in keys]
    return last.evidence[-1].reuse(left)


def test_nothing_is_expected_of_a_first_call() -> None:
    assert seen(History(Clock()), "a") == Reuse(0)
    assert seen(History(Clock()), "a", left=999) == Reuse(0)


def test_the_second_call_of_a_fanout_expects_all_the_others() -> None:
    assert seen(History(Clock()), "a", "a", left=998).further == pytest.approx(998)


def test_a_fanout_whose_prefixes_all_differ_expects_nothing() -> None:
    history = History(Clock())

    for number in range(50):
        assert seen(history, f"prefix {number}", left=999 - number).further == 0


def test_a_fanout_over_documents_and_questions_expects_each_documents_share() -> None:
    history = History(Clock())
    order = [f"document {number % 4}" for number in range(40)]

    assert seen(history, *order, left=40).further == pytest.approx(40 * 9 / 39, rel=0.01)


def test_a_new_document_is_expected_to_be_used_like_the_others() -> None:
    history = History(Clock())
    order = [f"document {number // 5}" for number in range(20)]

    assert seen(history, *order, "document 4").further == pytest.approx(4, rel=0.01)


def test_outside_of_a_fanout_the_next_hour_is_like_the_last() -> None:
    clock = Clock()
    history = History(clock)
    for _ in range(29):
        seen(history, "a")
        clock.now += 480
    expected = seen(history, "a")

    assert expected.further == pytest.approx(7, abs=0.6)
    assert expected.gap_s == pytest.approx(480, rel=0.1)


def test_what_was_long_ago_is_forgotten() -> None:
    clock = Clock()
    history = History(clock)
    seen(history, "a", "a", "a")
    clock.now += 6 * 3600

    assert seen(history, "a").further == 0


def test_a_prefix_that_another_step_uses_is_known() -> None:
    history = History(Clock())
    seen(history, "a", "a", group="sort")

    assert seen(history, "a", group="answer").further == pytest.approx(2)


def test_a_second_look_sees_the_others_and_not_the_call_itself() -> None:
    history = History(Clock())
    first = history.see("sort", ["a"])
    assert not first.next.done()
    assert history.look_again("sort", ["a"])[-1].is_none

    history.see("sort", ["a"])

    assert first.next.done()
    assert history.look_again("sort", ["a"])[-1].reuse(10).further == pytest.approx(10)


def test_a_second_look_at_another_prefix_expects_nothing() -> None:
    history = History(Clock())
    history.see("sort", ["a"])
    history.see("sort", ["b"])

    assert history.look_again("sort", ["a"])[-1].reuse(998).further == 0


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=60), st.integers(0, 1000))
def test_what_is_expected_is_never_below_zero(keys: list[str], left: int) -> None:
    history = History(Clock())

    for key in keys:
        evidence = history.see("sort", [key]).evidence[-1]
        assert 0 <= evidence.reuse(left).further <= max(left, len(keys))
        assert 0 <= evidence.reuse(None).further <= len(keys)


def test_the_number_of_calls_goes_along_into_threads_and_tasks() -> None:
    with expecting(3):
        context = copy_context()
    left: list[int] = []

    def call() -> None:
        fanout = current_fanout()
        assert fanout is not None
        fanout.begin()
        left.append(fanout.left)

    thread = threading.Thread(target=context.run, args=(call,))
    thread.start()
    thread.join()
    context.run(asyncio.run, asyncio.to_thread(call))

    assert left == [2, 1]
    assert current_fanout() is None


def test_more_calls_than_were_expected_leave_none() -> None:
    with expecting(1):
        fanout = current_fanout()
    assert fanout is not None
    fanout.begin()
    fanout.begin()

    assert fanout.left == 0
