"""LAVIS's own evaluation configs of what stock has right: built as they are, with nothing given but where data lies."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import lavis
import pytest
from lavis.common.config import Config
from lavis.common.registry import registry
from lavis.models.base_model import BaseModel
from lavis.tasks import setup_task
from omegaconf import OmegaConf
from PIL import Image

import lavis_tldr
from lavis_tldr.train import check_names, load_user_config

lavis_tldr.register()

STOCK = Path(lavis.__file__).parent / "projects"
_IMAGE = "COCO_val2014_000000000073.jpg"
ROWS = {
    "coco_retrieval": {"image": _IMAGE, "caption": ["a cat", "the cat"]},
    "flickr30k": {"image": _IMAGE, "caption": ["a cat", "the cat"]},
    "nlvr": {"images": [_IMAGE, _IMAGE], "sentence": "One cat.", "label": "True"},
    "nocaps": {"image": _IMAGE, "img_id": 0},
}
TRAINED = {"coco_retrieval": {"caption": "a cat", "image_id": "coco_73"}, "flickr30k": {"caption": "a", "image_id": 1}}
CONFIGS = {
    "blip/eval/ret_coco_eval.yaml": "coco_retrieval",
    "blip/eval/ret_flickr_eval.yaml": "flickr30k",
    "blip/eval/nlvr_eval.yaml": "nlvr",
    "blip/eval/nocaps_eval.yaml": "nocaps",
    "clip/exp_coco_ret_eval.yaml": "coco_retrieval",
    "clip/exp_flickr_ret_eval.yaml": "flickr30k",
}


def data_paths(name: str, folder: Path) -> list[str]:
    """Lists of one row each, and the options that say where they and their images lie."""
    Image.new("RGB", (8, 8)).save(folder / _IMAGE)
    options = [f"datasets.{name}.build_info.images.storage={folder}"]
    default = OmegaConf.load(registry.get_builder_class(name).default_config_path()).datasets[name]
    for split in default.build_info.annotations:
        path = folder / f"{split}.json"
        path.write_text(json.dumps([{**ROWS[name], **(TRAINED.get(name, {}) if split == "train" else {})}]))
        where = f"datasets.{name}.build_info.annotations.{split}"
        options += [f"{where}.url={path}", f"{where}.storage={path}"]
    return options


@pytest.mark.parametrize(("config", "name"), CONFIGS.items(), ids=CONFIGS)
def test_is_built_with_only_data_paths_given(config, name, tmp_path):
    user_config = load_user_config(STOCK / config, data_paths(name, tmp_path))
    check_names(user_config)
    cfg = Config(SimpleNamespace(cfg_path=io.StringIO(OmegaConf.to_yaml(user_config)), options=[]))
    task = setup_task(cfg)
    datasets = task.build_datasets(cfg)
    assert type(task) is registry.get_task_class(cfg.run_cfg.task)
    assert issubclass(registry.get_model_class(cfg.model_cfg.arch), BaseModel)
    for split in cfg.run_cfg.test_splits:
        dataset = datasets[name][split]
        assert len(dataset) == 1 and dataset[0]["image0" if name == "nlvr" else "image"].shape[0] == 3


def test_stock_nlvr_tests_on_the_dev_file():
    """Why a path of its own must be given for NLVR2's test: its default is the dev file."""
    default = OmegaConf.load(registry.get_builder_class("nlvr").default_config_path()).datasets.nlvr
    assert default.build_info.annotations.test.url == default.build_info.annotations.val.url
