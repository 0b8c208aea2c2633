"""Blocks: equal beginnings have equal hashes, and nothing else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierflow.routing.affinity import BlockChain, chain_of_text, chain_of_tokens, next_hash

ids = st.lists(st.integers(0, 200_000), max_size=40)


@given(ids, ids, st.integers(1, 8))
def test_chains_of_tokens_agree_as_far_as_full_blocks_are_equal(
    one: list[int], other: list[int], size: int
) -> None:
    mine, yours = chain_of_tokens(one, size), chain_of_tokens(one + other, size)
    full = len(one) // size
    assert len(mine.hashes) == full
    assert yours.hashes[:full] == mine.hashes
    assert (mine.tokens, yours.tokens) == (len(one), len(one) + len(other))


def test_a_change_in_a_block_changes_it_and_all_after_it() -> None:
    one, other = chain_of_tokens(range(12), 4), chain_of_tokens([0, 1, 2, 3, 9, *range(5, 12)], 4)
    assert one.hashes[0] == other.hashes[0]
    assert not set(one.hashes[1:]) & set(other.hashes)


@given(ids, st.integers(1, 8))
def test_a_chain_may_be_continued_block_by_block(tokens: list[int], size: int) -> None:
    whole = chain_of_tokens(tokens, size).hashes
    parent, found = 0, list[int]()
    for start in range(0, len(whole) * size, size):
        (parent,) = chain_of_tokens(tokens[start : start + size], size, parent).hashes
        found.append(parent)
    assert tuple(found) == whole


@given(st.text(max_size=60), st.text(max_size=60))
def test_chains_of_text_agree_as_far_as_full_blocks_are_equal(one: str, other: str) -> None:
    mine, yours = chain_of_text(one, 2), chain_of_text(one + other, 2)
    assert yours.hashes[: len(one) // 8] == mine.hashes
    assert mine.tokens == -(-len(one) // 4)


def test_a_salt_parts_what_must_not_be_shared() -> None:
    chains = [chain_of_text("the same prompt " * 4, 4, salt).hashes for salt in ("", "a", "b")]
    assert len({each for chain in chains for each in chain}) == sum(map(len, chains))


@pytest.mark.parametrize(
    ("tokens", "blocks", "cached"), [(8, 2, 4), (9, 2, 8), (0, 0, 0), (4, 1, 0), (100, 3, 12)]
)
def test_the_last_token_is_never_cached(tokens: int, blocks: int, cached: int) -> None:
    assert BlockChain((1, 2, 3), 4, tokens).cached_tokens(blocks) == cached


def test_hashes_have_64_bits() -> None:
    assert 0 <= max(next_hash(0, bytes([each])) for each in range(99)) < 2**64
