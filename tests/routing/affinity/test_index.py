"""BlockIndex: who holds what, within bounds, approximate and told by events."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tierflow.routing.affinity import BlockChain, BlockIndex


def chain(*hashes: int) -> BlockChain:
    return BlockChain(hashes, 10, 10 * len(hashes) + 1)


def depth(index: BlockIndex, slot: int, *hashes: int) -> int:
    ((found, _),) = index.levels(chain(*hashes), 1 << slot)
    return found


def test_levels_part_replicas_by_the_length_of_what_they_hold() -> None:
    index = BlockIndex(100)
    index.of(0).sent((1, 2, 3))
    index.of(1).sent((1, 2))
    index.of(2).sent((2, 3))
    assert index.levels(chain(1, 2, 3, 4), 0b1111) == [(0, 0b1100), (2, 0b10), (3, 0b1)]
    assert index.levels(chain(1, 2, 3, 4), 0b1110) == [(0, 0b1100), (2, 0b10)]
    assert index.levels(chain(), 0b11) == [(0, 0b11)]


def test_the_end_of_the_oldest_request_is_forgotten_first() -> None:
    index = BlockIndex(5)
    index.of(0).sent((1, 2, 3))
    index.of(0).sent((7, 8, 9))
    assert len(index.of(0)) == 5
    assert depth(index, 0, 1, 2, 3) == 2
    assert depth(index, 0, 7, 8, 9) == 3


def test_what_is_older_than_the_newest_quarter_is_held_but_not_surely() -> None:
    index = BlockIndex(12)
    index.of(0).sent((1, 2))
    index.of(0).sent((7, 8))
    assert depth(index, 0, 1, 2) == 2
    assert index.of(0).sure(chain(1, 2), 2) == 1
    assert index.of(0).sure(chain(7, 8), 2) == 2


def test_a_block_that_the_engine_forgot_takes_along_all_that_is_older() -> None:
    index = BlockIndex(100)
    for block in (1, 2, 3):
        index.of(0).arrived((block,))
    index.of(0).missed(index.of(0).arrival(2))
    assert [depth(index, 0, block) for block in (1, 2, 3)] == [0, 0, 1]


def test_events_are_the_truth_but_for_what_is_on_its_way() -> None:
    index = BlockIndex(100)
    index.told(0).stored([1])
    index.of(0).sent((1, 2))
    assert depth(index, 0, 1, 2) == 2
    index.told(0).removed([1])
    assert depth(index, 0, 1, 2) == 0
    index.told(0).stored([1, 2])
    index.of(0).arrived((1, 2))
    assert depth(index, 0, 1, 2) == 2
    index.told(0).cleared()
    assert (len(index), len(index.of(0))) == (0, 0)


def test_what_never_arrives_is_not_held_once_it_is_lost() -> None:
    index = BlockIndex(100)
    index.told(0).cleared()
    index.of(0).sent((1, 2))
    index.of(0).sent((1,))
    index.of(0).lost((1, 2), 0)
    assert depth(index, 0, 1, 2) == 1
    index.of(0).lost((1,), 0)
    assert len(index) == 0


def test_a_precise_replica_may_hold_more_than_the_bound() -> None:
    index = BlockIndex(4)
    index.told(0).stored(range(50))
    assert len(index.of(0)) == 50


slots = st.integers(0, 3)
blocks = st.lists(st.integers(1, 12), max_size=6, unique=True).map(tuple)
changes = st.tuples(
    st.sampled_from(["sent", "arrived", "lost", "stored", "removed", "cleared", "forget"]),
    slots,
    blocks,
)


@given(st.lists(changes, max_size=60))
def test_whatever_happens_the_holders_are_those_who_hold(
    history: list[tuple[str, int, Any]],
) -> None:
    index = BlockIndex(4)
    for name, slot, what in history:
        match name:
            case "lost":
                index.of(slot).lost(what, 0)
            case "sent" | "arrived":
                getattr(index.of(slot), name)(what)
            case "stored" | "removed":
                getattr(index.told(slot), name)(what)
            case "cleared":
                index.told(slot).cleared()
            case _:
                index.forget(slot)
    for slot in range(4):
        holding = {block for block in range(1, 13) if index.holders(block) >> slot & 1}
        told = any(
            each in {"stored", "removed", "cleared"} for each, at, _ in history if at == slot
        )
        assert told or len(holding) == len(index.of(slot)) <= 4
        assert len(holding) >= len(index.of(slot))
        assert all(depth(index, slot, block) == (block in holding) for block in range(1, 13))
    assert len(index) == sum(1 for block in range(1, 13) if index.holders(block))
