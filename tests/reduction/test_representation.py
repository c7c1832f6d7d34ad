import numpy as np
import pytest

from lavis_tldr.reduction.representation import (
    document_frequency,
    idf_from_frequency,
    inverse_document_frequency,
    represent,
)

CODES = np.array([[0, 0, 2], [1, 2, 2]], dtype=np.uint16)


def test_index_is_the_codes_themselves():
    features = represent(CODES, "index", num_codes=3)
    assert features.dtype == np.float32
    assert features.tolist() == [[0, 0, 2], [1, 2, 2]]


def test_histogram_by_hand():
    features = represent(CODES, "histogram", num_codes=4)
    # counts (2, 0, 1, 0) and (0, 1, 2, 0), both of length sqrt(5)
    assert np.allclose(features, np.array([[2, 0, 1, 0], [0, 1, 2, 0]]) / np.sqrt(5))
    assert features.dtype == np.float32


def test_histogram_in_several_blocks_equals_one(monkeypatch):
    codes = np.random.default_rng(0).integers(0, 7, (23, 5)).astype(np.uint16)
    whole = represent(codes, "histogram", num_codes=7)
    monkeypatch.setattr("lavis_tldr.reduction.representation._BLOCK_ELEMENTS", 30)
    assert np.array_equal(represent(codes, "histogram", num_codes=7), whole)


def test_document_frequency_counts_an_image_once():
    assert document_frequency(CODES, 4).tolist() == [1, 1, 2, 0]
    # blocks add up
    total = document_frequency(CODES[:1], 4) + document_frequency(CODES[1:], 4)
    assert total.tolist() == [1, 1, 2, 0]


def test_idf_by_hand():
    idf = inverse_document_frequency(CODES, 4)
    # N = 2: ln(3 / (1 + df)) + 1 for df = 1, 1, 2, 0
    assert np.allclose(idf, [np.log(1.5) + 1, np.log(1.5) + 1, 1, np.log(3) + 1])
    assert np.allclose(idf, idf_from_frequency(np.array([1, 1, 2, 0]), 2))


def test_tfidf_by_hand_and_with_the_whole_sets_idf():
    rare = np.log(1.5) + 1
    expected = np.array([[2 * rare, 0, 1], [0, rare, 2]])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.allclose(represent(CODES, "histogram", num_codes=3, tfidf=True), expected)
    idf = inverse_document_frequency(CODES, 3)
    blocks = [represent(CODES[i : i + 1], "histogram", num_codes=3, tfidf=True, idf=idf) for i in range(2)]
    assert np.allclose(np.concatenate(blocks), expected)


def test_embedding_by_hand():
    codebook = np.array([[3.0, 0.0], [0.0, 3.0], [0.0, 0.0]])
    # means (2, 0) and (0, 1), then length one
    assert np.allclose(represent(CODES, "embedding", num_codes=3, codebook=codebook), [[1, 0], [0, 1]])


def test_embedding_of_codes_that_cancel_out_is_zero_not_nan():
    codebook = np.array([[1.0], [-1.0]])
    assert represent(np.array([[0, 1]]), "embedding", num_codes=2, codebook=codebook).tolist() == [[0]]


@pytest.mark.parametrize("kind", ["index", "histogram", "embedding"])
def test_no_images(kind):
    none = np.empty((0, 3), dtype=np.uint16)
    assert len(represent(none, kind, num_codes=4, codebook=np.ones((4, 2)))) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "histograms"}, r"'histograms'.*\['embedding', 'histogram', 'index'\]"),
        ({"kind": "index", "tfidf": True}, "turn tfidf off"),
        ({"kind": "histogram", "idf": np.ones(3)}, "tfidf is off"),
        ({"kind": "histogram", "tfidf": True, "idf": np.ones(2)}, r"expected \(3,\)"),
        ({"kind": "embedding"}, "codebook="),
        ({"kind": "embedding", "codebook": np.ones((2, 5))}, r"expected \(3, D\)"),
        ({"kind": "index", "num_codes": 2}, "codebook has 2 codes"),
    ],
)
def test_what_does_not_fit_is_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        represent(CODES, **{"num_codes": 3, **arguments})


@pytest.mark.parametrize("codes", [np.zeros((2, 3)), np.zeros(3, dtype=np.uint16)])
def test_codes_must_be_integers_in_rows(codes):
    with pytest.raises(ValueError, match=r"integers of shape \(N, L\)"):
        represent(codes, "index", num_codes=3)
