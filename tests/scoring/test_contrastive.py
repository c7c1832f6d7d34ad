import pickle

import numpy as np
import pytest
import torch
from reductions import write_bert

from lavis_tldr.evaluation.retrieval_proxy import ProxyOptions
from lavis_tldr.scoring import contrastive
from lavis_tldr.scoring.contrastive import ContrastiveScorer, Pairs, fit_contrastive, folds_of

pytestmark = pytest.mark.usefixtures("quick_heads")


@pytest.fixture(scope="module")
def fitted():
    """300 pairs, and a scorer that has learnt from them."""
    pairs, _ = planted(300)
    return pairs, fit_contrastive(pairs, None, seed=0)


def planted(n=600, wrong=0.4, seed=0):
    """Pairs whose texts are one linear map of their images, but for a share with another pair's text."""
    generator = torch.Generator().manual_seed(seed)
    to_text = torch.randn(16, 12, generator=torch.Generator().manual_seed(99))
    images = torch.randn(n, 16, generator=generator)
    texts = images @ to_text + 0.3 * torch.randn(n, 12, generator=generator)
    is_wrong = torch.zeros(n, dtype=torch.bool)
    is_wrong[: round(wrong * n)] = True
    texts[is_wrong] = texts[is_wrong].roll(1, 0)
    keys = [f"{seed}/{i:05d}" for i in range(n)]
    return Pairs(keys, images, texts), is_wrong.numpy()


def auc(scores, is_right):
    """Share of (right, wrong) couples in the right order."""
    right, wrong = scores[is_right], scores[~is_right]
    return (right[:, None] > wrong[None]).mean()


@pytest.mark.parametrize("trusts", [False, True])
def test_right_pairs_score_above_wrong_ones(trusts):
    pairs, is_wrong = planted()
    known = planted(200, wrong=0, seed=1)[0] if trusts else None
    scores = fit_contrastive(pairs, known, seed=0)(pairs)
    assert auc(scores, ~is_wrong) > 0.95
    assert np.median(scores[~is_wrong]) > 0 > np.median(scores[is_wrong])


def test_trusted_pairs_help_where_most_are_wrong():
    pairs, is_wrong = planted(wrong=0.9)
    known, _ = planted(100, wrong=0, seed=1)
    alone = auc(fit_contrastive(pairs, None, seed=0)(pairs), ~is_wrong)
    helped = auc(fit_contrastive(pairs, known, seed=0)(pairs), ~is_wrong)
    assert helped > alone + 0.02


def test_scores_go_with_keys_not_rows(fitted):
    pairs, scorer = fitted
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    shuffled = Pairs([pairs.keys[i] for i in order.tolist()], pairs.images[order], pairs.texts[order])
    np.testing.assert_allclose(scorer(shuffled), scorer(pairs)[order.numpy()], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("trusts", [False, True])
def test_no_pair_is_scored_by_heads_that_saw_it(monkeypatch, trusts):
    pairs, _ = planted(400)
    known = planted(200, wrong=0, seed=1)[0] if trusts else None
    row_of = {tuple(row.tolist()): i for i, row in enumerate(pairs.texts)}
    seen, scored = {}, []  # rows of the sample, by the heads trained on them; heads and rows scored by them

    real_train, real_score = contrastive.train_proxy, contrastive._FoldModel.score

    def train(images, texts, options, seed):
        heads = real_train(images, texts, options, seed)
        seen[id(heads)] = {row_of.get(tuple(row.tolist())) for row in texts}
        return heads

    def score(model, images, texts):
        scored.append((id(model.heads), {row_of[tuple(row.tolist())] for row in texts}))
        return real_score(model, images, texts)

    monkeypatch.setattr(contrastive, "train_proxy", train)
    monkeypatch.setattr(contrastive._FoldModel, "score", score)
    scorer = fit_contrastive(pairs, known, seed=3)
    scorer(pairs)
    assert len(seen) == 16  # 4 folds, 4 rounds
    assert all((None in rows) == trusts for rows in seen.values())  # trusted pairs are not of the sample
    assert not any(seen[heads] & rows for heads, rows in scored)
    # 4 rounds while it is fitted, and 3 of them once more for the scores.
    counts = np.bincount([row for _, rows in scored for row in rows], minlength=400)
    assert (counts == 7).all()


def test_no_trusted_pair_with_a_fold_is_scored_by_heads_that_saw_it(monkeypatch):
    pairs, known = planted(400)[0], planted(200, wrong=0, seed=1)[0]
    row_of = {tuple(row.tolist()): i for i, row in enumerate(known.texts)}
    folds = folds_of(known.keys, 3)
    assert sorted(set(folds.tolist())) == [0, 1, 2, 3]
    seen, scored = {}, []
    real_train, real_score = contrastive.train_proxy, contrastive._FoldModel.score

    def train(images, texts, options, seed):
        heads = real_train(images, texts, options, seed)
        seen[id(heads)] = {row_of.get(tuple(row.tolist())) for row in texts} - {None}
        return heads

    def score(model, images, texts):
        scored.append((id(model.heads), {row_of.get(tuple(row.tolist())) for row in texts}))
        return real_score(model, images, texts)

    monkeypatch.setattr(contrastive, "train_proxy", train)
    monkeypatch.setattr(contrastive._FoldModel, "score", score)
    scorer = fit_contrastive(pairs, known, 3, folds)
    scored.clear()
    scorer(known, folds)
    assert len(seen) == 16 and not any(seen[heads] & rows for heads, rows in scored)
    # All heads learn from the pairs of the three other folds, and three rounds score each pair.
    by_fold = [{row for row in range(200) if folds[row] != fold} for fold in range(4)]
    assert list(seen.values()) == by_fold * 4
    assert (np.bincount([row for _, rows in scored for row in rows], minlength=200) == 3).all()


def test_wrong_pairs_can_not_be_learnt_by_heart(monkeypatch):
    """Heads that have seen the wrong pairs, and have room for them, score them as right; cross-fitted ones do not."""
    pairs, is_wrong = planted(300, wrong=0.3)
    images = (pairs.images - pairs.images.mean(0)) / pairs.images.std(0)
    options = ProxyOptions(num_steps=600, batch_size=64, learning_rate=5e-3, width=32, hidden=256)
    saw_all = contrastive.train_proxy(images, pairs.texts, options, seed=0)
    with torch.no_grad():
        learnt = (saw_all.embed_images(images) * saw_all.embed_texts(pairs.texts)).sum(1).numpy()
    assert auc(learnt, ~is_wrong) < 0.85
    assert auc(fit_contrastive(pairs, None, seed=0)(pairs), ~is_wrong) > 0.9


def test_captions_of_one_image_fall_into_one_fold(reduced, album, tmp_path, monkeypatch):
    options = ProxyOptions(num_steps=10, batch_size=4, width=8)
    monkeypatch.setattr(contrastive, "_OPTIONS", options)
    asked = []
    real_folds = ContrastiveScorer.folds

    def folds(self, keys, number):
        asked.extend(keys)
        return real_folds(self, keys, number)

    monkeypatch.setattr(ContrastiveScorer, "folds", folds)
    bert = write_bert(tmp_path / "bert")
    reduced(of=album, task="tldr_score", alignment="contrastive", similarity_weights=str(bert))
    assert set(asked) == {row["image"] for row in album.rows}  # not those of the pairs, "...#0" and so on


def test_the_score_is_pointwise_mutual_information(fitted):
    model = fitted[1].rounds[0][0]
    images, texts = torch.randn(3, 16), torch.randn(3, 12)
    found = model.score(images, texts)
    with torch.no_grad():
        scale = float(model.heads.log_scale.exp())
        a, b = model.heads.embed_images(images), model.heads.embed_texts(texts)
    for i in range(3):
        own = scale * float(a[i] @ b[i])
        by_caption = np.log(np.mean([np.exp(scale * float(a[i] @ t)) for t in model.other_texts]))
        by_image = np.log(np.mean([np.exp(scale * float(b[i] @ v)) for v in model.other_images]))
        assert float(found[i]) == pytest.approx(2 * own - by_caption - by_image, rel=1e-3, abs=1e-3)


def test_nothing_to_score(fitted):
    pairs, scorer = fitted
    assert scorer(Pairs([], pairs.images[:0], pairs.texts[:0])).shape == (0,)


def test_a_saved_scorer_scores_alike(fitted, tmp_path):
    pairs, scorer = fitted
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
