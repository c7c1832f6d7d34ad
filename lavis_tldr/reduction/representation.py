"""What K-Means sees of an image: its code indices turned into a feature vector.

Shapes: N images, L codes an image, K codes in the codebook, D dimensions a code, F features an image.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_matrix

# Elements held at once while code vectors are gathered: 2**23 float32 are 32 MiB.
_BLOCK_ELEMENTS = 2**23


def represent(
    codes: np.ndarray,
    kind: str = "index",
    *,
    num_codes: int,
    tfidf: bool = False,
    idf: np.ndarray | None = None,
    codebook: np.ndarray | None = None,
) -> np.ndarray:
    """Feature vectors of the images with these codes.

    - ``index``: the code indices themselves (paper, section 3.2, to the letter); F = L.
    - ``histogram``: how often each code occurs, L2-normalised; F = K. Differs from the paper: code numbers
      are names, so the distance between two of them says nothing; a histogram does not depend on the
      numbering.
    - ``embedding``: the mean code vector, L2-normalised; F = D.

    Args:
        codes: Code indices, (N, L), integers in [0, K).
        kind: One of ``REPRESENTATIONS``.
        num_codes: K.
        tfidf: Weigh the histogram's counts by ``idf``.
        idf: Inverse document frequencies, (K,); None takes those of ``codes``. When a set is read in blocks,
            give those of the whole set, or the blocks' features are not comparable.
        codebook: Code vectors, (K, D); needed for ``embedding`` only.

    Returns:
        Features, (N, F), float32.

    Raises:
        ValueError: If the codes are not integers in [0, K) of two dimensions, if ``kind`` is unknown, or if
            an option does not fit ``kind``.
    """
    if kind not in REPRESENTATIONS:
        raise ValueError(f"representation is {kind!r}; it must be one of {sorted(REPRESENTATIONS)}.")
    if kind != "histogram" and (tfidf or idf is not None):
        raise ValueError(
            f"tf-idf weighs code counts, but representation is {kind!r}: turn tfidf off or use 'histogram'."
        )
    if idf is not None and not tfidf:
        raise ValueError("idf is given but tfidf is off: set tfidf=True, or leave idf out.")
    codes = check_codes(codes, num_codes)
    return REPRESENTATIONS[kind](codes, num_codes=num_codes, tfidf=tfidf, idf=idf, codebook=codebook)


def check_codes(codes: np.ndarray, num_codes: int) -> np.ndarray:
    """``codes`` as an array, refused with a ValueError unless it holds integers in [0, K), (N, L)."""
    codes = np.asarray(codes)
    if codes.ndim != 2 or not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(f"codes must be integers of shape (N, L); found {codes.dtype} of shape {codes.shape}.")
    if codes.size and (int(codes.max()) >= num_codes or int(codes.min()) < 0):
        raise ValueError(
            f"codes run from {codes.min()} to {codes.max()}, but the codebook has {num_codes} codes. "
            "Both must come from one captioner: encode again with this codebook."
        )
    return codes


def document_frequency(codes: np.ndarray, num_codes: int) -> np.ndarray:
    """In how many images each code occurs, (K,), int64; blocks of one set may be added up."""
    codes = np.sort(check_codes(codes, num_codes), axis=1)
    first = np.ones(codes.shape, dtype=bool)
    first[:, 1:] = codes[:, 1:] != codes[:, :-1]  # a code counts once an image
    return np.bincount(codes[first], minlength=num_codes)


def idf_from_frequency(frequency: np.ndarray, num_images: int) -> np.ndarray:
    """Smoothed inverse document frequency, ln((1 + N) / (1 + df)) + 1, (K,), float32.

    Smoothed so that a code that occurs everywhere still counts: an image of such codes alone would otherwise
    be a zero vector, which cannot be normalised.
    """
    idf = np.log((1 + num_images) / (1 + np.asarray(frequency, dtype=np.float64))) + 1
    return idf.astype(np.float32)


def inverse_document_frequency(codes: np.ndarray, num_codes: int) -> np.ndarray:
    """Smoothed inverse document frequency of each code in ``codes`` (N, L): (K,), float32."""
    return idf_from_frequency(document_frequency(codes, num_codes), len(codes))


def normalise_rows(features: np.ndarray) -> np.ndarray:
    """Rows of ``features`` (N, F) scaled to length one; a zero row stays zero."""
    # Summed in float64, so that the order of the columns (the codes' numbering) doesn't show in float32.
    norms = np.sqrt(np.einsum("nf,nf->n", features, features, dtype=np.float64))
    return features / np.where(norms == 0, 1, norms).astype(np.float32)[:, None]


def _index(codes: np.ndarray, **_) -> np.ndarray:
    return codes.astype(np.float32)  # (N, L)


def _histogram(codes: np.ndarray, *, num_codes: int, tfidf: bool, idf: np.ndarray | None, **_) -> np.ndarray:
    if tfidf and idf is None:
        idf = inverse_document_frequency(codes, num_codes)
    if idf is not None and np.shape(idf) != (num_codes,):
        raise ValueError(f"idf has shape {np.shape(idf)}; expected ({num_codes},), one weight a code.")
    counts = np.zeros((len(codes), num_codes), dtype=np.float32)  # (N, K)
    rows = max(1, _BLOCK_ELEMENTS // max(num_codes, 1))
    for start in range(0, len(codes), rows):
        block = codes[start : start + rows].astype(np.int64)
        cell = block + np.arange(len(block))[:, None] * num_codes
        flat = np.bincount(cell.ravel(), minlength=len(block) * num_codes)
        counts[start : start + rows] = flat.reshape(len(block), num_codes)
    if idf is not None:
        counts *= np.asarray(idf, dtype=np.float32)
    return normalise_rows(counts)


def _embedding(codes: np.ndarray, *, num_codes: int, codebook: np.ndarray | None, **_) -> np.ndarray:
    if codebook is None:
        raise ValueError("representation 'embedding' is the mean code vector: pass codebook=(K, D) code vectors.")
    codebook = np.asarray(codebook, dtype=np.float32)
    if codebook.ndim != 2 or len(codebook) != num_codes:
        raise ValueError(f"codebook has shape {codebook.shape}; expected ({num_codes}, D), one vector a code.")
    # Bag of codes times code vectors: the same sums as gathering L vectors an image, in a quarter of the time.
    length = codes.shape[1]
    ends = np.arange(0, codes.size + 1, length, dtype=np.int64) if length else np.zeros(len(codes) + 1, np.int64)
    bags = csr_matrix((np.ones(codes.size, np.float32), codes.ravel().astype(np.int64), ends), (len(codes), num_codes))
    return normalise_rows((bags @ codebook) / np.float32(max(length, 1)))  # (N, D)


REPRESENTATIONS: dict[str, Callable[..., np.ndarray]] = {
    "index": _index,
    "histogram": _histogram,
    "embedding": _embedding,
}
