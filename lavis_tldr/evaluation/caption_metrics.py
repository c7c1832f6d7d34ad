"""CIDEr and BLEU-4 of generated captions, by pycocoevalcap, without its Java tokenizer."""

import re
from collections.abc import Mapping, Sequence

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider

_WORDS = re.compile(r"[a-z0-9']+")


def caption_metrics(captions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Scores of one caption an image against its references.

    Differs from the COCO server: words are runs of letters, digits and apostrophes in lower case, where COCO's
    evaluation calls the Stanford PTB tokenizer, a Java program. Figures agree closely, not to the last digit.

    Args:
        captions: Image id to caption.
        references: Image id to human captions, for the same images.

    Returns:
        ``cider`` and ``bleu4`` (both with 1.0 as the top of their usual scale, not 100), and ``distinct``, the number
        of different captions.

    Raises:
        ValueError: If the two are not of the same images.
    """
    if set(captions) != set(references):
        raise ValueError(f"{len(captions)} captions and {len(references)} reference sets are not of the same images.")
    ids = sorted(captions)
    given = {i: [_words(captions[i])] for i in ids}
    wanted = {i: [_words(reference) for reference in references[i]] for i in ids}
    cider, _ = Cider().compute_score(wanted, given)
    bleu, _ = Bleu(4).compute_score(wanted, given, verbose=0)
    return {"cider": float(cider), "bleu4": float(bleu[3]), "distinct": len(set(captions.values()))}


def _words(caption: str) -> str:
    return " ".join(_WORDS.findall(caption.lower()))
