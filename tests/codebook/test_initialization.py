import numpy as np
import pytest
import torch

from lavis_tldr.codebook.initialization import lloyd, match_moments


def correlated(rows: int, width: int, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(rows, width)) @ rng.normal(size=(width, width)) + rng.normal(size=width))


def test_moments_are_those_of_the_features():
    embeddings, features = correlated(60, 5, seed=0), correlated(80, 5, seed=1)
    codes = match_moments(embeddings, features, shrinkage=0.0)
    torch.testing.assert_close(codes.mean(0), features.mean(0))
    torch.testing.assert_close(codes.T.cov(), features.T.cov())


def test_wider_embeddings_keep_the_features_covariance():
    embeddings, features = correlated(60, 9, seed=0), correlated(80, 4, seed=1)
    codes = match_moments(embeddings, features, shrinkage=0.0)
    torch.testing.assert_close(codes.T.cov(), features.T.cov())


def test_narrower_embeddings_fill_the_features_first_directions():
    embeddings, features = correlated(60, 2, seed=0), correlated(80, 5, seed=1)
    codes = match_moments(embeddings, features, shrinkage=0.0)
    variances = torch.linalg.eigvalsh(codes.T.cov()).flip(0)
    wanted = torch.linalg.eigvalsh(features.T.cov()).flip(0)
    torch.testing.assert_close(variances[:2], wanted[:2])
    torch.testing.assert_close(variances[2:], torch.zeros(3, dtype=variances.dtype))


def test_fewer_keywords_than_dimensions():
    codes = match_moments(correlated(4, 12, seed=0), correlated(50, 6, seed=1), shrinkage=0.0)
    assert codes.isfinite().all()
    assert codes.abs().max() < 100


def test_shrinkage_draws_codes_towards_the_mean():
    embeddings, features = correlated(60, 5, seed=0), correlated(80, 5, seed=1)
    variances = [match_moments(embeddings, features, s).var(0).sum() for s in (0.0, 0.1, 1.0)]
    assert variances[0] > variances[1] > variances[2]


def test_order_of_keywords_does_not_matter():
    embeddings, features = correlated(40, 6, seed=0), correlated(80, 5, seed=1)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(match_moments(embeddings[order], features), match_moments(embeddings, features)[order])


def test_dtype_is_the_features():
    assert match_moments(correlated(9, 3, 0), correlated(9, 3, 1).float()).dtype == torch.float32


def test_too_few_rows_or_all_alike():
    with pytest.raises(ValueError, match="1 embeddings and 9 features"):
        match_moments(torch.zeros(1, 3), correlated(9, 3, 0))
    with pytest.raises(ValueError, match="all alike"):
        match_moments(torch.ones(5, 3), correlated(9, 3, 0))


def naive_lloyd(features: np.ndarray, codes: np.ndarray, num_iterations: int) -> np.ndarray:
    """For starts that leave no code empty."""
    codes = codes.copy()
    for _ in range(num_iterations):
        members = [[] for _ in codes]
        for x in features:
            members[min(range(len(codes)), key=lambda k: ((x - codes[k]) ** 2).sum())].append(x)
        codes = np.array([np.mean(rows, axis=0) for rows in members])
    return codes


def test_lloyd_against_a_naive_oracle():
    features = correlated(200, 3, seed=3).float()
    start = features[::25]
    codes = lloyd(features, start, 4, generator=torch.Generator())
    np.testing.assert_allclose(codes.numpy(), naive_lloyd(features.numpy(), start.numpy(), 4), rtol=1e-4, atol=1e-5)


def test_empty_codes_restart_at_features():
    features = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
    start = torch.tensor([[0.5], [1000.0], [2000.0]])
    codes = lloyd(features, start, 1, generator=torch.Generator().manual_seed(0))
    assert codes[0].item() == 5.5
    restarted = codes[1:].flatten().tolist()
    assert set(restarted) < {0.0, 1.0, 10.0, 11.0} and len(set(restarted)) == 2
    assert start[1].item() == 1000.0
    again = lloyd(features, start, 1, generator=torch.Generator().manual_seed(0))
    assert torch.equal(codes, again)


def test_fewer_features_than_codes():
    with pytest.raises(ValueError, match="3 features can't place 4 codes"):
        lloyd(torch.zeros(3, 2), torch.zeros(4, 2), 1, generator=torch.Generator())
