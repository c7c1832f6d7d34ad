"""In which parts the samples lie, and in which order, changes nothing that is kept, however it is chosen."""

import numpy as np
import pytest
from coded_sets import NUM_CODES, NUM_SAMPLES, SELECTIONS, WIDTH, drawn_codes, kept_keys

REPEATED = {"selection": "aligned", "max_repeats": 3, "repeat_penalty": 0.3, "balance": 0.5}
CAPPED = {"selection": "uniform", "concept_cap": 0.1, "keep_ratio": 0.15}
BOTH = {**REPEATED, "selection": "large_distance", "concept_cap": 30}


@pytest.mark.parametrize("representation", ["histogram", "feature", "index"])
def test_parts_change_nothing(tmp_path, representation):
    rng = np.random.default_rng(3)
    codes = drawn_codes(rng)
    codebook = rng.normal(size=(NUM_CODES, WIDTH)).astype(np.float32)
    selections = (*SELECTIONS, REPEATED, CAPPED, BOTH)
    expected = kept_keys(tmp_path / "in_order", codes, codebook, selections=selections, representation=representation)
    repeated = [len(keys) > len(set(keys)) for keys in expected]
    assert repeated == [*(False for _ in SELECTIONS), True, False, True]
    for number, num_parts in enumerate((1, 5)):
        shuffled = rng.integers(num_parts, size=NUM_SAMPLES)
        shuffled[0] = num_parts - 1  # so many there are
        found = kept_keys(tmp_path / f"{number}", codes, codebook, shuffled, selections, representation=representation)
        assert found == expected
