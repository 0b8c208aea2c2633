"""Precise: an engine's blocks in our hashes are those that a request is looked up by."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tierflow.routing.affinity import Translation, chain_of_tokens

TOKENS = st.lists(st.integers(0, 2**31 - 1), min_size=16, max_size=64)


@given(tokens=TOKENS, cut=st.integers(1, 3))
def test_blocks_that_are_stored_in_parts_are_those_of_the_whole_request(
    tokens: list[int], cut: int
) -> None:
    whole = chain_of_tokens(tokens, 4)
    names = [f"engine's {place}".encode() for place in range(len(whole.hashes))]
    known = Translation()

    first = known.stored(names[:cut], None, tokens[: 4 * cut], 4)
    rest = known.stored(names[cut:], names[cut - 1], tokens[4 * cut : 4 * len(names)], 4)

    assert (*first, *rest) == whole.hashes
    assert known.removed(names) == whole.hashes
    assert known.tokens_per_block == 4


def stored(known: Translation, tokens: Sequence[int], salts: Sequence[str] = ()) -> tuple[int, ...]:
    return known.stored([("hash", *tokens, *salts)], None, tokens, len(tokens), salts)


def test_a_block_whose_parent_is_not_known_is_not_either() -> None:
    known = Translation()

    assert known.stored([1], 0, [1, 2], 2) == ()
    assert known.removed([1]) == ()


def test_a_salt_makes_another_block_of_the_same_tokens() -> None:
    known = Translation()

    plain, salted = stored(known, [1, 2]), stored(known, [1, 2], ["a poet's adapter"])

    assert plain == chain_of_tokens([1, 2], 2).hashes == stored(known, [1, 2], [""])
    assert salted != plain


def test_after_clearing_nothing_is_known() -> None:
    known = Translation()
    stored(known, [1, 2])
    known.cleared()

    assert known.removed([("hash", 1, 2)]) == ()
