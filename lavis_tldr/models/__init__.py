"""Models; importing this registers them with LAVIS."""

from lavis_tldr.models.blip.caption import BlipCaptionTLDR
from lavis_tldr.models.blip.pretrain import BlipPretrainTLDR
from lavis_tldr.models.clip_pretrain import ClipPretrain
from lavis_tldr.models.codebook_captioner import CodebookCaptioner
from lavis_tldr.models.vilt import ViltClassification, ViltNlvr, ViltPretrain, ViltRetrieval, ViltVqa

__all__ = [
    "BlipCaptionTLDR",
    "BlipPretrainTLDR",
    "ClipPretrain",
    "CodebookCaptioner",
    "ViltClassification",
    "ViltNlvr",
    "ViltPretrain",
    "ViltRetrieval",
    "ViltVqa",
]
