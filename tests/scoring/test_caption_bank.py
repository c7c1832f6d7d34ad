"""The bank against the scorer itself, pair by pair."""

import numpy as np
import pytest
import torch

from lavis_tldr.scoring.caption_bank import CaptionBank
from lavis_tldr.scoring.contrastive import Pairs, fit_contrastive

pytestmark = pytest.mark.usefixtures("quick_heads")

NUM, D, W = 400, 12, 10


@pytest.fixture(scope="module")
def planted():
    """Pairs whose text is the image seen through a fixed matrix, and the scorer fitted on them."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(NUM, D, generator=generator)
    texts = torch.nn.functional.normalize(images @ torch.randn(D, W, generator=generator), dim=-1)
    keys = [f"k{i:03d}" for i in range(NUM)]
    return Pairs(keys, images, texts), fit_contrastive(Pairs(keys, images, texts), None, seed=1)


@pytest.fixture(scope="module")
def bank(planted):
    pairs, scorer = planted
    return CaptionBank(scorer, [f"caption {i}" for i in range(40)], pairs.texts[:40])


def test_scores_are_those_of_pairs(planted, bank):
    pairs, scorer = planted
    found = bank.scores(pairs.keys[100:120], pairs.images[100:120])
    for j in range(0, 40, 7):
        wanted = scorer(Pairs(pairs.keys[100:120], pairs.images[100:120].clone(), pairs.texts[j].expand(20, -1)))
        np.testing.assert_allclose(found[:, j].numpy(), wanted, rtol=1e-4, atol=1e-4)


def test_nearest_is_a_sort_of_all_scores(planted, bank):
    pairs, _ = planted
    keys, images = pairs.keys[:30], pairs.images[:30]
    scores = bank.scores(keys, images)
    found = bank.nearest(keys, images, [""] * 30, 3)
    for i in range(30):
        order = sorted(range(40), key=lambda j: (-float(scores[i, j]), j))
        assert found[i] == [f"caption {j}" for j in order[:3]]
    # An image's own caption is the first of most: the planted rule is learnt.
    assert sum(names[0] == f"caption {i}" for i, names in enumerate(found)) > 20


def test_the_own_caption_is_not_borrowed(planted, bank):
    pairs, _ = planted
    first = bank.nearest(pairs.keys[:5], pairs.images[:5], [""] * 5, 2)
    # In other letters and with a full stop it is the same caption.
    again = bank.nearest(pairs.keys[:5], pairs.images[:5], [names[0].upper() + " ." for names in first], 1)
    assert again == [names[1:] for names in first]


def test_a_bank_smaller_than_what_is_asked_for(planted):
    pairs, scorer = planted
    small = CaptionBank(scorer, ["one", "two"], pairs.texts[:2])
    assert [sorted(names) for names in small.nearest(pairs.keys[:2], pairs.images[:2], ["one", "x"], 9)] == [
        ["two"],
        ["one", "two"],
    ]


def test_images_do_not_disturb_each_other(planted, bank):
    pairs, _ = planted
    together = bank.nearest(pairs.keys[:10], pairs.images[:10], [""] * 10, 5)
    alone = [bank.nearest([pairs.keys[i]], pairs.images[i : i + 1], [""], 5)[0] for i in range(10)]
    assert together == alone


def test_embeddings_for_each_caption(planted):
    pairs, scorer = planted
    with pytest.raises(ValueError, match="2 embeddings for 1 captions"):
        CaptionBank(scorer, ["one"], pairs.texts[:2])
