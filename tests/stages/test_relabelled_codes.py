"""Code numbers are names: renumbering the codes changes neither clusters' members nor what is kept, however chosen."""

import numpy as np
import pytest
from coded_sets import NUM_CODES, NUM_PATCHES, NUM_SAMPLES, SELECTIONS, WIDTH, drawn_codes, kept_keys


@pytest.mark.parametrize(
    "config", [{}, {"tfidf": False}, {"representation": "embedding"}, {"representation": "feature"}]
)
@pytest.mark.parametrize("seed", range(2))
def test_renumbered_codes_keep_the_same_samples(tmp_path, config, seed):
    rng = np.random.default_rng(seed)
    codes = drawn_codes(rng)
    codebook = rng.normal(size=(NUM_CODES, WIDTH)).astype(np.float32)
    expected = kept_keys(tmp_path / "as_they_are", codes, codebook, **config)
    assert [len(keys) for keys in expected] == [54] * len(SELECTIONS)
    assert len({tuple(keys) for keys in expected}) == len(SELECTIONS)  # each selection has its own
    for number in range(2):
        names = rng.permutation(NUM_CODES).astype(np.uint16)
        renamed = np.empty_like(codebook)
        renamed[names] = codebook
        assert kept_keys(tmp_path / f"renamed{number}", names[codes], renamed, **config) == expected


def test_the_papers_index_vectors_do_change(tmp_path):
    """What the option ``index`` is warned of: the test above would see it."""
    rng = np.random.default_rng(0)
    codes = rng.integers(NUM_CODES, size=(NUM_SAMPLES, NUM_PATCHES)).astype(np.uint16)
    codebook = np.zeros((NUM_CODES, WIDTH), np.float32)
    names = rng.permutation(NUM_CODES).astype(np.uint16)
    options = {"representation": "index", "selections": ({}, {"selection": "hard_sample"})}
    first = kept_keys(tmp_path / "as_they_are", codes, codebook, **options)
    renamed = kept_keys(tmp_path / "renamed", names[codes], codebook, **options)
    assert all(one != other for one, other in zip(first, renamed, strict=True))
