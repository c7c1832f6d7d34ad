"""Tiny reductions for the tests: drawn sources, an untrained captioner and run configs."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from lavis.common.registry import registry
from omegaconf import OmegaConf
from transformers import BertConfig, BertModel

from lavis_tldr.models.codebook_captioner import CodebookCaptioner
from lavis_tldr.models.wordpiece_training import train_vocabulary
from lavis_tldr.runs.ledger import read_ledger
from lavis_tldr.scenes import draw_scenes
from lavis_tldr.train import run

SIZES = {
    "image_size": 32,
    "patch_size": 8,
    "vit_width": 32,
    "num_codes": 32,
    "text_width": 32,
    "text_depth": 1,
    "text_mlp_width": 64,
}


@pytest.fixture(autouse=True)
def lavis_state(monkeypatch):
    """For a conftest to import. A run sets LAVIS's paths and the root logger's handlers: put them back."""
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setitem(registry.mapping, "paths", dict(registry.mapping["paths"]))
    monkeypatch.setattr(logging.getLogger(), "handlers", [*logging.getLogger().handlers])


def tiny_captioner(folder: Path, captions: list[str], seed: int = 0, **changes) -> CodebookCaptioner:
    """A captioner with random weights that knows the words of ``captions``."""
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(train_vocabulary(captions * 2, 300)) + "\n", encoding="utf-8")
    default = OmegaConf.load(CodebookCaptioner.default_config_path("tiny")).model
    torch.manual_seed(seed)
    model = CodebookCaptioner.from_config(
        OmegaConf.merge(default, {**SIZES, "dropout": 0.0, "vocabulary": str(vocabulary), **changes})
    )
    model.allow_tokens(captions)
    model.codebook_started = True
    return model.eval()


def write_captioner(folder: Path, captions: list[str], seed: int = 0) -> Path:
    path = folder / f"captioner{seed}.pth"
    torch.save({"model": tiny_captioner(folder, captions, seed).state_dict()}, path)
    return path


def write_bert(folder: Path, seed: int = 0, captions: Sequence[str] = ("a red kite over the sea",)) -> Path:
    """A small BERT with random weights, as Hugging Face saves it, that knows the words of some captions."""
    tokens = train_vocabulary([*captions], 200)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(seed)
    BertModel(BertConfig(vocab_size=len(tokens), max_position_embeddings=64, **sizes)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    return folder


def draw_pool(folder: Path, part_size: int) -> SimpleNamespace:
    """48 drawn pairs in tars, three images damaged and two captions empty, and a captioner for them."""
    truth = draw_scenes(
        folder / "tars",
        num_samples=48,
        part_size=part_size,
        image_size=32,
        broken=3 / 48,
        empty_captions=2 / 48,
        near_duplicates=0.25,
    )
    captioner = write_captioner(folder, sorted(fact["true_caption"] for fact in truth.values()))
    source = {"format": "webdataset", "tars": str(folder / "tars/*.tar")}
    return SimpleNamespace(folder=folder, truth=truth, source=source, captioner=captioner)


def write_config(path: Path, source: dict, captioner: Path, output: Path, **run_keys) -> Path:
    """A reduction's YAML; ``run_keys`` go under ``run``."""
    config = {
        "model": {
            "arch": "codebook_captioner",
            "model_type": "tiny",
            **SIZES,
            "load_finetuned": True,
            "finetuned": str(captioner),
        },
        "datasets": {"tldr_source": {"source": source, "vis_processor": {"eval": {"image_size": 32}}}},
        "run": {
            "task": "tldr_reduce",
            "runner": "runner_stages",
            "device": "cpu",
            "output_dir": str(output),
            "num_clusters": 4,
            "alignment": "likelihood",
            "num_contrast": 4,
            "max_len": 8,
            # An objective has its own.
            **({} if "objective" in run_keys else {"recipe": "original_generated"}),
            **run_keys,
        },
    }
    path.write_text(yaml.safe_dump(config))
    return path


def reduce_set(config: Path, *options: str) -> dict:
    """Run a reduction; the closing summary's figures."""
    return run(config, options).result


def ledger_rows(recipe: Path) -> dict[str, dict]:
    return {row["key"]: row for row in read_ledger(recipe).to_pylist()}


def annotations(build: Path) -> list[dict]:
    return json.loads((build / "annotations.json").read_text())


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its path; manifests and notes left out, which hold times, and the config's paths."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".json", ".yaml") or path.name == "annotations.json"
    }
