"""Retrieval in two steps, as BLIP and ALBEF evaluate: the best by cosine are scored again by reading pairs.

Q queries, N items, k candidates. From the official code of BLIP (train_retrieval.py: evaluation) and of LAVIS
(albef_models: compute_sim_matrix).
"""

import numpy as np

_UNSCORED = -100.0


def candidates(cosines: np.ndarray, k: int) -> np.ndarray:
    """Each query's k best items, best first, (Q, min(k, N)) int64; of equal ones the lower index comes first.

    Args:
        cosines: (Q, N).
        k: At least 1; more than there are items means all.

    Raises:
        ValueError: If k is less, or a cosine is NaN or infinite.
    """
    if k < 1:
        raise ValueError(f"run.k_test is {k}; re-ranking takes at least one candidate.")
    if not np.isfinite(cosines).all():
        raise ValueError(f"{int((~np.isfinite(cosines)).sum())} cosines are NaN or infinite: nothing is best.")
    k = min(k, cosines.shape[1])
    found = np.empty((len(cosines), k), dtype=np.int64)
    for query, row in enumerate(cosines):  # one at a time: the order of all is as large as the matrix twice
        found[query] = np.argsort(-row, kind="stable")[:k]
    return found


def reranked(cosines: np.ndarray, items: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """A query's final scores, (N,): match logit and cosine of its candidates added up, the rest below all of them.

    Args:
        cosines: (N,).
        items: Its candidates, (k,).
        logits: Their match logits, (k,).

    Returns:
        Of the dtype of ``cosines``. What was no candidate has -100, as in LAVIS, or less where a candidate has that.
    """
    found = logits + cosines[items]
    scores = np.full_like(cosines, min(_UNSCORED, found.min() - 1))
    scores[items] = found
    return scores
