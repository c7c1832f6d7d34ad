"""Tasks; importing this registers them with LAVIS."""

from lavis_tldr.tasks.codebook_captioning import CodebookCaptioningTask
from lavis_tldr.tasks.reduce import EncodeTask, ReduceTask, RefineTask, RepairTask, ScoreTask

__all__ = [
    "CodebookCaptioningTask",
    "EncodeTask",
    "ReduceTask",
    "RefineTask",
    "RepairTask",
    "ScoreTask",
]
