import pickle

import numpy as np
import pytest
import torch

from lavis_tldr.models.retrieval_proxy import ProxyOptions
from lavis_tldr.tasks import contrastive
from lavis_tldr.tasks.contrastive import ContrastiveScorer, Pairs, fit_contrastive


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    options = ProxyOptions(num_steps=120, batch_size=64, learning_rate=5e-3, width=32)
    monkeypatch.setattr(contrastive, "_OPTIONS", options)


def planted(n=600, wrong=0.4, seed=0):
    """Pairs whose texts are a linear map of their images, but for a share with another pair's text."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 16, generator=generator)
    texts = images @ torch.randn(16, 12, generator=generator) + 0.3 * torch.randn(n, 12, generator=generator)
    is_wrong = torch.zeros(n, dtype=torch.bool)
    is_wrong[: round(wrong * n)] = True
    texts[is_wrong] = texts[is_wrong].roll(1, 0)
    keys = [f"{i:05d}" for i in range(n)]
    return Pairs(keys, images, texts), is_wrong.numpy()


def auc(scores, is_right):
    """Share of (right, wrong) couples in the right order."""
    right, wrong = scores[is_right], scores[~is_right]
    return (right[:, None] > wrong[None]).mean()


def test_right_pairs_score_above_wrong_ones():
    pairs, is_wrong = planted()
    scores = fit_contrastive(pairs, None, seed=0)(pairs)
    assert auc(scores, ~is_wrong) > 0.95
    assert np.median(scores[~is_wrong]) > 0 > np.median(scores[is_wrong])


def test_trusted_pairs_help_where_most_are_wrong():
    pairs, is_wrong = planted(wrong=0.8)
    trusted, _ = planted(wrong=0.0)
    held_apart = Pairs([f"t{key}" for key in trusted.keys[500:]], trusted.images[500:], trusted.texts[500:])
    alone = auc(fit_contrastive(pairs, None, seed=0)(pairs), ~is_wrong)
    helped = auc(fit_contrastive(pairs, held_apart, seed=0)(pairs), ~is_wrong)
    assert helped > alone


def test_scores_go_with_keys_not_rows():
    pairs, _ = planted(300)
    scorer = fit_contrastive(pairs, None, seed=0)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    shuffled = Pairs([pairs.keys[i] for i in order.tolist()], pairs.images[order], pairs.texts[order])
    np.testing.assert_allclose(scorer(shuffled), scorer(pairs)[order.numpy()], rtol=1e-4, atol=1e-4)


def test_no_pair_is_scored_by_heads_that_saw_it(monkeypatch):
    pairs, _ = planted(400)
    row_of = {tuple(row.tolist()): i for i, row in enumerate(pairs.texts)}
    seen = []

    real_train = contrastive.train_proxy

    def spy(images, texts, options, seed):
        seen.append({row_of[tuple(row.tolist())] for row in texts})
        return real_train(images, texts, options, seed)

    monkeypatch.setattr(contrastive, "train_proxy", spy)
    scorer = fit_contrastive(pairs, None, seed=3)
    num_folds = len(scorer.rounds[0])
    for number in range(len(scorer.rounds)):
        folds = scorer.folds(pairs.keys, number)
        for fold in range(num_folds):
            assert not seen[number * num_folds + fold] & set(np.flatnonzero(folds == fold))


def test_the_score_is_pointwise_mutual_information():
    pairs, _ = planted(300)
    model = fit_contrastive(pairs, None, seed=0).rounds[0][0]
    images, texts = torch.randn(3, 16), torch.randn(3, 12)
    found = model.score(images, texts)
    scale = float(model.heads.log_scale.exp())
    with torch.no_grad():
        a, b = model.heads.embed_images(images), model.heads.embed_texts(texts)
    for i in range(3):
        own = scale * float(a[i] @ b[i])
        by_caption = np.log(np.mean([np.exp(scale * float(a[i] @ t)) for t in model.other_texts]))
        by_image = np.log(np.mean([np.exp(scale * float(b[i] @ v)) for v in model.other_images]))
        assert float(found[i]) == pytest.approx(2 * own - by_caption - by_image, rel=1e-3, abs=1e-3)


def test_nothing_to_score():
    pairs, _ = planted(300)
    empty = Pairs([], pairs.images[:0], pairs.texts[:0])
    assert fit_contrastive(pairs, None, seed=0)(empty).shape == (0,)


def test_a_saved_scorer_scores_alike(tmp_path):
    pairs, _ = planted()
    scorer = fit_contrastive(pairs, None, seed=0)
    scorer.save(tmp_path / "one.safetensors")
    loaded = ContrastiveScorer.load(tmp_path / "one.safetensors", seed=0)
    np.testing.assert_array_equal(loaded(pairs), scorer(pairs))
    loaded.save(tmp_path / "two.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()


@pytest.mark.parametrize("content", [b"", b"no tensors", pickle.dumps({"mean": 1})])
def test_a_file_that_holds_no_scorer_is_refused(tmp_path, content):
    (tmp_path / "scorer.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"scorer\.safetensors holds no fitted scorer.*--restart score"):
        ContrastiveScorer.load(tmp_path / "scorer.safetensors", seed=0)


def test_too_few_pairs_say_what_to_do():
    pairs, _ = planted(n=40)
    with pytest.raises(ValueError, match=r"learns from the pairs that it scores, and 40 are too few.*to likelihood"):
        fit_contrastive(pairs, None, seed=0)
    known, _ = planted(n=200, wrong=0, seed=1)
    assert fit_contrastive(pairs, known, seed=0)(pairs).shape == (40,)
