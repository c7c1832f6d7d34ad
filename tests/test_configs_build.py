"""Every run config is built, down to task, datasets and model; stand-ins for images, weights and captioners.

Models have their real sizes, and no values (torch's meta device), so that BERT-base and ViT-B cost nothing.
"""

import io
import json
import shutil
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from drawn_questions import ANSWERS, nlvr_rows, vqa_rows, write_list
from lavis.common.config import Config
from lavis.common.registry import registry
from lavis.models import med
from lavis.models.base_model import BaseModel
from lavis.models.blip_models.blip import BlipBase
from lavis.tasks import setup_task
from omegaconf import DictConfig, OmegaConf

import lavis_tldr
from lavis_tldr.models.conversion.stock_shapes import NoTokenizer, without_memory
from lavis_tldr.models.wordpiece_training import train_vocabulary
from lavis_tldr.train import choose_device, load_user_config

lavis_tldr.register()

ROOT = Path(__file__).parent.parent
RUN_CONFIGS = [
    path
    for path in sorted((ROOT / "projects").rglob("*.y*ml"))
    if set(OmegaConf.load(path)) >= {"model", "datasets", "run"}
]

MODELS: dict[str, BaseModel] = {}  # by config


def short(path: Path) -> str:
    return str(path.relative_to(ROOT / "projects"))


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """24 drawn pairs as a source and as a reduced set, and a vocabulary."""
    from lavis_tldr.scenes import draw_clean_set

    folder = tmp_path_factory.mktemp("stand_in")
    clean, dev = draw_clean_set(folder, num_samples=24, dev_share=0.3, image_size=32)
    rows = json.loads(clean.read_text())
    captions = [
        caption for row in rows for caption in ([row["caption"]] if isinstance(row["caption"], str) else row["caption"])
    ]
    (folder / "vocab.txt").write_text("\n".join(train_vocabulary(captions, 300)) + "\n")
    records = [{"image": row["image"], "key": str(n), "caption": captions[n]} for n, row in enumerate(rows)]
    (folder / "annotations.json").write_text(json.dumps(records))
    goldfinch = folder / "classes" / "n01531178"  # of ImageNet, -A and -R
    goldfinch.mkdir(parents=True)
    shutil.copy(folder / "images" / rows[0]["image"], goldfinch)
    write_downstream_lists(folder, f"images/{rows[0]['image']}")
    source = {"format": "lavis_json", "annotations": str(clean), "image_root": str(folder / "images")}
    stock_rows = [{**record, "image_id": n} for n, record in enumerate(records)]
    write_list(folder / "retrieval_train.json", stock_rows)
    write_list(folder / "retrieval_eval.json", [{**row, "caption": [row["caption"]]} for row in stock_rows])
    write_list(folder / "tldr_vqa.json", vqa_rows())
    write_list(folder / "tldr_nlvr.json", nlvr_rows())
    write_list(folder / "answers.json", ANSWERS)
    return SimpleNamespace(
        folder=folder, source=source, dev=str(dev), vocabulary=folder / "vocab.txt", num_pairs=len(records)
    )


def write_downstream_lists(folder: Path, image: str) -> None:
    """A sentence of RefCOCO+, and a video of MSRVTT that can't be decoded."""
    about = {"image": image, "sent_id": 1, "text": "a", "boxes": [[0, 0, 9, 9]], "target": 0}
    (folder / "refcoco+_val.json").write_text(json.dumps([about]))
    (folder / "msrvtt_test.json").write_text(json.dumps([{"video": "v.mp4", "caption": ["a"]}]))
    (folder / "videos").mkdir()
    (folder / "videos" / "v.mp4").write_bytes(b"")


def with_stand_ins(config: DictConfig, stand_in, output: Path) -> DictConfig:
    """The config with what is on a user's disk replaced, and all else as it is."""
    config = OmegaConf.create(OmegaConf.to_container(config))
    for name, dataset in config.datasets.items():
        for key in ("source", "train", "val", "test"):
            if isinstance(dataset.get(key), DictConfig) and "format" in dataset[key]:
                dataset[key] = stand_in.source
            elif isinstance(dataset.get(key), DictConfig) and "annotations" in dataset[key]:  # one of LAVIS's lists
                captions = stand_in.source["annotations"] if key == "train" else stand_in.dev
                own = f"{stand_in.folder}/{name}.json"
                images = stand_in.source["image_root"] if name == "tldr_captioning" else str(stand_in.folder)
                dataset[key].update(annotations=captions if name == "tldr_captioning" else own, image_root=images)
        for split, places in dataset.get("build_info", {}).get("annotations", {}).items():
            kind = "train" if split == "train" else "eval"
            places.update(dict.fromkeys(("url", "storage"), f"{stand_in.folder}/retrieval_{kind}.json"))
        if dataset.get("answer_list"):
            dataset.answer_list = f"{stand_in.folder}/answers.json"
        if "path" in dataset:
            dataset.path = str(stand_in.folder)
        if "root" in dataset:
            dataset.root = str(stand_in.folder / "classes")
        for key in ("only", "also"):  # of the same stand-in, whose keys may be in one source alone
            dataset.pop(key, None)
    config.run.update(output_dir=str(output), device="auto")
    if config.model.get("finetuned"):
        config.model.finetuned = str(stand_in.vocabulary)  # a file that is there
    if config.model.get("answer_list"):
        config.model.answer_list = f"{stand_in.folder}/answers.json"
    if "similarity_weights" in config.run:
        config.run.similarity_weights = str(stand_in.folder)
    return config


def without_weights(model: DictConfig, vocabulary: Path) -> DictConfig:
    """A model's config that starts from no file; where it then needs a vocabulary, it gets one."""
    model = OmegaConf.create(OmegaConf.to_container(model))
    for key in ("vit_weights", "text_weights", "pretrained", "finetuned"):
        if key in model:
            model[key] = None
    model.load_finetuned = model.load_pretrained = False
    if "vocabulary" in model or model.arch.startswith("vilt_"):  # heads of ViLT have its sizes' defaults elsewhere
        model.vocabulary = str(vocabulary)
    return model


class BertTokens(NoTokenizer):
    def __len__(self) -> int:
        return 30524


@contextmanager
def without_hub(patch: pytest.MonkeyPatch):
    """LAVIS's BLIP starts from DeiT's positions and a BERT, or from a checkpoint, that are not downloaded."""
    deit = {"model": {"pos_embed": torch.zeros(1, 197, 768)}}
    patch.setattr(torch.hub, "load_state_dict_from_url", lambda **kwargs: deit)
    patch.setattr(BaseModel, "load_checkpoint_from_config", lambda self, cfg, **options: None)
    patch.setattr(BlipBase, "init_tokenizer", classmethod(lambda cls: BertTokens()))
    for encoder in (med.XBertEncoder, med.XBertLMHeadDecoder):
        patch.setattr(
            encoder, "from_pretrained", classmethod(lambda cls, name, config, **options: cls(config, **options))
        )
        patch.setattr(encoder, "resize_token_embeddings", lambda self, size: None)
    yield


def build(path: Path, stand_in, output: Path, patch) -> SimpleNamespace:
    user_config = with_stand_ins(load_user_config(path), stand_in, output)
    choose_device(user_config.run)
    cfg = Config(SimpleNamespace(cfg_path=io.StringIO(OmegaConf.to_yaml(user_config)), options=[]))
    task = setup_task(cfg)
    datasets = task.build_datasets(cfg)
    model_config = without_weights(cfg.model_cfg, stand_in.vocabulary)
    built_before = OmegaConf.to_yaml(model_config, sort_keys=True)
    if built_before not in MODELS:  # most configs share one with others
        with without_hub(patch), without_memory():
            MODELS[built_before] = registry.get_model_class(model_config.arch).from_config(model_config)
    model = MODELS[built_before]
    return SimpleNamespace(cfg=cfg, task=task, datasets=datasets, model=model)


@pytest.mark.parametrize("path", RUN_CONFIGS, ids=short)
def test_is_built(path, stand_in, tmp_path, monkeypatch):
    built = build(path, stand_in, tmp_path, monkeypatch)
    assert type(built.task) is registry.get_task_class(built.cfg.run_cfg.task)
    assert isinstance(built.model, BaseModel)
    assert set(built.datasets) == set(built.cfg.datasets_cfg)
    for splits in built.datasets.values():
        assert splits and all(len(split) > 0 for split in splits.values() if hasattr(split, "__len__"))
