"""CIDEr and BLEU-4 of generated captions, by pycocoevalcap, without its Java tokenizer."""

import re
from collections.abc import Callable, Hashable, Mapping, Sequence

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider

_WORDS = re.compile(r"[a-z0-9']+")


def plain_words(caption: str) -> str:
    """Runs of letters, digits and apostrophes in lower case, one space between them."""
    return " ".join(_WORDS.findall(caption.lower()))


def caption_metrics(
    captions: Mapping[Hashable, str],
    references: Mapping[Hashable, Sequence[str]],
    words: Callable[[str], str] = plain_words,
) -> dict[str, float]:
    """Scores of one caption an image against its references.

    Differs from the COCO server in the words; `coco_captions.coco_scores` counts those of the server.

    Args:
        captions: Image id to caption.
        references: Image id to human captions, for the same images.
        words: Maps a caption to its words, one space between them.

    Returns:
        ``cider`` and ``bleu4`` (both with 1.0 as the top of their usual scale, not 100), and ``distinct``, the number
        of different captions.

    Raises:
        ValueError: If the two are not of the same images.
    """
    if set(captions) != set(references):
        raise ValueError(f"{len(captions)} captions and {len(references)} reference sets are not of the same images.")
    ids = sorted(captions)
    given = {i: [words(captions[i])] for i in ids}
    wanted = {i: [words(reference) for reference in references[i]] for i in ids}
    cider, _ = Cider().compute_score(wanted, given)
    bleu, _ = Bleu(4).compute_score(wanted, given, verbose=0)
    return {"cider": float(cider), "bleu4": float(bleu[3]), "distinct": len(set(captions.values()))}
