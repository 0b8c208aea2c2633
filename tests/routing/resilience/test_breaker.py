"""Breaker: the transitions alone, with times that the test makes up."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.routing.resilience import Breaker, Window
from tierflow.routing.resilience import breaker as transitions
from tierflow.settings import BreakerSettings

RULES = BreakerSettings(failures_in_a_row=3, open_s=5, max_open_s=60)
CLOSED = Breaker()


def failing(breaker: Breaker, now: float, times: int = 1, probe: str = "") -> Breaker:
    for _ in range(times):
        breaker = transitions.failed(breaker, now, RULES, probe)
    return breaker


def an_open_one(now: float = 100.0) -> Breaker:
    return failing(CLOSED, now, times=3)


def test_failures_in_a_row_open_it() -> None:
    breaker = failing(CLOSED, 100, times=2)
    assert breaker.phase(100) == "closed"
    breaker = failing(breaker, 100)
    assert breaker.phase(100) == "open"
    assert breaker.wait_s(101) == 4


def test_a_reply_in_between_starts_the_count_anew() -> None:
    breaker = transitions.replied(failing(CLOSED, 100, times=2))
    assert breaker == CLOSED
    assert failing(breaker, 100, times=2).phase(100) == "closed"


def test_an_open_one_becomes_half_open_by_time_alone_and_lets_one_through() -> None:
    breaker = an_open_one()
    assert (breaker.phase(104.9), breaker.phase(105)) == ("open", "half-open")
    first = transitions.probing(breaker, 105, "me", lease_s=10)
    assert first.probe_owner == "me"
    assert transitions.probing(first, 106, "you", lease_s=10) == first
    assert first.wait_s(106) > 0


def test_whoever_dies_while_probing_is_followed_by_another() -> None:
    mine = transitions.probing(an_open_one(), 105, "me", lease_s=10)
    yours = transitions.probing(mine, 115, "you", lease_s=10)
    assert yours.probe_owner == "you"
    # What the first one learns after that counts no more.
    assert transitions.replied(yours, "me") == yours
    assert failing(yours, 116, probe="me") == yours
    assert transitions.replied(yours, "you") == CLOSED


@given(st.integers(1, 40))
def test_each_failed_probe_opens_it_for_twice_as_long_up_to_the_longest(probes: int) -> None:
    breaker, now = an_open_one(), 105.0
    for number in range(1, probes + 1):
        breaker = transitions.probing(breaker, now, "me", lease_s=1)
        breaker = failing(breaker, now, probe="me")
        assert breaker.wait_s(now) == pytest.approx(min(60, 5 * 2**number))
        now = breaker.open_until


def test_a_probe_that_told_nothing_is_given_back() -> None:
    mine = transitions.probing(an_open_one(), 105, "me", lease_s=10)
    assert transitions.released(mine, "me").awaits_probe(105)
    assert transitions.released(mine, "you") == mine


def test_a_late_reply_or_failure_of_before_changes_an_open_one_in_no_way() -> None:
    breaker = an_open_one()
    assert transitions.replied(breaker) == breaker
    assert failing(breaker, 101) == breaker
    assert transitions.tripped(breaker, 101, RULES, slow=True) == breaker


def test_a_slow_one_stands_last_but_may_be_asked() -> None:
    breaker = transitions.tripped(CLOSED, 100, RULES, slow=True)
    assert (breaker.phase(100), breaker.wait_s(100), breaker.place(100)) == ("open", 0, 2)


def test_a_retry_after_outlives_opening_and_closing() -> None:
    told = transitions.told_to_wait(CLOSED, 100, 50)
    opened = failing(told, 100, times=3)
    tried = transitions.probing(opened, 105, "me", lease_s=1)
    assert tried.wait_s(105) == 45
    assert transitions.replied(tried, "me").wait_s(110) == 40


def test_another_clock_changes_the_times_and_nothing_else() -> None:
    breaker = transitions.told_to_wait(an_open_one(), 100, 50)
    moved = breaker.shifted(1000)
    assert (moved.wait_s(1101), moved.phase(1105)) == (breaker.wait_s(101), breaker.phase(105))
    assert CLOSED.shifted(-1e9) == CLOSED


@dataclass
class Story:
    """A breaker, the time, and who was told that they may probe until when."""

    breaker: Breaker = CLOSED
    now: float = 100.0
    probes: dict[str, float] = field(default_factory=dict[str, float])


Event = Callable[[Story], None]


def fails(probe: str) -> Event:
    return lambda it: setattr(it, "breaker", failing(it.breaker, it.now, probe=probe))


def replies(probe: str) -> Event:
    return lambda it: setattr(it, "breaker", transitions.replied(it.breaker, probe))


def passes(seconds: float) -> Event:
    return lambda it: setattr(it, "now", it.now + seconds)


def told(seconds: float) -> Event:
    return lambda it: setattr(it, "breaker", transitions.told_to_wait(it.breaker, it.now, seconds))


def probes(owner: str) -> Event:
    def event(it: Story) -> None:
        after = transitions.probing(it.breaker, it.now, owner, lease_s=10)
        if after != it.breaker:
            assert it.breaker.phase(it.now) == "half-open"
            assert all(until <= it.now for until in it.probes.values())
            it.probes = {owner: it.now + 10}
        it.breaker = after

    return event


owners = st.sampled_from(["", "me", "you"])
seconds = st.integers(0, 30).map(float)
events = st.one_of(
    st.builds(fails, owners),
    st.builds(replies, owners),
    st.builds(passes, seconds),
    st.builds(told, seconds),
    st.builds(probes, st.sampled_from(["me", "you"])),
)


@given(st.lists(events, max_size=40))
def test_whatever_happens_one_probes_at_a_time_and_it_can_always_close_again(
    history: list[Event],
) -> None:
    story = Story()
    for event in history:
        event(story)
        if not story.breaker.openings or story.breaker.phase(story.now) == "open":
            story.probes = {}
        assert story.breaker.wait_s(story.now) >= 0
        assert story.breaker.place(story.now) in {0, 1, 2}
        if story.breaker.phase(story.now) == "open":
            assert 0 < story.breaker.open_until - story.now <= RULES.max_open_s
    if story.breaker.openings:
        later = max(story.breaker.open_until, story.breaker.probe_until)
        tried = transitions.probing(story.breaker, later, "last", lease_s=1)
        assert transitions.replied(tried, "last").phase(later) == "closed"


outcomes = st.sampled_from(["well", "failed", "slow"])


@given(st.lists(st.tuples(seconds, outcomes), max_size=60))
def test_a_window_counts_what_is_recent_and_nothing_else(
    calls: list[tuple[float, str]],
) -> None:
    rules = BreakerSettings(window_s=40, window_calls=8, min_calls=4)
    window, now, told_so_far = Window(rules), 0.0, list[tuple[float, str]]()
    for passed, outcome in calls:
        now += passed
        told_so_far.append((now, outcome))
        said = window.add(now, outcome)  # type: ignore[arg-type]  # one of the three
        recent = [each for at, each in told_so_far[-8:] if at > now - 40]
        rates = {kind: recent.count(kind) / len(recent) for kind in ("failed", "slow")}
        due = [kind for kind, rate in rates.items() if rate >= 0.5 and len(recent) >= 4]
        assert said == (due or ["well"])[0]
