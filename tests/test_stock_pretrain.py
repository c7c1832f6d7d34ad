"""LAVIS's own blip_pretrain and image_text_pretrain, unmodified, on tldr_reduced, from the command line."""

import io
import json
import math
import os
import random
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from lavis_tldr.environment.offline import prepare_offline

CONFIGS = Path(__file__).parent.parent / "projects/tldr/pretrain"
NUM_PAIRS = 6

# LAVIS's text encoders take any BERT config; its image encoder is a ViT-B at least, here on 2 x 2 patches.
SMALL_BERT = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "vocab_size": 30522,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "pad_token_id": 0,
    "add_type_embeddings": False,
    "add_cross_attention": True,
    "encoder_width": 768,
}


def jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    noise = random.Random(seed).randbytes(40 * 40 * 3)
    Image.frombytes("RGB", (40, 40), noise).save(buffer, format="JPEG")
    return buffer.getvalue()


def write_reduced(folder: Path) -> Path:
    """A reduced set: every other image exported, the rest in a tar and read in place."""
    (folder / "images").mkdir(parents=True)
    records = [{"image": f"{i}.jpg", "caption": f"noise of seed {i}", "key": str(i)} for i in range(NUM_PAIRS)]
    for i in range(0, NUM_PAIRS, 2):
        (folder / "images" / f"{i}.jpg").write_bytes(jpeg(i))
    with tarfile.open(folder / "00000.tar", "w") as tar:
        for i in range(1, NUM_PAIRS, 2):
            info = tarfile.TarInfo(f"{i}.jpg")
            info.size = len(jpeg(i))
            records[i].update(tar="00000.tar", offset=tar.offset + tarfile.BLOCKSIZE, size=info.size)
            tar.addfile(info, io.BytesIO(jpeg(i)))
    (folder / "annotations.json").write_text(json.dumps(records))
    return folder


def pretrain(config: str, reduced: Path, workdir: Path, launcher=()) -> tuple[Path, str]:
    """Run the command on a tiny model; returns the run's folder and what it printed."""
    bert_config = workdir / "bert.json"
    bert_config.write_text(json.dumps(SMALL_BERT))
    settings = {
        "datasets.tldr_reduced.path": reduced,
        "datasets.tldr_reduced.vis_processor.train.image_size": 32,
        "model.image_size": 32,
        "model.med_config_path": bert_config,
        "model.queue_size": 8,
        "run.batch_size_train": 2,
        "run.warmup_steps": 0,
        "run.max_epoch": 1,
        "run.num_workers": 0,
        "run.log_freq": 1,
        "run.output_dir": workdir / "output",
    }
    command = [sys.executable, "-m", *launcher, "lavis_tldr.train", "--cfg-path", str(CONFIGS / config)]
    command += ["--options", *(f"{key}={value}" for key, value in settings.items())]
    environment = {**os.environ, **prepare_offline(workdir / "offline"), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    (run_folder,) = (workdir / "output").iterdir()
    return run_folder, done.stdout + done.stderr


def step_losses(printed: str) -> list[float]:
    return [float(value) for value in re.findall(r"Train: data epoch.*?loss: (\S+)", printed)]


def test_trains_on_the_cpu(tmp_path):
    reduced = write_reduced(tmp_path / "reduced")
    run_folder, printed = pretrain("blip_pretrain_tldr_cpu.yaml", reduced, tmp_path)
    losses = step_losses(printed)
    assert len(losses) == NUM_PAIRS // 2
    assert all(math.isfinite(loss) for loss in losses)
    assert "can't be read" not in printed
    path = run_folder / "checkpoint_last.pth"
    weights = torch.load(path, mmap=True)["model"]
    # The momentum encoders start as copies and lag behind: where they differ, the weights were trained.
    for name in ("visual_encoder.blocks.0.attn.qkv.weight", "text_encoder.embeddings.word_embeddings.weight"):
        encoder, rest = name.split(".", 1)
        assert not torch.equal(weights[name], weights[f"{encoder}_m.{rest}"])
    for checkpoint in run_folder.glob("*.pth"):  # over a gigabyte, which pytest would keep
        checkpoint.unlink()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_trains_by_the_stock_runner_on_a_gpu(tmp_path):
    reduced = write_reduced(tmp_path / "reduced")
    launcher = ("torch.distributed.run", "--standalone", "--nproc_per_node=1", "-m")
    run_folder, printed = pretrain("blip_pretrain_tldr.yaml", reduced, tmp_path, launcher)
    losses = step_losses(printed)
    assert len(losses) == NUM_PAIRS // 2
    assert all(math.isfinite(loss) for loss in losses)
    assert (run_folder / "checkpoint_0.pth").is_file()
