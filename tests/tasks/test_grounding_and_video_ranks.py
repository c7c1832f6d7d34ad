"""RefCOCO+ and MSRVTT in two gloo processes: the figures and predictions of one."""

import json
from pathlib import Path

import clips
import cv2
import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from lavis.common.registry import registry
from PIL import Image
from tiny_blip import build_tiny, register_tiny
from torch.utils.data import DataLoader
from torchvision.transforms.functional import pil_to_tensor, resize
from vilts import CAPTIONS, tiny_vilt

from lavis_tldr.datasets.tldr_grounding import GroundedImage, GroundingImages, Sentence
from lavis_tldr.datasets.tldr_video_retrieval import VideoRetrieval
from lavis_tldr.tasks.grounding import GroundingTask
from lavis_tldr.tasks.video_retrieval import VideoRetrievalTask

NUM_IMAGES, NUM_VIDEOS = 3, 5  # odd: one process has more than the other


def see(image: Image.Image) -> torch.Tensor:
    return resize(pil_to_tensor(image), [32, 32]) / 128 - 1


def draw(folder: Path) -> None:
    """Noise, in 8 x 8 blocks so that it outlives the encoding."""
    rng = np.random.default_rng(0)
    for number in range(NUM_IMAGES):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    for number in range(NUM_VIDEOS):
        writer = cv2.VideoWriter(str(folder / f"{number}.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 64))
        for _ in range(6):
            writer.write(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1))
        writer.release()
    (folder / "1.mp4").write_bytes(b"rotten")


def grounding_set(folder: Path) -> GroundingImages:
    boxes = [[0, 0, 20, 20], [10, 5, 30, 30], [25, 20, 25, 20]]
    images = [
        GroundedImage(f"{i}.png", boxes, boxes[:i], [Sentence(2 * i + j, CAPTIONS[2 * i + j], j) for j in range(2)])
        for i in range(NUM_IMAGES)
    ]
    return GroundingImages(images, folder, split="val", vis_processor=see)


def video_set(folder: Path) -> VideoRetrieval:
    captions = {f"{number}.mp4": [CAPTIONS[number]] for number in range(NUM_VIDEOS)}
    return VideoRetrieval(captions, folder, see, str, frames=3)


@torch.no_grad()
def figures_of_all(data: Path, folder: Path) -> dict:
    for path in ("output_dir", "result_dir"):
        registry.mapping["paths"][path] = str(folder)
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        register_tiny(folder, patch)
        models = {"clip": clips.stock_clip(), "blip": build_tiny(), "vilt": tiny_vilt(folder, "vilt_retrieval")}
        tasks = [
            (f"{name} {way}", model, GroundingTask(way), grounding_set(data))
            for name, model, way in (
                *((name, model, "crop") for name, model in models.items()),
                ("blip", models["blip"], "gradcam"),
            )
        ]
        tasks += [
            (f"{name} video", model, VideoRetrievalTask(k_test=2, per_pass=4), video_set(data))
            for name, model in models.items()
        ]
        for name, model, task, dataset in tasks:
            task.before_evaluation(model.eval(), dataset)
            loader = DataLoader(dataset, batch_size=2, collate_fn=dataset.collater)
            result = task.evaluation(model, loader)
            found[name] = {**task.after_evaluation(result, "test", 0)}
            if "video" in name:
                found[name] |= {"ranks": result["ranks"].tolist(), "unreadable": list(result["unreadable"])}
    return found


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    own = Path(folder) / str(rank)
    own.mkdir()
    (own / "figures.json").write_text(json.dumps(figures_of_all(Path(folder), own)))
    dist.destroy_process_group()


def test_two_ranks_find_what_one_does(tmp_path, monkeypatch):
    for path in ("output_dir", "result_dir"):  # for its end; `figures_of_all` sets them
        monkeypatch.setitem(registry.mapping["paths"], path, "")
    draw(tmp_path)
    mp.spawn(worker, args=(str(tmp_path),), nprocs=2)
    alone = figures_of_all(tmp_path, tmp_path)
    assert len(alone) == 7
    for name in ("clip video", "blip video", "vilt video"):
        assert alone[name]["unreadable"] == ["1.mp4"]
        assert alone[name]["ranks"][1] == NUM_VIDEOS
    chosen = json.loads((tmp_path / "grounding_val_epoch0.json").read_text())
    assert json.loads((tmp_path / "0" / "grounding_val_epoch0.json").read_text()) == chosen
    for rank in range(2):
        assert json.loads((tmp_path / str(rank) / "figures.json").read_text()) == alone
        assert (tmp_path / str(rank) / "grounding_val_epoch0.json").exists() == (rank == 0)
        assert (tmp_path / str(rank) / "unreadable_videos.json").exists() == (rank == 0)
