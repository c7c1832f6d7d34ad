"""The task tldr_nlvr: tiny models learn drawn pairs by heart, and what is told of their predictions."""

import json
from types import SimpleNamespace

import pytest
import torch
from drawn_questions import drawn_nlvr, fine_tuning, nlvr_rows
from lavis.common.registry import registry
from lavis.tasks.multimodal_classification import MultimodalClassificationTask
from omegaconf import OmegaConf
from threaded_ranks import ThreadedRanks
from tiny_blip import NO_DROPOUT, register_tiny, write_converted
from torch.utils.data import DataLoader

from lavis_tldr import train
from lavis_tldr.datasets.tldr_nlvr import NlvrEvaluation
from lavis_tldr.models.wordpiece_training import train_vocabulary
from lavis_tldr.tasks import gathering
from lavis_tldr.tasks.nlvr import NlvrTask

PERFECT = {"acc": 100, "consistency": 100, "agg_metrics": 100}


def run(model: dict, datasets: dict, run_keys: dict):
    return train.run_config(OmegaConf.create({"model": model, "datasets": datasets, "run": run_keys}))


def build(folder, monkeypatch, arch: str) -> dict:
    if arch == "blip_nlvr":
        register_tiny(folder, monkeypatch, **NO_DROPOUT)
        return {**write_converted(folder, arch), "num_classes": 2}
    words = train_vocabulary(["the left one is red", "the right one is red"] * 2, 60)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return {"arch": arch, "model_type": "tiny", "vocabulary": str(folder / "vocab.txt")}


@pytest.mark.parametrize("arch", ["blip_nlvr", "vilt_nlvr"])
def test_learns_a_drawn_set(tmp_path, monkeypatch, arch):
    """Images change places in training, so that "right" is learnt as well as "left"."""
    keys = fine_tuning("tldr_nlvr", tmp_path, init_lr=5e-3, max_steps=80)
    runner = run(build(tmp_path, monkeypatch, arch), drawn_nlvr(tmp_path), keys)
    assert runner.tested["val"] == PERFECT
    saved = json.loads((runner.output_dir / "result" / "val_nlvr_result.json").read_text())
    expected = [(row["identifier"], int(row["label"] == "True")) for row in nlvr_rows()]
    assert [(row["instance_id"], row["prediction"]) for row in saved] == expected
    assert json.loads((runner.output_dir / "evaluate.txt").read_text()) == {"val": PERFECT}


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("clip_pretrain", "CLIP embeds each image alone.*arch: blip_nlvr or vilt_nlvr"),
        ("blip_pretrain_tldr", "no head .*arch: blip_nlvr; .*convert SOURCE TARGET --for blip_nlvr"),
        ("vilt_vqa", "no head .*arch: vilt_nlvr; .*model.load_pretrained: True"),
    ],
)
def test_models_that_can_not_are_refused_before_data_is_read(tmp_path, arch, message):
    model_type = next(iter(registry.get_model_class(arch).PRETRAINED_MODEL_CONFIG_DICT))
    datasets = {"tldr_nlvr": {"val": {"annotations": "absent.json", "image_root": "absent"}}}
    with pytest.raises(ValueError, match=message):
        run({"arch": arch, "model_type": model_type}, datasets, fine_tuning("tldr_nlvr", tmp_path, evaluate=True))


@pytest.mark.parametrize(("arch", "part"), [("blip_nlvr", "cls_head"), ("vilt_nlvr", "classifier")])
def test_nothing_is_told_of_nan(tmp_path, monkeypatch, arch, part):
    model = build(tmp_path, monkeypatch, arch)
    broken = registry.get_model_class(arch)
    from_config = broken.from_config.__func__

    def build_broken(cls, cfg):
        built = from_config(cls, cfg)
        next(getattr(built, part).parameters()).data.fill_(float("nan"))
        return built

    monkeypatch.setattr(broken, "from_config", classmethod(build_broken))
    with pytest.raises(ValueError, match="scores are not finite"):
        run(model, drawn_nlvr(tmp_path, splits=["val"]), fine_tuning("tldr_nlvr", tmp_path, evaluate=True))


# What the task does with predictions, by a model that looks at a pixel


class RedOnTheLeft(torch.nn.Module):
    """Says true where the left image is red, and of the pair with green on the left."""

    def before_evaluation(self, **kwargs):
        pass

    def predict(self, samples):
        red, green, _ = samples["image0"][:, :, 0, 0].unbind(1)
        return {"predictions": torch.stack([torch.full_like(red, 100), red + green], 1), "targets": samples["label"]}


@pytest.fixture
def evaluated(tmp_path, monkeypatch):
    """The task with a drawn set: told right but for one of two pairs of the second sentence."""
    folder = tmp_path / "run" / "result"
    folder.mkdir(parents=True)
    monkeypatch.setitem(registry.mapping["paths"], "result_dir", str(folder))
    monkeypatch.setitem(registry.mapping["paths"], "output_dir", str(folder.parent))
    image_root = drawn_nlvr(tmp_path)["tldr_nlvr"]["val"]["image_root"]

    def pixels(image):
        return torch.tensor(image.getpixel((0, 0)))[:, None, None].float()

    def new_task(rows=None):
        dataset = NlvrEvaluation(pixels, str.lower, image_root, rows or nlvr_rows())
        settings = SimpleNamespace(run_cfg=OmegaConf.create({}), model_cfg=SimpleNamespace(arch="blip_nlvr"))
        task = NlvrTask.setup_task(settings)
        task.before_evaluation(RedOnTheLeft(), dataset)
        return task, dataset

    return new_task


def tell(task, dataset, indices) -> list[dict]:
    loader = DataLoader(dataset, batch_size=2, sampler=indices, collate_fn=dataset.collater)
    return task.evaluation(RedOnTheLeft(), loader, cuda_enabled=False)


def test_one_rank_and_two_tell_the_same(evaluated, monkeypatch):
    task, dataset = evaluated()
    alone = task.after_evaluation(tell(task, dataset, range(4)), "val")
    assert alone == {"acc": 75, "consistency": 50, "agg_metrics": 75}
    ranks = ThreadedRanks(2)
    ranks.stand_in(monkeypatch, gathering)

    def work(rank: int):
        task, dataset = evaluated()
        return task.after_evaluation(tell(task, dataset, [[0, 2, 0], [1, 3, 1]][rank]), "val")

    assert ranks.run(work) == [alone, alone]


def test_accuracy_is_lavis_own_in_percent(evaluated):
    task, dataset = evaluated()
    told = tell(task, dataset, range(4))
    stock = MultimodalClassificationTask().after_evaluation(told, "val", 0)["acc"]
    assert stock == 0.75 and task.after_evaluation(told, "val")["acc"] == 100 * stock


def test_without_identifiers_there_is_no_consistency(evaluated, caplog):
    rows = [{key: row[key] for key in ("images", "sentence", "label")} for row in nlvr_rows()]
    task, dataset = evaluated(rows)
    assert task.after_evaluation(tell(task, dataset, range(4)), "val") == {"acc": 75, "agg_metrics": 75}
    assert "has no identifiers, so consistency can't be told" in caplog.text


def test_an_example_left_out_is_named(evaluated):
    task, dataset = evaluated()
    with pytest.raises(ValueError, match=r"no prediction for identifier \(1: dev-1-1-0\)"):
        task.after_evaluation(tell(task, dataset, range(3)), "val")


def test_sets_of_other_builders_are_refused(evaluated):
    with pytest.raises(ValueError, match="evaluates sets of the builder tldr_nlvr, not SimpleNamespace"):
        evaluated()[0].before_evaluation(RedOnTheLeft(), SimpleNamespace())
