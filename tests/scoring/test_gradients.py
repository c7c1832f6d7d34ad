"""Gradient norms against autograd, one pair at a time, and on pairs that the network can't have learnt."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lavis_tldr.scoring import gradients
from lavis_tldr.scoring.gradients import GradientScorer, TokenPairs, fit_gradients, known_tokens, padded

START, END = 101, 102


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        options = gradients.TrainingOptions(num_steps=60, batch_size=32, learning_rate=5e-3)
        patch.setattr(gradients, "_OPTIONS", options)
        patch.setattr(gradients, "_NUM_OTHERS", 12)
        yield


def planted(num_pairs=200, num_kinds=5, seed=0):
    """Images of some kinds, each with captions in words of its kind; several captions an image."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(num_kinds, 8))
    kinds = np.arange(num_pairs) // 2 % num_kinds  # two pairs an image
    images = np.repeat(centers[kinds[::2]] + 0.1 * rng.normal(size=(num_pairs // 2, 8)), 2, axis=0)
    captions = [[START, *(200 + 10 * kind + rng.integers(0, 10, rng.integers(2, 7))), END] for kind in kinds]
    keys = [f"image {row // 2}" for row in range(num_pairs)]
    return TokenPairs(keys, torch.tensor(images, dtype=torch.float32), captions), kinds


@pytest.fixture(scope="module")
def fitted():
    pairs, kinds = planted()
    return pairs, kinds, fit_gradients(pairs, seed=0)


def naive_norm(scorer, pairs, row):
    """The norm by one backward pass over the last layer's parameters, for one pair and spelt-out losses."""
    network, last = scorer.network, scorer.network.last
    last.requires_grad_(True)
    x = (pairs.images[row : row + 1] - scorer.mean) / scorer.spread
    tokens = padded([pairs.tokens[row]], scorer.known)
    own = network.states(x, tokens)
    (own_image,) = gradients._image_ids([pairs.image_keys[row]])
    others = [i for i, number in enumerate(scorer.other_images) if number != own_image]
    image, text = F.normalize(last["image"](own.image[0]), dim=0), F.normalize(last["text"](own.text[0]), dim=0)
    with torch.no_grad():  # a queue: it takes no gradient
        other_images = F.normalize(last["image"](scorer.others.image[others]), dim=1)
        other_texts = F.normalize(last["text"](scorer.others.text[others]), dim=1)
    scale = min(network.log_scale.exp().item(), 100)
    to_texts = torch.stack([scale * image @ text, *(scale * image @ other for other in other_texts)])
    to_images = torch.stack([scale * image @ text, *(scale * other @ text for other in other_images)])
    itc = -(to_texts.log_softmax(0)[0] + to_images.log_softmax(0)[0]) / 2
    hard_text, hard_image = others[to_texts[1:].argmax()], others[to_images[1:].argmax()]
    matches = [
        (own.image, own.text, 1),
        (scorer.others.image[hard_image][None], own.text, 0),
        (own.image, scorer.others.text[hard_text][None], 0),
    ]
    itm = -sum(last["match"](network.fused(a, b))[0].log_softmax(0)[label] for a, b, label in matches) / 3
    scores = last["token"](network.written(own.image, tokens))[0].log_softmax(-1)
    lm = -sum(scores[t, tokens[0, t + 1]] for t in range(len(scores))) / len(scores)
    loss = sum(weight.sqrt() * loss for weight, loss in zip(scorer.weights, (itc, itm, lm), strict=True))
    found = torch.autograd.grad(loss, list(last.parameters()))
    last.requires_grad_(False)
    return sum((gradient**2).sum() for gradient in found).sqrt().item()


def test_norms_are_those_of_autograd(fitted):
    pairs, _, scorer = fitted
    norms = scorer(pairs)
    for row in range(0, 200, 17):
        assert norms[row] == pytest.approx(naive_norm(scorer, pairs, row), rel=1e-4)
    # Pairs of the sample are among the others, and left out there.
    drawn = [row for row in range(200) if gradients._image_ids([pairs.image_keys[row]]) in scorer.other_images]
    assert len(drawn) >= 12
    assert norms[drawn[0]] == pytest.approx(naive_norm(scorer, pairs, drawn[0]), rel=1e-4)


def test_a_norm_does_not_depend_on_the_other_pairs_scored(fitted):
    pairs, _, scorer = fitted
    norms = scorer(pairs)
    rows = torch.tensor([150, 3, 77])
    np.testing.assert_allclose(scorer(pairs.at(rows)), norms[rows], rtol=1e-5)
    assert scorer(pairs.at(torch.tensor([], dtype=torch.int64))).shape == (0,)


def test_every_loss_counts_alike(monkeypatch):
    monkeypatch.setattr(gradients, "_NUM_OTHERS", 1000)  # all
    pairs, _ = planted(num_pairs=40)
    scorer = fit_gradients(pairs, seed=0)
    assert (scorer.squares(pairs) * scorer.weights).mean(0).tolist() == pytest.approx([1, 1, 1], rel=1e-4)


def test_pairs_that_were_not_learnt_have_larger_gradients(fitted):
    pairs, kinds, scorer = fitted
    swapped = TokenPairs(pairs.image_keys, pairs.images, pairs.tokens[2:] + pairs.tokens[:2])  # of the next kind
    right, wrong = scorer(pairs), scorer(swapped)
    assert (wrong > right).mean() > 0.9


def test_tokens_known_are_the_most_frequent(monkeypatch):
    monkeypatch.setattr(gradients, "_MAX_TOKENS", 3)
    known = known_tokens([[7, 9], [9, 5, 5], [3, 7]])
    assert known.tolist() == [5, 7, 9]  # 3 comes once; the others twice
    # 0 pads, 1 is any other token.
    assert padded([[9, 3], [5, 7, 7]], known).tolist() == [[4, 1, 0], [2, 3, 3]]


def test_among_tokens_as_frequent_the_lower_is_known(monkeypatch):
    monkeypatch.setattr(gradients, "_MAX_TOKENS", 2)
    assert known_tokens([[8, 4, 6]]).tolist() == [4, 6]


def test_the_same_seed_gives_the_same_file(fitted, tmp_path):
    pairs, _, scorer = fitted
    scorer.save(tmp_path / "one.safetensors")
    fit_gradients(pairs, seed=0).save(tmp_path / "two.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    np.testing.assert_array_equal(GradientScorer.load(tmp_path / "one.safetensors")(pairs), scorer(pairs))
    assert not np.allclose(fit_gradients(pairs, seed=1)(pairs), scorer(pairs), rtol=1e-3)


@pytest.mark.parametrize("content", [b"", b"no tensors", pickle.dumps({"mean": 1})])
def test_a_file_that_holds_no_network_is_refused(tmp_path, content):
    (tmp_path / "network.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"network\.safetensors holds no fitted network.*--restart gradient"):
        GradientScorer.load(tmp_path / "network.safetensors")


def test_pairs_of_one_image_can_not_be_told_apart():
    pairs, _ = planted(num_pairs=40)
    pairs.image_keys = ["one"] * 40
    with pytest.raises(ValueError, match="40 pairs of 1 images are too few"):
        fit_gradients(pairs, seed=0)
    with pytest.raises(ValueError, match="0 pairs of 0 images are too few"):
        fit_gradients(pairs.at(torch.tensor([], dtype=torch.int64)), seed=0)
