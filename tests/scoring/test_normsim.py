"""NormSim against a naive oracle, and on a planted target."""

import numpy as np
import pytest
import torch

from lavis_tldr.scoring import normsim
from lavis_tldr.scoring.normsim import NormSim, norm_similarity, standardize_images


@pytest.fixture(autouse=True, params=[(3, 4), (1024, 8192)], ids=["small-blocks", "blocks"])
def blocks(request, monkeypatch):
    """However much is compared at once."""
    monkeypatch.setattr(normsim, "_ROWS", request.param[0])
    monkeypatch.setattr(normsim, "_TARGETS", request.param[1])


def drawn(n, width, seed):
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def unit(rows):
    return rows / rows.norm(dim=1, keepdim=True)


def naive(features, targets, p):
    found = []
    for x in features.tolist():
        similarities = [sum(a * b for a, b in zip(x, t, strict=True)) for t in targets.tolist()]
        squares = sum(s * s for s in similarities)
        found.append(max(similarities) if p == "inf" else (squares / len(similarities)) ** 0.5)
    return found


@pytest.mark.parametrize("p", ["inf", "2"])
def test_norms_by_a_naive_oracle(p):
    features, targets = unit(drawn(7, 5, 0)), unit(drawn(9, 5, 1))
    found = norm_similarity(features, targets, p)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), naive(features, targets, p), atol=1e-5)


def test_p_2_ranks_as_the_papers_norm_does():
    features, targets = unit(drawn(50, 5, 0)), unit(drawn(9, 5, 1))
    papers = torch.linalg.vector_norm(features @ targets.T, ord=2, dim=1)
    assert norm_similarity(features, targets, "2").argsort().tolist() == papers.argsort().tolist()


def test_nothing_to_compare():
    assert norm_similarity(torch.zeros(0, 5), unit(drawn(2, 5, 0)), "inf").shape == (0,)
    assert norm_similarity(unit(drawn(2, 5, 0)), torch.zeros(0, 5), "inf").isnan().all()


def target(images, texts, p="inf", folds=(0, 1)):
    """A target of which image and caption i lie in fold ``folds[i % 2]``."""
    mean, spread = images.mean(0), images.std(0)
    image_folds, text_folds = (torch.tensor([folds[i % 2] for i in range(len(x))]) for x in (images, texts))
    standardized = standardize_images(images, mean, spread).half()
    return NormSim(mean, spread, standardized, unit(texts).half(), image_folds, text_folds, p)


@pytest.mark.parametrize("p", ["inf", "2"])
def test_a_pair_has_the_mean_of_its_image_and_its_caption(p):
    images, texts, known, said = drawn(6, 5, 0), drawn(6, 4, 1), drawn(8, 5, 2), drawn(8, 4, 3)
    scorer = target(known, said, p)
    standardized = unit((images - known.mean(0)) / known.std(0)), unit((known - known.mean(0)) / known.std(0))
    by_image, by_caption = naive(*standardized, p), naive(unit(texts), unit(said), p)
    np.testing.assert_allclose(scorer(images, texts), np.add(by_image, by_caption) / 2, atol=2e-3)
    np.testing.assert_allclose(scorer(images, None), by_image, atol=2e-3)
    alone = target(known, said[:0], p)
    np.testing.assert_allclose(alone(images, texts), by_image, atol=2e-3)


def test_pairs_of_the_target_are_scored_without_their_fold():
    known, said = drawn(8, 5, 2), drawn(8, 4, 3)
    scorer = target(known, said)
    assert (scorer(known, said) > 0.99).all()  # each is its own nearest
    folds = np.arange(8) % 2
    found = scorer(known, said, folds)
    for fold in (0, 1):
        # As by a target of the other fold alone.
        others = target(known, said)
        kept = torch.arange(8) % 2 != fold
        others.images, others.image_folds = others.images[kept], others.image_folds[kept]
        others.texts, others.text_folds = others.texts[kept], others.text_folds[kept]
        np.testing.assert_array_equal(found[folds == fold], others(known[folds == fold], said[folds == fold]))
    assert (found < 0.95).all()


def test_the_targets_kind_is_found_among_others():
    """Images of nine kinds, of which the target has one: all of this kind come first."""
    kinds = 4 * drawn(9, 16, 0)
    kind_of = torch.arange(180) % 9
    pool = kinds[kind_of] + drawn(180, 16, 1)
    wanted = kinds[4] + drawn(30, 16, 2)
    mean, spread = pool.mean(0), pool.std(0)
    nothing = torch.zeros(30, dtype=torch.int64) - 1
    for p in ("inf", "2"):
        images = standardize_images(wanted, mean, spread).half()
        scores = NormSim(mean, spread, images, torch.zeros(0, 1), nothing, nothing[:0], p)(pool, None)
        assert set(np.argsort(-scores)[:20].tolist()) == set(torch.nonzero(kind_of == 4)[:, 0].tolist())


def test_a_saved_target_scores_alike(tmp_path):
    known, said = drawn(8, 5, 2), drawn(8, 4, 3)
    scorer = target(known, said, "2")
    scorer.save(tmp_path / "one.safetensors")
    loaded = NormSim.load(tmp_path / "one.safetensors", "2", "cpu")
    folds = np.arange(8) % 2
    np.testing.assert_array_equal(loaded(known, said, folds), scorer(known, said, folds))
    loaded.save(tmp_path / "two.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    (tmp_path / "one.safetensors").write_bytes(b"none")
    with pytest.raises(ValueError, match=r"one\.safetensors holds no target.*--restart score"):
        NormSim.load(tmp_path / "one.safetensors", "2", "cpu")
