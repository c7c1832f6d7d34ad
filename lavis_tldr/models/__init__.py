"""Models; importing this registers them with LAVIS."""

from lavis_tldr.models.clip_pretrain import ClipPretrain
from lavis_tldr.models.codebook_captioner import CodebookCaptioner

__all__ = ["ClipPretrain", "CodebookCaptioner"]
