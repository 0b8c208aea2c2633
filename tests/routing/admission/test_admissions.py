"""Admissions: who has a seat, with threads' futures and a clock that the test moves."""

from asyncio import CancelledError
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.routing.world import a_reply, a_request, a_tier
from tierflow.errors import AttemptTimeoutError, ProviderDownError, RateLimitedError
from tierflow.pools import Pool
from tierflow.request import Request
from tierflow.routing import Admission, Ask, Seat, Seated, Standing
from tierflow.routing.admission import Admissions, Waiting
from tierflow.routing.admission.limiter import FIRST
from tierflow.settings import Deployment

A, B = Deployment(model="openai/a"), Deployment(model="openai/b")
POOL = Deployment(model="hosted_vllm/llama", pool="llama")
POOLS = {
    "llama": Pool(replicas=("http://a/v1",), prefill_heavy_tokens=1000, prefill_tokens_at_once=5000)
}


def nothing(_: Seat) -> Generator[Any, Any, Any]:
    yield None


def a_seated(step: str = "step", deployment: Deployment = A, **options: Any) -> Seated:
    options.setdefault("most_wait_s", 1000.0)
    request = Request(step, ({"role": "user", "content": "?"},))
    return Seated(deployment, request, plan=nothing, **options)


@dataclass
class Office:
    """Admissions with a clock, and what calls are told to them."""

    most: int = 4
    now: float = 0.0
    tokens: int = 0
    queue: float | None = None
    told_at: float = 0.0
    given: Admissions = field(init=False)

    def __post_init__(self) -> None:
        self.given = Admissions(
            self.most,
            POOLS,
            clock=lambda: self.now,
            uncached=self.reads,
            queue=lambda _: None if self.queue is None else (self.queue, self.told_at),
        )

    def reads(self, _deployment: Deployment, _request: Request) -> int:
        return self.tokens

    def join(self, count: int = 1, step: str = "step", **options: Any) -> list[Waiting]:
        wanted = [a_seated(step, **options) for _ in range(count)]
        return [
            self.given.join(each, self.given.uncached(each) if self.given.must_read(each) else 0)
            for each in wanted
        ]

    def ask(self, waiting: Waiting, **options: Any) -> Ask:
        tier = a_tier("fast", "a")
        admission = Admission(seat=waiting.seated.result(0).ticket)
        return Ask(A, tier, a_request(), "answer", 1, admission=admission, **options)


def seated(waiting: list[Waiting]) -> int:
    return sum(each.seated.done() for each in waiting)


def test_so_many_have_a_seat_and_the_next_when_one_is_given_back() -> None:
    office = Office()
    waiting = office.join(6)
    assert seated(waiting) == 4
    assert [each.seated.result().waited for each in waiting[:4]] == [False] * 4
    office.given.give_up(waiting[0])
    assert waiting[4].seated.result(0).waited
    assert seated(waiting) == 5


def test_deployments_have_limits_of_their_own() -> None:
    office = Office()
    assert seated(office.join(9)) == seated(office.join(9, deployment=B)) == 4


def test_steps_share_a_deployments_places() -> None:
    office = Office()
    many = office.join(50, "many")
    few = office.join(2, "few")
    for each in many[:4]:
        office.given.give_up(each)
    assert seated(few) == 2
    assert seated(many) == 4 + 2


def test_who_gives_up_waiting_takes_no_seat() -> None:
    office = Office(most=1)
    first, second, third = office.join(3)
    office.given.give_up(second)
    office.given.give_up(first)
    assert third.seated.done()
    assert not second.seated.done()


def test_a_seat_is_waited_for_until_the_deadline() -> None:
    office = Office(most=1)
    _, waiting = office.join(2, most_wait_s=3.0)
    assert office.given.patience_s(waiting) == 3.0
    office.now = 2.0
    assert office.given.patience_s(waiting) == 1.0
    office.now = 3.0
    assert office.given.patience_s(waiting) == 0.0


def test_a_refusal_is_nobodys_fault_and_makes_room_for_fewer() -> None:
    office = Office(most=8)
    waiting = office.join(8)
    error = RateLimitedError("too many")
    office.given.failed(office.ask(waiting[0]), error)
    assert error.was_crowded
    assert not error.counts_against_deployment
    assert office.given.limit_of("step") == 5


def test_a_refusal_with_a_time_to_come_back_is_kept_by_all() -> None:
    office = Office()
    error = RateLimitedError("too many", retry_after_s=3)
    office.given.failed(office.ask(office.join(2)[0]), error)
    assert error.was_crowded
    assert error.counts_against_deployment


def test_a_refusal_of_the_only_call_is_the_deployments_own() -> None:
    office = Office()
    error = RateLimitedError("no quota")
    office.given.failed(office.ask(office.join()[0]), error)
    assert not error.was_crowded
    assert error.counts_against_deployment


def test_after_a_refusal_of_the_only_call_the_next_waits_a_moment() -> None:
    office = Office(most=1)
    first, second = office.join(2)
    office.given.replied(office.ask(first), a_reply("yes"))
    office.given.failed(office.ask(first), RateLimitedError("too many"))
    office.given.give_up(first)
    assert not second.seated.done()
    office.now += office.given.patience_s(second)
    office.given.look(second)
    assert second.seated.done()


@pytest.mark.parametrize(
    ("error", "left_s", "limit"),
    [
        (AttemptTimeoutError("late"), None, 5),
        (AttemptTimeoutError("the step's own deadline"), 1.0, 8),
        (ProviderDownError("it is down"), None, 8),
        (CancelledError(), None, 8),
    ],
)
def test_what_is_a_sign_of_too_many_and_what_is_not(
    error: BaseException, left_s: float | None, limit: int
) -> None:
    office = Office(most=64)
    office.given.failed(office.ask(office.join()[0], timeout_s=left_s), error)
    assert office.given.limit_of("step") == limit


def test_overload_is_a_sign_of_too_many() -> None:
    office, error = Office(most=64), ProviderDownError("busy")
    error.is_overload = True
    office.given.failed(office.ask(office.join()[0]), error)
    assert office.given.limit_of("step") == 5


def test_a_queue_in_the_engine_is_one_that_was_told_twice() -> None:
    office = Office(most=64, queue=6)
    waiting = office.join(8)
    for told_at in (1.0, 1.0, 2.0):
        assert office.given.limit_of("step") in {FIRST, FIRST + 1}
        office.told_at = told_at
        office.given.replied(office.ask(waiting[0]), a_reply("yes"))
    assert office.given.limit_of("step") == FIRST // 2


def test_calls_without_a_seat_are_nobodys_business() -> None:
    office = Office()
    ask = Ask(A, a_tier("fast", "a"), a_request(), "answer", 1)
    error = RateLimitedError("too many")
    office.given.failed(ask, error)
    office.given.replied(ask, a_reply("yes"))
    office.given.began(ask)
    assert not error.was_crowded
    assert office.given.limit_of("step") is None


def test_how_crowded_a_deployment_is_goes_by_who_waits_too() -> None:
    office = Office()
    office.join(6)
    standings = office.given.crowded((Standing(A, 0.0), Standing(B, 0.0)))
    assert [each.crowd for each in standings] == [1.5, 0.0]


def test_a_batch_that_was_stopped_sends_nothing_more() -> None:
    office = Office(most=1)
    first, second = office.join(2, batch=1)
    (other,) = office.join(batch=2)
    office.given.end(1)
    with pytest.raises(CancelledError):
        second.seated.result(0)
    with pytest.raises(CancelledError):
        office.join(batch=1)
    office.given.give_up(second)
    office.given.give_up(first)
    assert other.seated.done()


class TestLanes:
    """Of what is long to read so many tokens are under way at once; nothing else waits for that."""

    def test_what_is_short_to_read_passes_what_is_long(self) -> None:
        office = Office(most=8, tokens=3000)
        long = office.join(3, deployment=POOL)
        assert seated(long) == 1
        office.tokens = 1000
        assert seated(office.join(7, "other", deployment=POOL)) == 7
        office.given.give_up(long[0])
        assert seated(long) == 2

    def test_the_first_token_makes_room_for_the_next_reading(self) -> None:
        office = Office(most=8, tokens=5000)
        long = office.join(2, deployment=POOL)
        ask = office.ask(long[0], on_chunk=print)
        office.given.began(ask)
        office.given.began(ask)
        assert seated(long) == 2
        office.given.give_up(long[0])
        # What was read makes no room a second time.
        assert seated(office.join(deployment=POOL)) == 0

    def test_elsewhere_all_may_be_read_at_once(self) -> None:
        office = Office(most=8, tokens=10**6)
        assert seated(office.join(8)) == 8
