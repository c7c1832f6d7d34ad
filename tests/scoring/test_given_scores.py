"""Scores of given embeddings against a naive oracle, and on planted pairs."""

import numpy as np
import pytest
import torch

from lavis_tldr.scoring import given_scores
from lavis_tldr.scoring.given_scores import NegClip, cosine_scores

NAN = float("nan")


@pytest.fixture(autouse=True, params=[3, 4096], ids=["small-blocks", "blocks"])
def blocks(request, monkeypatch):
    monkeypatch.setattr(given_scores, "_ROWS", request.param)


def drawn(n, width, seed):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def cosine(a, b):
    return float(a @ b / (a.norm() * b.norm()))


def test_cosines_by_hand():
    images = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0], [NAN, 1.0]])
    texts = torch.tensor([[4.0, 3.0], [-2.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(cosine_scores(images, texts), [0.96, -1.0, NAN, NAN], atol=1e-6)


@pytest.mark.parametrize("temperature", [0.01, 1.0])
def test_negative_scores_by_a_naive_oracle(temperature):
    images, texts = drawn(8, 5, 0), drawn(8, 5, 1)
    keys = ["a", "a", "b", "c", "d", "e", "f", "g"]
    among = [1, 2, 4, 6]  # drawn to compare with; the first has the image of the first two
    scorer = NegClip.among(images[among], texts[among], [keys[i] for i in among], temperature)
    found = scorer(images, texts, keys)
    for i in range(8):
        others = [j for j in among if keys[j] != keys[i]]
        own = cosine(images[i], texts[i]) / temperature
        by_caption = [np.exp(cosine(images[i], texts[j]) / temperature) for j in others]
        by_image = [np.exp(cosine(images[j], texts[i]) / temperature) for j in others]
        expected = 2 * own - np.log(np.mean(by_caption)) - np.log(np.mean(by_image))
        assert float(found[i]) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_what_is_missing_has_no_score_and_moves_no_other():
    images, texts = drawn(6, 5, 0), drawn(6, 5, 1)
    keys = list("abcdef")
    holed = images.clone()
    holed[2] = NAN
    found = NegClip.among(holed, texts, keys, 0.1)(holed, texts, keys)
    rest = [0, 1, 3, 4, 5]
    expected = NegClip.among(images[rest], texts[rest], [keys[i] for i in rest], 0.1)
    assert np.isnan(found).tolist() == [False, False, True, False, False, False]
    np.testing.assert_array_equal(found[rest], expected(images, texts, keys)[rest])
    assert NegClip.among(images[:1], texts[:1], ["a"], 0.1)(images[:1], texts[:1], ["a"]).isnan().all()
    assert len(expected(images[:0], texts[:0], [])) == 0


def test_stock_captions_that_suit_every_image_fall_behind():
    """Half the captions are one phrase that lies near all images: the cosine likes it, negCLIPLoss does not."""
    common = drawn(1, 16, 9)
    images = drawn(200, 16, 0) + 2 * common
    texts = images + 1.3 * drawn(200, 16, 1)
    is_stock = torch.arange(200) % 2 == 0
    texts[is_stock] = 2 * common + 0.1 * drawn(100, 16, 2)
    keys = [str(i) for i in range(200)]
    by_cosine, by_others = cosine_scores(images, texts), NegClip.among(images, texts, keys, 0.05)(images, texts, keys)

    def auc(scores):
        return (scores[~is_stock][:, None] > scores[is_stock][None]).float().mean()

    assert auc(by_cosine) < 0.5 and auc(by_others) > 0.8


def test_saved_pairs_compare_alike(tmp_path):
    images, texts, keys = drawn(6, 5, 0), drawn(6, 5, 1), list("abcdef")
    scorer = NegClip.among(images, texts, keys, 0.1)
    scorer.save(tmp_path / "others.safetensors")
    loaded = NegClip.load(tmp_path / "others.safetensors", 0.1)
    np.testing.assert_array_equal(loaded(images, texts, keys), scorer(images, texts, keys))
    (tmp_path / "others.safetensors").write_bytes(b"none")
    with pytest.raises(ValueError, match="holds no pairs to compare with.*--restart score"):
        NegClip.load(tmp_path / "others.safetensors", 0.1)
