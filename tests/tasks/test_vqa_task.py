"""The task tldr_vqa: tiny models learn drawn questions by heart, and what is told of their answers."""

import json
from types import SimpleNamespace

import pytest
import torch
from drawn_questions import ANSWERS, drawn_vqa, fine_tuning, vqa_rows, write_list
from lavis.common.registry import registry
from omegaconf import OmegaConf
from threaded_ranks import ThreadedRanks
from tiny_blip import NO_DROPOUT, TEXT_WIDTH, register_tiny, write_converted
from torch.utils.data import DataLoader

from lavis_tldr import train
from lavis_tldr.datasets.tldr_vqa import VqaEvaluation
from lavis_tldr.models.wordpiece_training import train_vocabulary
from lavis_tldr.tasks import gathering
from lavis_tldr.tasks.vqa import VqaAccuracyTask

PERFECT = {"acc": 100, "acc_yes/no": 100, "acc_other": 100, "agg_metrics": 100}


@pytest.fixture
def blip(tmp_path, monkeypatch) -> dict:
    """Stock LAVIS's model, started from a tiny pretraining."""
    register_tiny(tmp_path, monkeypatch, vision_width=TEXT_WIDTH, **NO_DROPOUT)
    return write_converted(tmp_path, "blip_vqa")


def vilt(folder) -> dict:
    words = train_vocabulary([row["question"] for row in vqa_rows()], 60)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    answers = write_list(folder / "known.json", ANSWERS)
    return {
        **{"arch": "vilt_vqa", "model_type": "tiny", "vocabulary": str(folder / "vocab.txt")},
        "answer_list": answers,
    }


def run(model: dict, datasets: dict, run_keys: dict):
    return train.run_config(OmegaConf.create({"model": model, "datasets": datasets, "run": run_keys}))


def test_blip_learns_a_drawn_set(tmp_path, blip):
    """Trained and evaluated by ranking; the checkpoint then writes the same answers freely."""
    keys = fine_tuning("tldr_vqa", tmp_path, init_lr=5e-3, max_steps=80, batch_size_train=8)
    runner = run(blip, drawn_vqa(tmp_path), keys)
    assert runner.tested["val"] == PERFECT
    saved = json.loads((runner.output_dir / "result" / "val_vqa_result.json").read_text())
    assert saved == [{"question_id": row["question_id"], "answer": row["answer"][0]} for row in vqa_rows()]
    assert json.loads((runner.output_dir / "evaluate.txt").read_text()) == {"val": PERFECT}
    again = {**blip, "load_finetuned": True, "finetuned": str(runner.output_dir / "checkpoint_last.pth")}
    written = {"inference_method": "generate", "max_len": 12, "evaluate": True, "job_id": "again"}
    datasets = drawn_vqa(tmp_path, splits=["val"], answer_list=None)
    assert run(again, datasets, fine_tuning("tldr_vqa", tmp_path, **written)).tested["val"] == PERFECT


def test_vilt_learns_a_drawn_set_and_answers_for_evalai(tmp_path):
    untold = [{key: row[key] for key in ("question_id", "image", "question")} for row in vqa_rows()]
    datasets = drawn_vqa(tmp_path)
    val = datasets["tldr_vqa"]["val"]
    datasets["tldr_vqa"]["test"] = {**val, "annotations": write_list(tmp_path / "test.json", untold)}
    runner = run(vilt(tmp_path), datasets, fine_tuning("tldr_vqa", tmp_path, test_splits=["val", "test"]))
    assert runner.tested == {"val": PERFECT, "test": None}
    saved = json.loads((runner.output_dir / "result" / "test_vqa_result.json").read_text())
    assert [(type(row["question_id"]), type(row["answer"])) for row in saved] == [(int, str)] * 8
    assert saved == json.loads((runner.output_dir / "result" / "val_vqa_result.json").read_text())
    again = {**vilt(tmp_path), "load_finetuned": True, "finetuned": str(runner.output_dir / "checkpoint_last.pth")}
    keys = fine_tuning("tldr_vqa", tmp_path, evaluate=True, job_id="again", batch_size_eval=8)
    assert run(again, drawn_vqa(tmp_path, splits=["val"]), keys).tested["val"] == PERFECT


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("clip_pretrain", "CLIP reads image and question apart.* nothing that answers.*arch: blip_vqa or vilt_vqa"),
        ("clip", "the task tldr_vqa can't use clip: CLIP reads image and question apart"),
        ("blip_pretrain_tldr", r"no head .*arch: blip_vqa; .*`lavis-tldr convert SOURCE TARGET --for blip_vqa`"),
        ("vilt_pretrain", "no head .*arch: vilt_vqa; .* model.load_pretrained: True"),
        ("codebook_captioner", "no head .* Use model.arch: blip_vqa or vilt_vqa"),
    ],
)
def test_models_that_can_not_answer_are_refused_before_data_is_read(tmp_path, arch, message):
    model_type = next(iter(registry.get_model_class(arch).PRETRAINED_MODEL_CONFIG_DICT))
    datasets = {"tldr_vqa": {"val": {"annotations": "absent.json", "image_root": "absent"}}}
    with pytest.raises(ValueError, match=message):
        run({"arch": arch, "model_type": model_type}, datasets, fine_tuning("tldr_vqa", tmp_path, evaluate=True))


def test_vilt_does_not_write_and_blip_does_not_rank_nothing(tmp_path, blip):
    keys = fine_tuning("tldr_vqa", tmp_path, inference_method="generate")
    with pytest.raises(ValueError, match="inference_method is 'generate'; vilt_vqa answers by rank"):
        run(vilt(tmp_path), drawn_vqa(tmp_path), keys)
    with pytest.raises(ValueError, match="rank chooses among answers, and there are none: give datasets.tldr_vqa"):
        run(blip, drawn_vqa(tmp_path, answer_list=None), fine_tuning("tldr_vqa", tmp_path))


@pytest.mark.parametrize(("arch", "part"), [("blip_vqa", "text_decoder"), ("vilt_vqa", "classifier")])
def test_no_answer_comes_of_nan(tmp_path, monkeypatch, blip, arch, part):
    broken = registry.get_model_class(arch)
    build = broken.from_config.__func__

    def build_broken(cls, cfg):
        model = build(cls, cfg)
        next(getattr(model, part).parameters()).data.fill_(float("nan"))
        return model

    monkeypatch.setattr(broken, "from_config", classmethod(build_broken))
    model = blip if arch == "blip_vqa" else vilt(tmp_path)
    with pytest.raises(ValueError, match="scores are not finite"):
        run(model, drawn_vqa(tmp_path, splits=["val"]), fine_tuning("tldr_vqa", tmp_path, evaluate=True))


# What the task does with answers, by a model that looks them up


class Oracle(torch.nn.Module):
    """Answers by the image's colour, and wrongly what is no colour."""

    def before_evaluation(self, **kwargs):
        pass

    def predict_answers(self, samples, **kwargs):
        return [ANSWERS[int(pixel.argmax())] for pixel in samples["image"][:, :, 0, 0]]


@pytest.fixture
def evaluated(tmp_path, monkeypatch):
    """The task, and a drawn set without images: its pixels are the colour's number; white is taken for red."""
    folder = tmp_path / "run" / "result"
    folder.mkdir(parents=True)
    monkeypatch.setitem(registry.mapping["paths"], "result_dir", str(folder))
    monkeypatch.setitem(registry.mapping["paths"], "output_dir", str(folder.parent))
    datasets = drawn_vqa(tmp_path)["tldr_vqa"]["val"]

    def pixels(image):
        return torch.tensor(image.getpixel((0, 0)))[:, None, None].float()

    dataset = VqaEvaluation(pixels, str.lower, datasets["image_root"], vqa_rows())

    def new_task():
        task = VqaAccuracyTask.setup_task(
            SimpleNamespace(run_cfg=OmegaConf.create({}), model_cfg=SimpleNamespace(arch="blip_vqa"))
        )
        task.before_evaluation(Oracle(), dataset)
        return task

    return SimpleNamespace(task=new_task, dataset=dataset, folder=folder)


def answer(evaluated, task, indices) -> list[dict]:
    loader = DataLoader(evaluated.dataset, batch_size=2, sampler=indices, collate_fn=evaluated.dataset.collater)
    return task.evaluation(Oracle(), loader, cuda_enabled=False)


def test_one_rank_and_two_tell_the_same(evaluated, monkeypatch):
    """Three of four colours are right, and none of yes and no. The second rank's share is padded with the first row."""
    task = evaluated.task()
    alone = task.after_evaluation(answer(evaluated, task, range(8)), "val")
    assert alone == {"acc": 37.5, "acc_other": 75, "acc_yes/no": 0, "agg_metrics": 37.5}
    ranks = ThreadedRanks(2)
    ranks.stand_in(monkeypatch, gathering)
    shares = [range(0, 8, 2), [1, 3, 5, 7, 0]]

    def work(rank: int):
        task = evaluated.task()
        return task.after_evaluation(answer(evaluated, task, shares[rank]), "val")

    assert ranks.run(work) == [alone, alone]


def test_a_question_left_out_is_named(evaluated):
    task = evaluated.task()
    with pytest.raises(ValueError, match=r"no prediction for question_id \(1: 31\)"):
        task.after_evaluation(answer(evaluated, task, range(7)), "val")
    evaluated.dataset.human_answers = None
    with pytest.raises(ValueError, match=r"no prediction for question_id \(1: 31\)"):
        task.after_evaluation(answer(evaluated, task, range(7)), "test")


def test_sets_of_other_builders_are_refused(evaluated):
    with pytest.raises(ValueError, match="evaluates sets of the builder tldr_vqa, not SimpleNamespace"):
        evaluated.task().before_evaluation(Oracle(), SimpleNamespace())
