"""Tasks; importing this registers them with LAVIS."""

from lavis_tldr.tasks.codebook_captioning import CodebookCaptioningTask
from lavis_tldr.tasks.reduce import EncodeTask, ReduceTask, RefineTask, ScoreTask
from lavis_tldr.tasks.repair import RepairTask

__all__ = [
    "CodebookCaptioningTask",
    "EncodeTask",
    "ReduceTask",
    "RefineTask",
    "RepairTask",
    "ScoreTask",
]
