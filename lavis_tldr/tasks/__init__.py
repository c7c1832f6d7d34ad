"""Tasks; importing this registers them with LAVIS."""

from lavis_tldr.tasks.captioning import CaptioningTask
from lavis_tldr.tasks.codebook_captioning import CodebookCaptioningTask
from lavis_tldr.tasks.grounding import GroundingTask
from lavis_tldr.tasks.nlvr import NlvrTask
from lavis_tldr.tasks.pretraining import PretrainingTask
from lavis_tldr.tasks.reduce import EncodeTask, ReduceTask, RefineTask, RepairTask, ScoreTask
from lavis_tldr.tasks.retrieval_evaluation import RetrievalEvaluationTask
from lavis_tldr.tasks.video_retrieval import VideoRetrievalTask
from lavis_tldr.tasks.vqa import VqaAccuracyTask
from lavis_tldr.tasks.zero_shot import ZeroShotTask

__all__ = [
    "CaptioningTask",
    "CodebookCaptioningTask",
    "EncodeTask",
    "GroundingTask",
    "NlvrTask",
    "PretrainingTask",
    "ReduceTask",
    "RefineTask",
    "RepairTask",
    "RetrievalEvaluationTask",
    "ScoreTask",
    "VideoRetrievalTask",
    "VqaAccuracyTask",
    "ZeroShotTask",
]
