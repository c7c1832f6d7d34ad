"""The ViLT family, which LAVIS lacks: pretraining, retrieval, VQA, NLVR2 and zero-shot classification."""

from lavis_tldr.models.vilt.classification import ViltClassification
from lavis_tldr.models.vilt.nlvr import ViltNlvr
from lavis_tldr.models.vilt.pretrain import ViltPretrain
from lavis_tldr.models.vilt.retrieval import ViltRetrieval
from lavis_tldr.models.vilt.vqa import ViltVqa

__all__ = ["ViltClassification", "ViltNlvr", "ViltPretrain", "ViltRetrieval", "ViltVqa"]
