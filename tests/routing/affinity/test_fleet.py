"""Fleet: who gets a request, by prefix, by load, by session; members come and go."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.routing.affinity import BlockChain, Fleet

TEN = 10


@dataclass
class Clock:
    """A clock that the test sets."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def fleet(*names: str, index_blocks: int = 1000, weight: float = 4.0) -> tuple[Fleet, Clock]:
    clock = Clock()
    made = Fleet(prefill_weight=weight, index_blocks=index_blocks, session_ttl_s=60, clock=clock)
    made.set_members(names)
    return made, clock


def chain(*hashes: int, tail: int = 1) -> BlockChain:
    return BlockChain(hashes, TEN, TEN * len(hashes) + tail)


def placed(pool: Fleet, blocks: BlockChain, *, session: str = "") -> str:
    """Place a request that ends at once."""
    found = pool.place(blocks, session=session)
    assert found is not None
    pool.ended(found.ticket)
    return found.replica


def test_a_request_goes_where_its_prefix_was_read() -> None:
    pool, _ = fleet("a", "b", "c")
    first = placed(pool, chain(1, 2, 3))
    again = pool.place(chain(1, 2, 3, 4))
    assert again is not None
    assert (again.replica, again.cached_tokens, again.uncached_tokens) == (first, 30, 11)


def test_the_last_token_is_read_anew_in_any_case() -> None:
    pool, _ = fleet("a")
    placed(pool, chain(1, 2, tail=0))
    again = pool.place(chain(1, 2, tail=0))
    assert again is not None
    assert (again.cached_tokens, again.uncached_tokens) == (10, 10)


def test_a_holder_with_much_to_read_gives_way_to_an_idle_one() -> None:
    pool, _ = fleet("a", "b")
    first = placed(pool, chain(1, 2))
    for number in range(9, 40):
        pool.place(chain(1, 2, number, number + 100), excluded={"a", "b"} - {first})
    assert placed(pool, chain(1, 2, 50)) != first


def test_without_anybody_there_is_no_placement() -> None:
    pool, _ = fleet("a", "b")
    assert pool.place(chain(1), excluded={"a", "b", "c"}) is None
    assert fleet()[0].place(chain(1)) is None


def test_who_is_excluded_gets_nothing() -> None:
    pool, _ = fleet("a", "b")
    first = placed(pool, chain(1, 2))
    second = pool.place(chain(1, 2), excluded=[first])
    assert second is not None
    assert second.replica != first


def test_what_failed_is_not_held_there() -> None:
    pool, _ = fleet("a")
    placed(pool, chain(1))
    lost = pool.place(chain(1, 2, 3))
    assert lost is not None
    pool.failed(lost.ticket)
    again = pool.place(chain(1, 2, 3))
    assert again is not None
    assert again.cached_tokens == 10


def test_processes_that_know_nothing_of_each_other_choose_the_same() -> None:
    one, _ = fleet("a", "b", "c", "d")
    other, _ = fleet("d", "c", "b", "a")
    asked = [chain(n, n + 1) for n in range(0, 100, 2)]
    choices = [(placed(one, each), placed(other, each)) for each in asked]
    assert all(mine == yours for mine, yours in choices)
    assert {mine for mine, _ in choices} == {"a", "b", "c", "d"}


def test_a_session_stays_where_it_is_while_all_else_is_equal() -> None:
    pool, clock = fleet(*"abcdefgh")
    first = placed(pool, chain(1, 2), session="run")
    assert [placed(pool, chain(n, n), session="run") for n in range(10, 30)] == [first] * 20
    clock.now += 61
    assert {placed(pool, chain(n, n)) for n in range(30, 60)} > {first}


def test_a_session_leaves_a_replica_that_has_much_to_read() -> None:
    pool, _ = fleet("a", "b")
    first = placed(pool, chain(1, 2), session="run")
    for number in range(9, 40):
        pool.place(chain(1, 2, number, number + 100), excluded={"a", "b"} - {first})
    assert placed(pool, chain(50, 51), session="run") != first


def test_events_are_believed_more_than_what_was_sent() -> None:
    pool, _ = fleet("a")
    placed(pool, chain(1, 2, 3))
    pool.stored("a", [7, 8])
    told = pool.place(chain(7, 8, 9))
    assert told is not None
    assert told.cached_tokens == 20
    unknown = pool.place(chain(1, 2, 3))
    assert unknown is not None
    assert unknown.cached_tokens == 0
    pool.removed("a", [8])
    pool.ended(told.ticket)
    rest = pool.place(chain(7, 8, 9))
    assert rest is not None
    assert rest.cached_tokens == 10
    pool.cleared("a")
    pool.ended(rest.ticket)
    nothing = pool.place(chain(7, 8, 9))
    assert nothing is not None
    assert nothing.cached_tokens == 0


def test_a_replica_that_comes_back_holds_nothing_and_stands_for_nobody_else() -> None:
    pool, _ = fleet("a", "b")
    old = pool.place(chain(1, 2), excluded=["b"])
    assert old is not None
    pool.set_members(["b", "c"])
    pool.began(old.ticket)
    pool.ended(old.ticket)
    pool.heard("a", 5, 100)
    pool.stored("a", [1, 2])
    new = pool.place(chain(1, 2), excluded=["b"])
    assert new is not None
    assert (new.replica, new.cached_tokens) == ("c", 0)


def test_a_replica_that_started_anew_is_not_believed_to_hold_what_it_read_before() -> None:
    pool, _ = fleet("a")
    for number in (1, 2, 3):
        placed(pool, chain(number))
    surprise = pool.place(chain(3))
    assert surprise is not None
    pool.ended(surprise.ticket, cached_tokens=0)
    expected = [pool.place(chain(number, number + 10)) for number in (1, 2, 3)]
    assert [each and each.cached_tokens for each in expected] == [0, 0, 10]


names = st.sampled_from("abcdef")
actions = st.one_of(
    st.tuples(st.just("place"), st.lists(st.integers(1, 4), max_size=4), st.sets(names)),
    st.tuples(st.sampled_from(["began", "ended", "failed"]), st.integers(1, 30), st.none()),
    st.tuples(st.just("members"), st.lists(names, unique=True), st.none()),
    st.tuples(st.just("heard"), names, st.integers(0, 5)),
    st.tuples(st.sampled_from(["stored", "removed"]), names, st.lists(st.integers(1, 9))),
    st.tuples(st.just("cleared"), names, st.none()),
    st.tuples(st.just("wait"), st.floats(0, 5), st.none()),
)


@given(st.lists(actions, max_size=60))
def test_whatever_happens_a_member_that_is_not_excluded_is_chosen(
    history: list[tuple[str, Any, Any]],
) -> None:
    pool, clock = fleet("a", "b", index_blocks=4)
    members = {"a", "b"}
    for kind, what, more in history:
        match kind:
            case "place":
                found = pool.place(chain(*what), session="s", excluded=more)
                assert (found is None) == (members <= more)
                assert found is None or found.replica in members - more
                assert found is None or found.uncached_tokens > 0
            case "members":
                pool.set_members(what)
                members = set(what)
            case "heard":
                pool.heard(what, more, clock.now - 1)
            case "wait":
                clock.now += what
            case "cleared":
                pool.cleared(what)
            case "stored" | "removed":
                getattr(pool, kind)(what, more)
            case _:
                getattr(pool, kind)(what)


@pytest.mark.parametrize("count", [3, 100])
def test_new_prefixes_are_spread_over_idle_replicas(count: int) -> None:
    pool, _ = fleet(*(f"http://{number}" for number in range(count)))
    chosen = {placed(pool, chain(number)) for number in range(20 * count)}
    assert len(chosen) == count
