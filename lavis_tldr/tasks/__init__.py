"""Tasks; importing this registers them with LAVIS."""

from lavis_tldr.tasks.codebook_captioning import CodebookCaptioningTask

__all__ = ["CodebookCaptioningTask"]
