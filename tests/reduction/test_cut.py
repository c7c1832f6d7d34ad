import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lavis_tldr.reduction.cut import find_cut, ordered_bits


@given(arrays(np.float32, st.integers(1, 50), elements=st.floats(width=32, allow_nan=False)))
def test_bits_compare_as_the_floats_do(values):
    bits = ordered_bits(values)
    assert bits.dtype == np.uint32
    assert ((bits[:, None] < bits[None]) == (values[:, None] < values[None])).all()
    assert ((bits[:, None] == bits[None]) == (values[:, None] == values[None])).all()


numbers = st.tuples(
    st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 2)), st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 3))
)


@given(st.lists(numbers, min_size=1, max_size=60), st.data())
def test_cut_is_the_naive_one_in_any_blocks(pairs, data):
    count = data.draw(st.integers(1, len(pairs)))
    size = data.draw(st.integers(1, len(pairs)))

    def blocks():
        for start in range(0, len(pairs), size):
            high, low = zip(*pairs[start : start + size], strict=True)
            yield np.array(high, np.uint32), np.array(low, np.uint64)

    assert find_cut(blocks, count) == sorted(pairs)[count - 1]


@pytest.mark.parametrize("count", [0, 4])
def test_there_must_be_enough_to_choose_from(count):
    with pytest.raises(ValueError, match=f"fewer than {count} values"):
        find_cut(lambda: [(np.arange(3, dtype=np.uint32), np.arange(3, dtype=np.uint64))], count)
