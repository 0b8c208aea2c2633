"""Lines and lanes: who goes next, decided by numbers alone."""

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.pools import Pool
from tierflow.routing.admission import Lanes, Lines, Waiter, lanes_of, pool_for


def everybody(_: int) -> bool:
    return True


def lined_up(steps: str, lanes: Callable[[int], bool] = lambda _: False) -> Lines:
    turns = Lines()
    for number, step in enumerate(steps):
        heavy = lanes(number)
        tokens, lane = (1000, "prefill") if heavy else (0, "decode")
        turns.join(Waiter(number, step, tokens, "prefill" if lane == "prefill" else "decode"))
    return turns


def served(turns: Lines, count: int) -> str:
    found = [turns.next(everybody) for _ in range(count)]
    return "".join(each.step for each in found if each is not None)


def test_one_step_is_served_in_order() -> None:
    turns = lined_up("aaa")
    assert [getattr(turns.next(everybody), "number", None) for _ in range(4)] == [0, 1, 2, None]


def test_a_step_with_five_items_does_not_wait_behind_one_with_ten_thousand() -> None:
    turns = lined_up("a" * 10_000 + "b" * 5)
    assert served(turns, 10) == "ab" * 5


def test_a_free_place_goes_to_the_step_that_holds_the_fewest() -> None:
    turns = lined_up("aaaaaa")
    assert served(turns, 4) == "aaaa"
    for number in range(6, 12):
        turns.join(Waiter(number, "b"))
    # b catches up before a has another.
    assert served(turns, 4) == "bbbb"
    turns.ended("b")
    assert served(turns, 1) == "b"
    turns.ended("a")
    assert served(turns, 1) == "a"


def test_who_was_refused_goes_before_its_own_steps_others() -> None:
    turns = lined_up("aa")
    turns.join(Waiter(2, "a"), again=True)
    assert [getattr(turns.next(everybody), "number", None) for _ in range(3)] == [2, 0, 1]


def test_who_waits_no_longer_is_passed_by() -> None:
    turns = Lines()
    first, second = Waiter(0, "a"), Waiter(1, "a")
    turns.join(first)
    turns.join(second)
    turns.leave(first)
    assert turns.next(everybody) == second
    assert not len(turns)


def test_who_may_not_read_yet_holds_up_nobody() -> None:
    turns = lined_up("aaa", lambda number: number == 0)

    def nobody(_: int) -> bool:
        return False

    assert [getattr(turns.next(nobody), "number", None) for _ in range(3)] == [1, 2, None]
    assert getattr(turns.next(everybody), "number", None) == 0


@given(st.lists(st.sampled_from("abc"), max_size=200), st.integers(1, 8))
def test_while_it_has_calls_waiting_no_step_holds_two_places_fewer_than_another(
    steps: list[str], places: int
) -> None:
    turns = lined_up("".join(steps))
    left, held, under_way = Counter(steps), Counter[str](), list[str]()
    while len(turns):
        while len(under_way) < places and (waiter := turns.next(everybody)) is not None:
            under_way.append(waiter.step)
            held[waiter.step] += 1
            left[waiter.step] -= 1
            waiting = [step for step in held.keys() | left.keys() if left[step] > 0]
            assert all(held[waiter.step] <= held[step] + 1 for step in waiting)
        gone = under_way.pop(0)
        held[gone] -= 1
        turns.ended(gone)
    assert sum(left.values()) == 0


class TestLanes:
    """Who is long to read, and how many of them go at once."""

    LANES = Lanes(heavy_tokens=2000, at_once=8000)

    @pytest.mark.parametrize(
        ("tokens", "lane"), [(0, "decode"), (2000, "decode"), (2001, "prefill")]
    )
    def test_the_lane_goes_by_uncached_tokens(self, tokens: int, lane: str) -> None:
        assert self.LANES.lane(tokens) == lane

    @pytest.mark.parametrize(
        ("tokens", "under_way", "fits"),
        [(3000, 5000, True), (3001, 5000, False), (9000, 0, True), (9000, 1, False)],
    )
    def test_so_many_tokens_are_read_at_once_and_one_beyond_all_bounds_alone(
        self, tokens: int, under_way: int, fits: bool
    ) -> None:
        assert self.LANES.fits(tokens, under_way) is fits

    def test_there_is_one_lane_unless_a_pool_has_a_limit(self) -> None:
        plain = Pool(replicas=("http://a/v1",))
        limited = Pool(replicas=("http://a/v1",), prefill_tokens_at_once=100)
        assert lanes_of(None).lane(10**6) == lanes_of(plain).lane(10**6) == "decode"
        assert lanes_of(limited) == Lanes(2048, 100)

    def test_long_readings_go_to_the_pool_that_is_set_aside_for_them(self) -> None:
        plain = Pool(replicas=("http://a/v1",))
        split = Pool(replicas=("http://a/v1",), prefill_lane="long", prefill_heavy_tokens=1000)
        assert pool_for("llama", plain, 10**6) == "llama"
        assert pool_for("llama", split, 1000) == "llama"
        assert pool_for("llama", split, 1001) == "long"
