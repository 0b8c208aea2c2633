"""Blocks: named ones are shared and outlive their streams; the least recently used go first."""

from tierflow.serving.simulation.blocks import Blocks


def with_prompt(blocks: Blocks, *names: int) -> list[int]:
    blocks.take(len(names))
    return [name for name in names if blocks.name(name)]


def test_released_blocks_stay_until_others_need_them_the_prompts_tail_first() -> None:
    blocks = Blocks(4)
    blocks.release(with_prompt(blocks, 1, 2, 3), 0)
    assert (blocks.available, blocks.found([1, 2, 3])) == (4, 3)
    blocks.take(2)
    assert (blocks.available, blocks.kept) == (2, 4)
    assert blocks.found([1, 2, 3]) == 2


def test_a_shared_block_is_free_when_its_last_stream_leaves() -> None:
    blocks = Blocks(2)
    names = with_prompt(blocks, 1, 2)
    blocks.share(names)
    blocks.release(names, 0)
    assert blocks.available == 0
    blocks.release(names, 0)
    assert (blocks.available, blocks.left_of(names)) == (2, 2)


def test_two_blocks_never_have_one_name() -> None:
    blocks = Blocks(4)
    first, second = with_prompt(blocks, 1, 2), with_prompt(blocks, 1, 9)
    assert (first, second) == ([1, 2], [9])
    blocks.release(second, 1)
    blocks.release(first, 0)
    assert (blocks.available, blocks.kept) == (4, 3)


def test_only_an_unbroken_run_of_names_is_found() -> None:
    blocks = Blocks(4)
    with_prompt(blocks, 1, 3)
    assert blocks.found([1, 2, 3]) == 1
