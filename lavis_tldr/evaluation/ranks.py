"""Ranks in retrieval and what is told of them: hit rates and the median.

A query's rank is that of its best-placed right item, from 1: how many items score higher, and how many score the same
and come before it. Without ties that is what the official codes of BLIP, ALBEF and ViLT count. With ties they differ
among each other and some are optimistic, so that a model which gives all pairs one score finds everything; by this rule
it is at chance.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

_KS = (1, 5, 10)


def best_ranks(rows: Iterable[np.ndarray], right: Sequence[Sequence[int]]) -> np.ndarray:
    """Rank of each query's best-placed right item, (Q,) int64, from 1.

    Args:
        rows: Each query's scores of all items, (N,): a matrix (Q, N), or made one after the other.
        right: Indices of each query's right items.

    Raises:
        ValueError: If a score is NaN or infinite, or a query has no right item.
    """
    ranks = []
    for query, (scores, own) in enumerate(zip(rows, right, strict=True)):
        if not len(own):
            raise ValueError(f"query {query} has no right item: give each image a caption, or leave it out.")
        if not np.isfinite(scores).all():
            bad = int((~np.isfinite(scores)).sum())
            raise ValueError(f"{bad} of {len(scores)} scores of query {query} are NaN or infinite: it has no rank.")
        own = np.asarray(own)
        best = scores[own].max()
        first = own[scores[own] == best].min()
        ranks.append(1 + (scores > best).sum() + (scores[:first] == best).sum())
    return np.array(ranks, dtype=np.int64)


def hit_rate(ranks: np.ndarray, k: int) -> float:
    """Share of the queries with a right item among the first k, in percent: what papers call R@k.

    Not recall, which would count how many of a query's right items are there.

    Raises:
        ValueError: If there is no query.
    """
    if not len(ranks):
        raise ValueError("there are no queries to rank.")
    return 100 * float((ranks <= k).mean())


def median_rank(ranks: np.ndarray) -> float:
    """The median of ranks from 1; of an even number the mean of the middle two."""
    return float(np.median(ranks))


def retrieval_ranks(
    of_images: Iterable[np.ndarray],
    of_texts: Iterable[np.ndarray],
    img2txt: Mapping[int, Sequence[int]],
    txt2img: Mapping[int, int],
) -> dict[str, np.ndarray]:
    """`best_ranks` both ways.

    Args:
        of_images: Each image's scores of all texts, (M,).
        of_texts: Each text's scores of all images, (N,).
        img2txt: Texts of each image, 0 to N - 1; any number.
        txt2img: Image of each text, 0 to M - 1.

    Returns:
        ``txt``, of image to text, (N,); ``img``, of text to image, (M,).

    Raises:
        ValueError: As `best_ranks`.
    """
    return {
        "txt": best_ranks(of_images, [img2txt[image] for image in range(len(img2txt))]),
        "img": best_ranks(of_texts, [[txt2img[text]] for text in range(len(txt2img))]),
    }


def retrieval_figures(ranks: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The figures of LAVIS's task ``retrieval``, in percent.

    Args:
        ranks: See `retrieval_ranks`.

    Returns:
        ``txt_r1``, ``txt_r5``, ``txt_r10`` (image to text), ``img_r1`` ... (text to image), the means of three
        ``txt_r_mean`` and ``img_r_mean``, of six ``r_mean``; and ``agg_metrics``, by which LAVIS chooses: the same as
        ``txt_r_mean``.
    """
    figures: dict[str, float] = {}
    for way, found in ranks.items():
        rates = {f"{way}_r{k}": hit_rate(found, k) for k in _KS}
        figures |= {**rates, f"{way}_r_mean": float(np.mean(list(rates.values())))}
    figures["r_mean"] = (figures["txt_r_mean"] + figures["img_r_mean"]) / 2
    return {**figures, "agg_metrics": figures["txt_r_mean"]}
