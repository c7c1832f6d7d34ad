"""How well texts fit images, by any of the architectures, for the evaluations."""

from lavis.models.blip_models.blip_image_text_matching import BlipITM
from lavis.models.blip_models.blip_pretrain import BlipPretrain
from lavis.models.blip_models.blip_retrieval import BlipRetrieval
from lavis.models.clip_models.model import CLIP
from torch import nn

from lavis_tldr.models.scorers.blip import BlipScorer
from lavis_tldr.models.scorers.clip import ClipScorer
from lavis_tldr.models.scorers.scorer import ImageTextScorer, ReadImages
from lavis_tldr.models.scorers.vilt import ViltScorer
from lavis_tldr.models.vilt.pretrain import ViltPretrain
from lavis_tldr.models.vilt.scoring import PairScorer

__all__ = ["ImageTextScorer", "ReadImages", "scorer_class_of", "scorer_of"]

_SCORERS = (
    (CLIP, ClipScorer),
    ((BlipRetrieval, BlipITM, BlipPretrain), BlipScorer),
    ((ViltPretrain, PairScorer), ViltScorer),
)
_KNOWN = (
    "clip, clip_pretrain; blip_retrieval, blip_image_text_matching, blip_pretrain, blip_pretrain_tldr; vilt_pretrain, "
    "vilt_retrieval, vilt_classification"
)


def scorer_class_of(model_class: type) -> type[ImageTextScorer]:
    """How models of a class score; said before one is built, or data is read.

    Raises:
        ValueError: If they say nothing of how well a text fits an image.
    """
    for kinds, scorer in _SCORERS:
        if issubclass(model_class, kinds):
            return scorer
    raise ValueError(
        f"{model_class.__name__} does not say how well a text fits an image, which this evaluation needs; take one of "
        f"{_KNOWN}."
    )


def scorer_of(model: nn.Module) -> ImageTextScorer:
    """The model as a scorer.

    Args:
        model: In eval mode.

    Raises:
        ValueError: As `scorer_class_of`.
    """
    return scorer_class_of(type(model))(model)
