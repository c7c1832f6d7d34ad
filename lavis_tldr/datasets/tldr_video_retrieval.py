"""``tldr_video_retrieval``: videos and their captions, to find a video by its caption.

datasets:
  tldr_video_retrieval: {path: data/msrvtt}
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from lavis.common.registry import registry
from lavis.datasets.builders.base_dataset_builder import BaseDatasetBuilder
from omegaconf import OmegaConf
from torch.utils.data import Dataset

from lavis_tldr.config_keys import check_dataset_keys
from lavis_tldr.datasets.downstream.msrvtt import read_captions
from lavis_tldr.datasets.sample_lists import as_list
from lavis_tldr.datasets.video_frames import frame_numbers, read_frames

_CONFIG = Path(__file__).parent.parent / "configs" / "datasets" / "tldr_video_retrieval.yaml"


class VideoRetrieval(Dataset):
    """Videos in the order of the list.

    A sample is ``{"index": int, "image": (F, 3, H, W)}``, a video's frames; of a video that can't be read
    ``{"index": int, "error": str}`` instead. A batch is ``{"samples": [sample, ...]}``.

    Attributes:
        video: File name of each video.
        text: Captions of all videos, those of the first video first.
        txt2video: Index of the video of each caption.

    Args:
        captions: Captions by file name.
        folder: Of the videos.
        vis_processor: Maps a PIL image to a tensor, of one size.
        text_processor: Maps a caption to the text that is looked for.
        frames: F.
        frame_rule: See `frame_numbers`.

    Raises:
        ValueError: If none of the videos is there, or there are no such frames.
    """

    def __init__(
        self,
        captions: Mapping[str, Sequence[str]],
        folder: Path,
        vis_processor: Callable,
        text_processor: Callable,
        *,
        frames: int = 8,
        frame_rule: str = "segments",
    ):
        frame_numbers(frames, frames, frame_rule)
        self.folder, self.frames, self.frame_rule = folder, frames, frame_rule
        self.vis_processor = vis_processor
        self.collater = as_list
        self.video = list(captions)
        self.text = [text_processor(caption) for own in captions.values() for caption in own]
        self.txt2video = [number for number, own in enumerate(captions.values()) for _ in own]
        if not any((folder / video).is_file() for video in self.video):
            raise ValueError(
                f"none of the {len(self.video):,} videos is in {folder} (first: {self.video[0]}): set "
                "datasets.tldr_video_retrieval.videos."
            )

    def __len__(self) -> int:
        return len(self.video)

    def __getitem__(self, index: int) -> dict:
        try:
            frames = read_frames(self.folder / self.video[index], self.frames, self.frame_rule)
        except ValueError as error:
            return {"index": index, "error": str(error)}
        return {"index": index, "image": torch.stack([self.vis_processor(frame) for frame in frames])}


@registry.register_builder("tldr_video_retrieval")
class VideoRetrievalBuilder(BaseDatasetBuilder):
    """Builds `VideoRetrieval` as the run's split "test"; nothing is downloaded or copied."""

    eval_dataset_cls = VideoRetrieval
    DATASET_CONFIG_DICT = {"default": str(_CONFIG)}

    def _download_data(self) -> None:
        """The set is read where it lies."""

    def build(self) -> dict[str, VideoRetrieval]:
        cfg = self.config
        check_dataset_keys("tldr_video_retrieval", cfg, OmegaConf.load(_CONFIG).datasets.tldr_video_retrieval)
        if not cfg.path:
            raise ValueError("datasets.tldr_video_retrieval.path is not set: name the folder of MSRVTT.")
        self.build_processors()
        path = Path(cfg.path).expanduser()
        dataset = VideoRetrieval(
            read_captions(path / cfg.annotations),
            path / cfg.videos,
            self.vis_processors["eval"],
            self.text_processors["eval"],
            frames=int(cfg.frames),
            frame_rule=str(cfg.frame_rule),
        )
        return {"test": dataset}
