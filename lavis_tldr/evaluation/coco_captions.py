"""CIDEr and BLEU-4 as COCO's evaluation gives them, overall and by domain (NoCaps), without Java or a network.

pycocoevalcap's own ``COCOEvalCap`` needs both: SPICE, which it makes beside the others, downloads a parser first.
"""

import logging
from collections.abc import Hashable, Iterable, Mapping, Sequence

from lavis_tldr.evaluation.caption_metrics import caption_metrics
from lavis_tldr.evaluation.ptb_tokens import ptb_words

logger = logging.getLogger(__name__)

_MAX_IDS_SHOWN = 3


def coco_scores(
    results: Iterable[Mapping],
    references: Mapping[Hashable, Sequence[str]],
    domains: Mapping[Hashable, str] | None = None,
) -> dict[str, float]:
    """Scores of a list of results.

    CIDEr is the "-D" form with plain idf (pycocoevalcap 1.2), idf counted over the references of the images that are
    evaluated: so on each domain anew, and the overall figure is not the mean of the domains'.

    Args:
        results: ``{"image_id", "caption"}`` of each image once, as the server takes them.
        references: Image id to human captions.
        domains: Image id to domain.

    Returns:
        ``cider`` and ``bleu4``, both times 100; with domains also ``cider_DOMAIN``, ``bleu4_DOMAIN`` and
        ``images_DOMAIN``, how many images it has.

    Raises:
        ValueError: If an image has no caption or two, a caption is of no image or no text, an image has no reference
            or no domain.
    """
    captions = _by_image(results, references)
    scores = _scores(captions, references, "the set")
    if domains is None:
        return scores
    if without := [image for image in references if image not in domains]:
        raise ValueError(f"{_first(without)} has no domain, as {len(without)} of {len(references)} images.")
    for domain in sorted({domains[image] for image in references}):
        inside = [image for image in references if domains[image] == domain]
        part = _scores({i: captions[i] for i in inside}, {i: references[i] for i in inside}, f"the domain {domain}")
        scores |= {f"{name}_{domain}": value for name, value in part.items()}
        scores[f"images_{domain}"] = len(inside)
    return scores


def _by_image(results: Iterable[Mapping], references: Mapping[Hashable, Sequence[str]]) -> dict[Hashable, str]:
    captions: dict[Hashable, str] = {}
    doubled, unknown = [], []
    for result in results:
        image, caption = result.get("image_id"), result.get("caption")
        if image is None or not isinstance(caption, str):
            raise ValueError(f"a result is {dict(result)!r}; expected {{'image_id': ID, 'caption': TEXT}}.")
        if image in captions:
            doubled.append(image)
        if image not in references:
            unknown.append(image)
        captions[image] = caption
    missing = [image for image in references if image not in captions]
    faults = [
        f"{len(images)} {what} ({_first(images)})"
        for what, images in (
            ("images have no caption", missing),
            ("captions are of an image that has one already", doubled),
            ("captions are of images without references", unknown),
        )
        if images
    ]
    if faults:
        raise ValueError(f"expected one caption for each of {len(references)} images: {'; '.join(faults)}.")
    if bare := [image for image, texts in references.items() if not texts or isinstance(texts, str)]:
        raise ValueError(f"{len(bare)} images have no list of references ({_first(bare)}).")
    return captions


def _scores(captions: Mapping[Hashable, str], references: Mapping[Hashable, Sequence[str]], what: str) -> dict:
    if len(captions) == 1:
        logger.warning("%s has one image: CIDEr, whose word weights come from several, is 0 whatever it says.", what)
    metrics = caption_metrics(captions, references, ptb_words)
    return {name: 100 * metrics[name] for name in ("cider", "bleu4")}


def _first(images: Sequence[Hashable]) -> str:
    return f"first: {', '.join(repr(image) for image in images[:_MAX_IDS_SHOWN])}"
