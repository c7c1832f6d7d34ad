"""In which parts the samples lie, and in which order, changes nothing that is kept, however it is chosen."""

import numpy as np
import pytest
from coded_sets import NUM_CODES, NUM_SAMPLES, WIDTH, drawn_codes, kept_keys


@pytest.mark.parametrize("representation", ["histogram", "feature", "index"])
def test_parts_change_nothing(tmp_path, representation):
    rng = np.random.default_rng(3)
    codes = drawn_codes(rng)
    codebook = rng.normal(size=(NUM_CODES, WIDTH)).astype(np.float32)
    expected = kept_keys(tmp_path / "in_order", codes, codebook, representation=representation)
    for number, num_parts in enumerate((1, 5)):
        shuffled = rng.integers(num_parts, size=NUM_SAMPLES)
        shuffled[0] = num_parts - 1  # so many there are
        found = kept_keys(tmp_path / f"{number}", codes, codebook, shuffled, representation=representation)
        assert found == expected
