"""Drawing captions against a naive draw, token by token."""

import numpy as np
import pytest
import torch
from toy_decoder import BOS, EOS, PAD, TableDecoder, memory_of, output_of

from lavis_tldr.models.generation import DecodingOptions
from lavis_tldr.models.sampling import SamplingOptions, sample, uniforms_of

OPTIONS = DecodingOptions(max_length=5, min_length=1, no_repeat_ngram=2)
KEYS = np.array([7, 2**64 - 1, 3], np.uint64)


def draw(decoder, images, sampling, uniforms, rows=None, options=OPTIONS):
    return sample(decoder, memory_of(*images), output_of(decoder, rows), options, sampling, uniforms)


def naive(decoder, image: int, uniforms, sampling, rows=None) -> list[int]:
    """One caption, each word from the sorted list of all that may come."""
    ids, last = [], BOS
    for t in range(OPTIONS.max_length):
        scores = decoder.table[image, t, last] / sampling.temperature
        allowed = [token for token in (range(len(scores)) if rows is None else rows) if token not in (BOS, PAD)]
        pairs = {*zip([BOS, *ids], ids, strict=False)}
        allowed = [token for token in allowed if (last, token) not in pairs and not (token == EOS and t < 1)]
        weights = torch.tensor([float(scores[token]) for token in allowed], dtype=torch.float64).softmax(0)
        order = sorted(range(len(allowed)), key=lambda i: -float(weights[i]))
        nucleus, total = [], 0.0
        for i in order:
            nucleus.append(i)
            total += float(weights[i])
            if total >= sampling.top_p:
                break
        wanted, passed = float(uniforms[t]) * total, 0.0
        for i in nucleus:
            passed += float(weights[i])
            if wanted < passed:
                break
        last = allowed[i]
        if last == EOS:
            break
        ids.append(last)
    return ids


@pytest.mark.parametrize("rows", [None, [1, 2, 4, 5, 6]])
@pytest.mark.parametrize("sampling", [SamplingOptions(), SamplingOptions(1.0, 1.0), SamplingOptions(2.0, 0.5)])
def test_draws_are_the_naive_ones(sampling, rows):
    decoder = TableDecoder(3, 8, 5, seed=1)
    uniforms = uniforms_of(KEYS, 6, 5)
    found = draw(decoder, (0, 1, 2), sampling, uniforms, None if rows is None else torch.tensor(rows))
    wanted = [[naive(decoder, image, uniforms[image, s], sampling, rows) for s in range(6)] for image in range(3)]
    assert found == wanted
    assert len({tuple(ids) for captions in found for ids in captions}) > 3


def test_frequencies_are_the_models():
    decoder = TableDecoder(1, 6, 1, seed=3, scale=1.0)
    options = DecodingOptions(max_length=1, min_length=0, no_repeat_ngram=0)
    uniforms = uniforms_of(np.array([5], np.uint64), 20_000, 1)
    found = draw(decoder, (0,), SamplingOptions(1.0, 1.0), uniforms, options=options)[0]
    counts = np.bincount([ids[0] if ids else EOS for ids in found], minlength=6) / 20_000
    wanted = decoder.table[0, 0, BOS].clone()
    wanted[[BOS, PAD]] = float("-inf")
    np.testing.assert_allclose(counts, wanted.softmax(0).numpy(), atol=0.015)


def test_a_small_nucleus_is_the_likeliest_word():
    decoder = TableDecoder(2, 8, 5, seed=2)
    few = draw(decoder, (0, 1), SamplingOptions(1.0, 1e-9), uniforms_of(KEYS[:2], 4, 5))
    assert all(len({tuple(ids) for ids in captions}) == 1 for captions in few)


def test_an_image_draws_alike_in_any_batch():
    decoder = TableDecoder(3, 8, 5, seed=1)
    together = draw(decoder, (0, 1, 2), SamplingOptions(), uniforms_of(KEYS, 3, 5))
    alone = [draw(decoder, (i,), SamplingOptions(), uniforms_of(KEYS[i : i + 1], 3, 5))[0] for i in range(3)]
    assert together == alone


def test_uniforms_of_no_image():
    assert uniforms_of(KEYS[:0], 3, 5).shape == (0, 3, 5)
