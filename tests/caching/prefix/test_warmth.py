"""Warmth: who goes first, who waits, and how long a prefix counts as kept."""

from dataclasses import dataclass, replace

from tierflow.caching.prefix import Warmth
from tierflow.request import CachePlan, Usage

PLAN = CachePlan("anthropic", (1,), "5m", key="a", ttl_s=300.0, warm_up=True)
WROTE = Usage(1000, 1, cache_write_tokens=900)
NOTHING = Usage(1000, 1)


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_first_leads_and_the_others_wait_for_it() -> None:
    warmth = Warmth(Clock())

    leads, lead = warmth.board("a")

    assert leads
    assert warmth.board("a") == (False, lead)
    assert warmth.board("b")[0]


def test_after_the_first_token_nobody_waits() -> None:
    warmth = Warmth(Clock())
    _, lead = warmth.board("a")

    warmth.first_token(PLAN)

    assert lead
    assert lead.ended.done()
    assert warmth.board("a") == (False, None)


def test_when_the_leader_fails_the_next_one_leads() -> None:
    warmth = Warmth(Clock())
    _, lead = warmth.board("a")

    warmth.let_go("a")

    assert lead
    assert lead.ended.done()
    assert warmth.board("a")[0]


def test_a_prefix_is_cold_when_its_time_is_over() -> None:
    clock = Clock()
    warmth = Warmth(clock)
    warmth.first_token(PLAN)

    clock.now += 299
    assert warmth.held("a") == PLAN
    clock.now += 1
    assert warmth.held("a") is None
    assert warmth.board("a")[0]


def test_each_use_renews_the_time() -> None:
    clock = Clock()
    warmth = Warmth(clock)
    warmth.replied(PLAN, WROTE)
    for _ in range(10):
        clock.now += 200
        warmth.replied(PLAN, Usage(1000, 1, cache_read_tokens=900))

    assert warmth.held("a") == PLAN


def test_a_marked_prefix_that_was_neither_read_nor_written_is_not_tried_again() -> None:
    warmth = Warmth(Clock())
    _, lead = warmth.board("a")

    warmth.replied(PLAN, NOTHING)

    assert lead
    assert lead.ended.done()
    assert warmth.is_refused("a")
    assert warmth.board("a") == (False, None)


def test_an_estimated_usage_proves_nothing() -> None:
    warmth = Warmth(Clock())

    warmth.replied(PLAN, replace(NOTHING, estimated=True))

    assert not warmth.is_refused("a")


def test_where_nothing_is_marked_a_reply_without_reads_is_no_proof_either() -> None:
    warmth = Warmth(Clock())
    unmarked = CachePlan("automatic", key="a", ttl_s=300.0, warm_up=True)

    warmth.replied(unmarked, NOTHING)

    assert not warmth.is_refused("a")
    assert warmth.held("a") == unmarked
