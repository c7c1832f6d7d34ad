import numpy as np
import pytest

from lavis_tldr.reduction.draw import draw_priority, draw_rows


def keys_of(count):
    return [f"k{row:05d}" for row in range(count)]


def test_priority_depends_on_key_and_seed_only():
    first = draw_priority(["a", "b", "ü\udcff"], seed=1)
    assert first.dtype == np.uint64
    assert draw_priority(["ü\udcff", "a"], seed=1).tolist() == [first[2], first[0]]
    assert len(set(first.tolist()) | set(draw_priority(["a", "b"], seed=2).tolist())) == 5


def test_priority_is_even():
    # 4000 fair draws: the share below the middle is 0.5 with a deviation of 0.008
    assert abs((draw_priority(keys_of(4000), seed=0) < 2**63).mean() - 0.5) < 0.04


@pytest.mark.parametrize("size", [1, 12, 25, 50, 99])
@pytest.mark.parametrize("block_size", [1, 7, 50])
def test_drawn_rows_are_the_lowest_in_any_order_and_blocks(size, block_size):
    keys = keys_of(50)
    priority = dict(zip(keys, draw_priority(keys, 3), strict=True))
    expected = sorted(sorted(keys, key=priority.get)[:size])
    shuffled = [keys[row] for row in np.random.default_rng(0).permutation(50)]
    for order in (keys, shuffled):
        blocks = [order[start : start + block_size] for start in range(0, 50, block_size)]
        block, row, drawn = draw_rows(iter(blocks), size, seed=3)
        assert drawn == expected
        assert [blocks[b][r] for b, r in zip(block, row, strict=True)] == expected


def test_nothing_is_drawn_of_nothing():
    assert [len(column) for column in draw_rows([[], []], 5, seed=0)] == [0, 0, 0]
