"""Models; importing this registers them with LAVIS."""

from lavis_tldr.models.blip.pretrain import BlipPretrainTLDR
from lavis_tldr.models.codebook_captioner import CodebookCaptioner

__all__ = ["BlipPretrainTLDR", "CodebookCaptioner"]
