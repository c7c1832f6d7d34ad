"""A checkpoint of a tiny CLIP, and a toy task and evaluations for it."""

import json
import shutil
from pathlib import Path

import torch
from lavis.common.registry import registry
from lavis.tasks.base_task import BaseTask
from omegaconf import OmegaConf

from lavis_tldr.datasets.downstream.layout import DownstreamSet, NeededFile
from lavis_tldr.models.clip_pretrain import ClipPretrain
from lavis_tldr.models.wordpiece_training import train_vocabulary
from lavis_tldr.suite.evaluations import ANSWER, MATCH, Evaluation, Figure, Split

PROCESSOR = {"name": "blip_image_eval", "image_size": 32, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
TOY_SET = DownstreamSet(
    "toy",
    "Toy",
    "none",
    (
        NeededFile("dev.json", "the list", "https://example.org/toy", made=True),
        NeededFile("images/*", "the photos", "https://example.org/toy"),
        NeededFile("other.json", "another list", "https://example.org/other"),
    ),
)


@registry.register_task("toy_scores")
class ToyScores(BaseTask):
    """Gives the figures of the moment, or fails; counts how often it was asked."""

    figures: dict = {}
    asked: list = []

    def evaluation(self, model, data_loader, cuda_enabled=True):
        self.asked.append(len(data_loader.dataset))
        return []

    def after_evaluation(self, val_result, split_name, epoch):
        if not self.figures:
            raise RuntimeError("the toy broke")
        return self.figures


def section(folder: Path, split: Split) -> dict:
    source = {"format": "lavis_json", "annotations": str(folder / "dev.json"), "image_root": str(folder / "images")}
    return {split.name: source}


def toy_evaluation(name="toy_a", skill=MATCH, needs=("dev.json", "images/*"), **more) -> Evaluation:
    figures = (Figure("acc", "accuracy"), Figure("rank", "MdR", unit="", higher_is_better=False))
    about = {"tables": (), "set": "toy", "task": "toy_scores", "dataset": "tldr_retrieval", "splits": None}
    about.update(more)
    about["splits"] = about["splits"] or (Split("test", "test", needs),)
    return Evaluation(name, name.title(), skill=skill, section=section, figures=figures, **about)


EVALUATIONS = {
    e.name: e
    for e in (
        toy_evaluation(),
        toy_evaluation("toy_b", splits=(Split("val", "val", ("dev.json",)), Split("test", "test", ("other.json",)))),
        toy_evaluation("toy_lacking", needs=("other.json",)),
        toy_evaluation("toy_asking", skill=ANSWER),
    )
}


def lay_out(album, root: Path) -> None:
    """The toy set below a data root."""
    (root / "toy").mkdir(parents=True)
    shutil.copy(album.source["annotations"], root / "toy" / "dev.json")
    (root / "toy" / "images").symlink_to(album.source["image_root"])


def write_clip(folder: Path, album, seed: int = 0, **content) -> Path:
    """A tiny CLIP as our runners save it, its config with it; its folder is the run's."""
    folder.mkdir(parents=True)
    vocabulary = folder / "vocab.txt"
    captions = [caption for row in album.rows for caption in row["caption"]]
    vocabulary.write_text("\n".join(train_vocabulary(captions, 120)) + "\n", encoding="utf-8")
    cfg = OmegaConf.load(ClipPretrain.default_config_path("tiny")).model
    small = {"model_type": "tiny", "image_size": 32, "max_text_length": 12, "vocabulary": str(vocabulary)}
    model = OmegaConf.to_container(OmegaConf.merge(cfg, small))
    torch.manual_seed(seed)
    state = ClipPretrain.from_config(OmegaConf.create(model)).state_dict()
    trained = {"vis_processor": {"train": {**PROCESSOR, "name": "tldr_image_train"}, "eval": {"image_size": 224}}}
    config = {"model": model, "datasets": {"tldr_pairs": trained}, "run": {"seed": seed}}
    torch.save({"model": state, "config": config, **content}, folder / "checkpoint_last.pth")
    record = {"num_pairs": 100 + seed, "samples_seen": 1000, "device_hours": 0.5, "device": "cpu"}
    (folder / "training.json").write_text(json.dumps(record))
    return folder / "checkpoint_last.pth"
