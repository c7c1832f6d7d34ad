"""Each check through ``lavis_tldr.train``: refused before the first step, or warned of."""

import json
import logging
from pathlib import Path
from urllib.error import URLError

import pytest
import yaml
from PIL import Image

from lavis_tldr import train, user_errors
from lavis_tldr.environment.offline import character_vocabulary
from lavis_tldr.models.blip.pretrain import BlipPretrainTLDR
from lavis_tldr.runners.preflight import hub_errors_explained

NUM_PAIRS = 8


@pytest.fixture
def pretrain(tmp_path, monkeypatch):
    """Pretrain a tiny BLIP on a reduced set of plain images: ``pretrain("run.batch_size_train=3")``; its steps."""
    (tmp_path / "reduced/images").mkdir(parents=True)
    records = [{"image": f"{i}.png", "caption": f"kite {i}", "key": str(i)} for i in range(NUM_PAIRS)]
    for i in range(NUM_PAIRS):
        Image.new("RGB", (32, 32), (30 * i, 9, 9)).save(tmp_path / f"reduced/images/{i}.png")
    annotations = tmp_path / "reduced/annotations.json"
    annotations.write_text(json.dumps(records))
    (tmp_path / "vocab.txt").write_text("\n".join(character_vocabulary()) + "\n")
    steps = []
    forward = BlipPretrainTLDR.forward
    monkeypatch.setattr(BlipPretrainTLDR, "forward", lambda *args: steps.append(1) or forward(*args))
    processors = {"vis_processor": {"train": {"name": "blip_image_train", "image_size": 32}}}
    config = {
        "model": {
            "arch": "blip_pretrain_tldr",
            "model_type": "tiny",
            "vocabulary": str(tmp_path / "vocab.txt"),
            "queue_size": 2,
        },
        "datasets": {"tldr_reduced": {"path": str(tmp_path / "reduced"), **processors}},
        "run": {
            "task": "image_text_pretrain",
            "runner": "runner_cpu",
            "device": "cpu",
            "lr_sched": "linear_warmup_step_lr",
            "init_lr": 1e-4,
            "min_lr": 0,
            "weight_decay": 0.05,
            "max_epoch": 1,
            "batch_size_train": 2,
            "batch_size_eval": 2,
            "num_workers": 0,
            "train_splits": ["train"],
            "output_dir": str(tmp_path / "output"),
            "world_size": 1,
            "distributed": False,
        },
    }

    def run(*options, **datasets):
        steps.clear()
        config["datasets"].update(datasets)
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
        train.run(tmp_path / "run.yaml", list(options))
        return len(steps)

    run.steps = steps
    return run


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("lavis_tldr.runners.preflight")]


def test_a_sound_run_trains_without_a_word(pretrain, caplog):
    with caplog.at_level(logging.WARNING):
        assert pretrain() == NUM_PAIRS // 2
    assert warnings(caplog) == []


def test_what_only_spoils_is_warned_of_and_trained(pretrain, caplog):
    with caplog.at_level(logging.WARNING):
        steps = pretrain("model.queue_size=6", "run.warmup_steps=9", "model.max_txt_len=5")
    assert steps == NUM_PAIRS // 2
    queue, warmup, captions = warnings(caplog)
    assert "6 is more than a quarter of the set's 8 pairs" in queue and queue.endswith("Lower it to 2.")
    assert "warmup_steps is 9" in warmup and "has 4 steps" in warmup
    # k ##i ##t ##e and a digit make 7 with [CLS] and [SEP].
    assert captions.startswith("datasets.tldr_reduced: 100% of 8 captions") and "at most 7" in captions


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["model.queue_size=1"], "less than the 2 pairs at once.*queue_size to 2"),
        (["run.batch_size_train=1"], "run.batch_size_train is 1"),
        (["model.image_size=64"], "image_size is 32, the image tower's 64: set that to 64, or model.image_size to 32"),
    ],
)
def test_what_would_fail_is_refused_before_the_first_step(pretrain, options, told):
    with pytest.raises(ValueError, match=told) as caught:
        pretrain(*options)
    assert pretrain.steps == [] and user_errors.is_user_error(caught.value)


def test_stocks_queue_must_be_a_multiple(pretrain, monkeypatch):
    from lavis.models.base_model import SharedQueueMixin

    monkeypatch.setattr(BlipPretrainTLDR, "_dequeue_and_enqueue", SharedQueueMixin._dequeue_and_enqueue)
    with pytest.raises(ValueError, match="queue_size 3 is no multiple of the 2 pairs.*to 2 or 4"):
        pretrain("model.queue_size=3")
    assert pretrain.steps == []


def test_all_faults_are_named_at_once(pretrain):
    with pytest.raises(ValueError, match="(?s)run.batch_size_train is 1.*image tower's 64"):
        pretrain("run.batch_size_train=1", "model.image_size=64")


def test_an_older_copy_of_the_annotations_is_refused(pretrain, tmp_path):
    images = str(tmp_path / "reduced/images")
    original, copy = tmp_path / "new.json", tmp_path / "copy.json"
    original.write_text("[1]")
    copy.write_text("[0]")
    build_info = {
        "annotations": {"train": {"url": [str(original)], "storage": [str(copy)]}},
        "images": {"storage": images},
    }
    with pytest.raises(ValueError, match=f"LAVIS would train on {copy}, an older copy of {original}"):
        pretrain(flickr30k={"build_info": build_info})
    assert pretrain.steps == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(
            "Can't load tokenizer for 'bert-base-uncased'. If you were trying from 'https://huggingface.co/models'\n"
        ),
        URLError("Name or service not known"),
    ],
)
def test_a_hub_out_of_reach_is_explained(error):
    told = "blip_pretrain is built from files.*lavis-tldr offline --vocab"
    with pytest.raises(ValueError, match=told), hub_errors_explained("blip_pretrain"):
        raise error


def test_other_missing_files_are_left_as_they_are():
    with pytest.raises(FileNotFoundError), hub_errors_explained("blip_pretrain"):
        Path("/absent").read_text()
