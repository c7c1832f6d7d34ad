"""Datasets; importing this registers the builders with LAVIS."""

from lavis_tldr.datasets.augmentation import PretrainImageProcessor
from lavis_tldr.datasets.caption_pairs import CaptionPairs, CaptionPairsBuilder
from lavis_tldr.datasets.source_parts import SourceParts, SourcePartsBuilder
from lavis_tldr.datasets.tldr_captioning import CaptioningBuilder, CaptionsToLearn, ImagesToCaption
from lavis_tldr.datasets.tldr_grounding import GroundingBuilder, GroundingImages
from lavis_tldr.datasets.tldr_nlvr import NlvrBuilder, NlvrEvaluation, NlvrTraining
from lavis_tldr.datasets.tldr_pairs import SourcePairs, SourcePairsBuilder
from lavis_tldr.datasets.tldr_reduced import ReducedBuilder, ReducedPairs
from lavis_tldr.datasets.tldr_retrieval import RetrievalImages, RetrievalImagesBuilder
from lavis_tldr.datasets.tldr_video_retrieval import VideoRetrieval, VideoRetrievalBuilder
from lavis_tldr.datasets.tldr_vqa import VqaBuilder, VqaEvaluation, VqaTraining
from lavis_tldr.datasets.tldr_zero_shot import ClassFolders, ClassFoldersBuilder

__all__ = [
    "CaptionPairs",
    "CaptionPairsBuilder",
    "CaptioningBuilder",
    "CaptionsToLearn",
    "ClassFolders",
    "ClassFoldersBuilder",
    "GroundingBuilder",
    "GroundingImages",
    "ImagesToCaption",
    "NlvrBuilder",
    "NlvrEvaluation",
    "NlvrTraining",
    "PretrainImageProcessor",
    "ReducedBuilder",
    "ReducedPairs",
    "RetrievalImages",
    "RetrievalImagesBuilder",
    "SourcePairs",
    "SourcePairsBuilder",
    "SourceParts",
    "SourcePartsBuilder",
    "VideoRetrieval",
    "VideoRetrievalBuilder",
    "VqaBuilder",
    "VqaEvaluation",
    "VqaTraining",
]
