"""Each architecture, tiny, by the command: killed in mid-epoch and resumed, it ends bit for bit the same."""

import json

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from lavis_tldr import train
from lavis_tldr.models.wordpiece_training import train_vocabulary
from lavis_tldr.runners import RunnerPretrain

CAPTIONS = [f"a {colour} {thing}" for colour in ("red", "green", "blue") for thing in ("kite", "dog", "house", "boat")]
ARCHITECTURES = {
    "clip_pretrain": {},
    "blip_pretrain_tldr": {"queue_size": 8},
    "vilt_pretrain": {},
}
UPDATES, KILLED_AFTER = 5, 3  # an epoch has three


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A reduced set of noise with a vocabulary beside it; a caption is drawn at every epoch."""
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "images").mkdir()
    noise = np.random.default_rng(0)
    records = []
    for number, caption in enumerate(CAPTIONS):
        pixels = noise.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        both = {"caption": caption, "caption_original": caption, "caption_generated": f"some {caption}"}
        records.append({"image": f"{number}.png", "key": str(number), **both})
    (folder / "annotations.json").write_text(json.dumps(records))
    (folder / "vocab.txt").write_text("\n".join(train_vocabulary([*CAPTIONS, "some"] * 2, 120)) + "\n")
    return folder


def config(pairs, arch, output, **run):
    model = {"arch": arch, "model_type": "tiny", "image_size": 32, "vocabulary": str(pairs / "vocab.txt")}
    processors = {"train": {"name": "tldr_image_train", "image_size": 32}}
    return OmegaConf.create(
        {
            "model": {**model, **ARCHITECTURES[arch]},
            "datasets": {"tldr_reduced": {"path": str(pairs), "caption": "drawn", "vis_processor": processors}},
            "run": {
                "task": "tldr_pretrain",
                "runner": "runner_pretrain",
                "device": "cpu",
                "batch_size_train": 2,
                "accum_grad_iters": 2,
                "max_steps": UPDATES,
                "max_grad_norm": 1.0,
                "warmup_steps": 2,
                "bf16": False,
                "log_freq": 1,
                "save_every_steps": 1,
                "output_dir": str(output),
                "job_id": "job",
                "seed": 3,
                **run,
            },
        }
    )


def saved(output):
    content = torch.load(output / "job" / "checkpoint_last.pth", weights_only=True)
    moments = {f"adam {i}": state["exp_avg_sq"] for i, state in content["optimizer"]["state"].items()}
    return {**{name: value for name, value in content["model"].items() if torch.is_tensor(value)}, **moments}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_killed_run_goes_on_as_if_it_had_never_stopped(pairs, tmp_path, monkeypatch, arch, workers):
    whole = train.run_config(config(pairs, arch, tmp_path / "whole", num_workers=workers))
    assert whole.record.updates == UPDATES
    with monkeypatch.context() as patch:
        update = RunnerPretrain._update

        def until_killed(self, *args):
            if self.record.updates == KILLED_AFTER + 1:  # one after the last checkpoint is lost, and done again
                raise Killed
            return update(self, *args)

        patch.setattr(RunnerPretrain, "_update", until_killed)
        with pytest.raises(Killed):
            train.run_config(config(pairs, arch, tmp_path / "killed", num_workers=workers))
    torch.rand(7)  # another process has drawn other numbers by then
    resumed = train.run_config(config(pairs, arch, tmp_path / "killed", num_workers=workers))
    assert resumed.record.updates == UPDATES
    expected, found = saved(tmp_path / "whole"), saved(tmp_path / "killed")
    assert set(expected) == set(found)
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert any(value.any() for name, value in expected.items() if name.startswith("adam"))


def test_another_seed_ends_elsewhere(pairs, tmp_path):
    """The check above can fail."""
    ends = []
    for seed in (3, 4):
        train.run_config(config(pairs, "clip_pretrain", tmp_path / str(seed), seed=seed, num_workers=0))
        ends.append(saved(tmp_path / str(seed)))
    assert any(not torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
