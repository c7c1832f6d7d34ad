"""Tasks; importing this registers them with LAVIS."""

from lavis_tldr.tasks.codebook_captioning import CodebookCaptioningTask
from lavis_tldr.tasks.pretraining import PretrainingTask
from lavis_tldr.tasks.reduce import EncodeTask, ReduceTask, RefineTask, RepairTask, ScoreTask
from lavis_tldr.tasks.retrieval_evaluation import RetrievalEvaluationTask
from lavis_tldr.tasks.zero_shot import ZeroShotTask

__all__ = [
    "CodebookCaptioningTask",
    "EncodeTask",
    "PretrainingTask",
    "ReduceTask",
    "RefineTask",
    "RepairTask",
    "RetrievalEvaluationTask",
    "ScoreTask",
    "ZeroShotTask",
]
