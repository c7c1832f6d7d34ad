"""The captioning task: trained, evaluated and scored on small trees, alone and on two ranks."""

import json
import logging
from types import SimpleNamespace

import pytest
import torch
from lavis.common.registry import registry
from lavis.tasks.captioning import CaptionTask, coco_caption_eval
from omegaconf import OmegaConf
from PIL import Image
from threaded_ranks import ThreadedRanks
from tiny_blip import build_tiny_pretraining, register_tiny

from lavis_tldr import train
from lavis_tldr.environment.offline import character_vocabulary
from lavis_tldr.models.blip.caption import BlipCaptionTLDR
from lavis_tldr.models.blip.captioner import BeamSearch, captioner_of
from lavis_tldr.models.conversion.outcome import Wishes
from lavis_tldr.models.conversion.targets import convert
from lavis_tldr.tasks import captioning, gathering
from lavis_tldr.tasks.captioning import CaptioningTask

COLOURS = {11: "red", 12: "green", 13: "blue", 14: "white", 15: "black"}
NAME = "val2014/COCO_val2014_{:012d}.jpg"
DOMAINS = {11: "in-domain", 12: "in-domain", 13: "near-domain", 14: "near-domain", 15: "out-domain"}


@pytest.fixture
def tree(tmp_path):
    """Five photos of one colour each, lists to train and to evaluate on, and a vocabulary."""
    (tmp_path / "images" / "val2014").mkdir(parents=True)
    learn, evaluate, domains = [], [], []
    for number, colour in COLOURS.items():
        Image.new("RGB", (40, 32), colour).save(tmp_path / "images" / NAME.format(number))
        row = {"image": NAME.format(number)}
        learn.append({**row, "caption": f"A {colour} one.", "image_id": f"coco_{number}"})
        evaluate.append({**row, "caption": [f"a {colour} one", f"all of it is {colour}"]})
        domains.append({"image": row["image"], "img_id": number, "domain": DOMAINS[number], "caption": [colour] * 2})
    truth = {
        "images": [{"id": number} for number in COLOURS],
        "annotations": [{"id": n, "image_id": n, "caption": f"a {colour} one"} for n, colour in COLOURS.items()],
    }
    files = {"train": learn, "test": evaluate, "nocaps": domains, "bare": [{"image": NAME.format(11)}], "gt": truth}
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    (tmp_path / "vocab.txt").write_text("\n".join(character_vocabulary()) + "\n")
    return tmp_path


def config(tree, model=None, dataset=None, **run):
    image = {"name": "blip_image_eval", "image_size": 32}
    split = {"annotations": str(tree / "test.json"), "image_root": str(tree / "images")}
    dataset = {"test": split} if dataset is None else dataset
    return OmegaConf.create(
        {
            "model": {
                "arch": "blip_caption_tldr",
                "model_type": "tiny",
                "vocabulary": str(tree / "vocab.txt"),
                **(model or {}),
            },
            "datasets": {"tldr_captioning": {**dataset, "vis_processor": {"train": image, "eval": image}}},
            "run": {
                "task": "tldr_captioning",
                "runner": "runner_tldr",
                "device": "cpu",
                "evaluate": True,
                "test_splits": ["test"],
                "batch_size_eval": 2,
                "batch_size_train": 2,
                "num_workers": 0,
                "max_len": 24,
                "output_dir": str(tree / "out"),
                **run,
            },
        }
    )


def split(tree, name: str, **keys) -> dict:
    return {"annotations": str(tree / f"{name}.json"), "image_root": str(tree / "images"), **keys}


def results_of(runner, name="test_epochbest.json") -> list[dict]:
    return json.loads((runner.output_dir / "result" / name).read_text())


@pytest.mark.parametrize("arch", ["blip_caption_tldr", "blip_pretrain_tldr"])
def test_captions_are_written_as_coco_takes_them_and_scored(tree, arch):
    runner = train.run_config(config(tree, {"arch": arch}))
    scores, results = runner.tested["test"], results_of(runner)
    assert [row["image_id"] for row in results] == list(COLOURS)
    assert all(set(row) == {"image_id", "caption"} and isinstance(row["caption"], str) for row in results)
    assert set(scores) == {"cider", "bleu4", "agg_metrics"}
    assert scores["agg_metrics"] == scores["cider"] + scores["bleu4"]
    assert json.loads((runner.output_dir / "evaluate.txt").read_text()) == {"test": scores}


def test_converted_for_stock_a_pretraining_says_the_same_in_stocks_task(tree, monkeypatch):
    register_tiny(tree, monkeypatch)
    pretrained = build_tiny_pretraining()
    torch.save(
        convert({"model": pretrained.state_dict()}, "blip_caption", Wishes(model_type="tiny")).content, tree / "x"
    )
    model = {"arch": "blip_caption", "load_finetuned": False, "load_pretrained": True, "pretrained": str(tree / "x")}
    runner = train.run_config(config(tree, model, num_beams=2))
    ours = [row["caption"] for row in results_of(runner)]
    images = torch.stack([sample["image"] for sample in runner.datasets["test"]])
    of_stock = CaptionTask(2, 24, 5, True).valid_step(runner.model, {"image": images, "image_id": list(COLOURS)})
    # Stock cuts one letter more where a caption's first piece goes on from the prompt's last.
    assert all(row["caption"].strip() in (a, a[1:].strip()) for a, row in zip(ours, of_stock, strict=True))
    assert captioner_of(pretrained).generate({"image": images}, BeamSearch(2, 24, 5)) == ours


class Says:
    """A captioner that says what it is told, by image."""

    def __init__(self, captions):
        self.captions, self.prompt = captions, "a picture of "

    def generate(self, samples, search):
        return [self.captions[int(index)] for index in samples["index"]]


def say(monkeypatch, captions: list[str]) -> None:
    monkeypatch.setattr(captioning, "captioner_of", lambda model: Says(captions))


def test_right_captions_score_all_and_constant_ones_little(tree, monkeypatch):
    say(monkeypatch, [f"All of it is {colour}." for colour in COLOURS.values()])
    right = train.run_config(config(tree)).tested["test"]
    assert right["bleu4"] == pytest.approx(100)
    say(monkeypatch, ["a red one"] * 5)
    assert train.run_config(config(tree)).tested["test"]["cider"] < right["cider"] / 3


def test_domains_are_scored_apart(tree, monkeypatch, caplog):
    say(monkeypatch, list(COLOURS.values()))
    with caplog.at_level(logging.WARNING):
        dataset = {"test": split(tree, "nocaps")}
        scores = train.run_config(config(tree, dataset=dataset, repetition_penalty=1.1)).tested["test"]
    assert [scores[f"images_{domain}"] for domain in ("in-domain", "near-domain", "out-domain")] == [2, 2, 1]
    # one word each: unigrams alone, of weight 1; the single image's is 0
    assert scores["cider_in-domain"] == pytest.approx(250) and scores["cider_out-domain"] == 0
    assert scores["cider"] == pytest.approx(250)
    assert "the domain out-domain has one image" in caplog.text


def test_ground_truth_in_cocos_format_stands_for_the_lists_captions(tree, monkeypatch):
    say(monkeypatch, [f"a {colour} one" for colour in COLOURS.values()])
    dataset = {"test": split(tree, "test", ground_truth=str(tree / "gt.json"))}
    assert train.run_config(config(tree, dataset=dataset)).tested["test"]["cider"] == pytest.approx(750)


def test_without_references_captions_are_written_alone(tree, caplog):
    with caplog.at_level(logging.WARNING):
        runner = train.run_config(config(tree, dataset={"test": split(tree, "bare")}))
    assert runner.tested["test"] == {"agg_metrics": 0.0}
    assert [row["image_id"] for row in results_of(runner)] == [11]
    assert "its captions are written, not scored" in caplog.text


def test_the_search_is_the_configs(tree, monkeypatch):
    seen = []

    def generate(self, samples, search):
        seen.append((self.prompt, search))
        return ["x"] * len(samples["index"])

    monkeypatch.setattr("lavis_tldr.models.blip.captioner.BlipCaptioner.generate", generate)
    train.run_config(config(tree, repetition_penalty=1.1, num_beams=2, min_len=7, prompt="there is "))
    assert set(seen) == {("there is ", BeamSearch(2, 24, 7, 1.1))}
    seen.clear()
    cfg = config(tree)
    del cfg.run.max_len
    train.run_config(cfg)
    assert set(seen) == {("a picture of ", BeamSearch(3, 20, 5, 1.0))}


def test_training_learns_and_keeps_the_best(tree):
    dataset = {"train": split(tree, "train"), "val": split(tree, "test"), "test": split(tree, "test")}
    run = {"evaluate": False, "train_splits": ["train"], "valid_splits": ["val"], "max_epoch": 5, "seed": 3}
    rates = {"lr_sched": "linear_warmup_cosine_lr", "init_lr": 3e-3, "min_lr": 0, "weight_decay": 0, "warmup_steps": 0}
    runner = train.run_config(config(tree, {"dropout": 0.0}, dataset, **run, **rates, num_beams=1))
    lines = (runner.output_dir / "log.txt").read_text().splitlines()
    log = [json.loads(line) for line in lines if line.startswith('{"')]  # after the config
    losses = [float(row["train_loss"]) for row in log if "train_loss" in row]
    assert len(losses) == 5 and losses == sorted(losses, reverse=True)
    best = max(float(row["val_agg_metrics"]) for row in log if "val_agg_metrics" in row)
    assert float(runner.tested["test"]["agg_metrics"]) == pytest.approx(best)  # by the best epoch's weights


def test_captions_do_not_depend_on_the_batch(tree):
    """Nor on how many ranks share the set out."""
    alone = train.run_config(config(tree, batch_size_eval=1, seed=5))
    together = train.run_config(config(tree, batch_size_eval=5, seed=5))
    assert results_of(alone) == results_of(together)


def test_features_are_computed_once_for_a_frozen_tower(tree):
    dataset = {"train": split(tree, "train"), "test": split(tree, "test"), "feature_cache": str(tree / "cache")}
    torch.manual_seed(0)
    model = BlipCaptionTLDR.from_config(
        OmegaConf.merge(
            OmegaConf.load(BlipCaptionTLDR.default_config_path("tiny")).model,
            {"vocabulary": str(tree / "vocab.txt"), "freeze_vit": True},
        )
    )
    torch.save({"model": model.state_dict()}, tree / "model.pth")
    keys = {"freeze_vit": True, "load_pretrained": True, "pretrained": str(tree / "model.pth")}
    cached = train.run_config(config(tree, keys, dataset))
    plain = train.run_config(config(tree, keys))
    assert results_of(cached) == results_of(plain)
    assert len(list((tree / "cache").rglob("*"))) > 1


# Ranks


def test_two_ranks_write_and_score_what_one_does(tree, monkeypatch):
    listed = train.run_config(config(tree)).datasets["test"]
    captions = [f"a {colour} one" for colour in COLOURS.values()]

    def evaluate(rows: list[list[int]]) -> list[dict]:
        ranks = ThreadedRanks(len(rows))
        ranks.stand_in(monkeypatch, gathering)

        def work(rank: int) -> dict:
            task = CaptioningTask(BeamSearch(), prompt=None, evaluate=True, report_metric=True)
            task._evaluated = listed
            return task.after_evaluation([{"index": i, "caption": captions[i]} for i in rows[rank]], "test", "best")

        return ranks.run(work)

    one = evaluate([[0, 1, 2, 3, 4]])
    assert evaluate([[0, 2, 4], [1, 3]]) == one * 2
    assert evaluate([[0, 2, 4], [1, 3, 0]]) == one * 2  # LAVIS's sampler pads with the first
    with pytest.raises(ValueError, match=r"1 images have no caption \(first: 14\)"):
        evaluate([[0, 2, 4], [1]])


# Refusals


@pytest.mark.parametrize("arch", ["clip", "vilt_pretrain"])
def test_models_that_write_nothing_refuse_before_data_is_read(tree, arch, monkeypatch):
    monkeypatch.setattr(CaptioningTask, "build_datasets", lambda *args: pytest.fail("data was read"))
    model = {"arch": arch, "model_type": "ViT-B-32" if arch == "clip" else "tiny"}
    cfg = config(tree, model)
    del cfg.model.vocabulary
    with pytest.raises(ValueError, match="can't write captions"):
        train.run_config(cfg)


def test_a_pretraining_is_not_trained_here(tree):
    cfg = config(tree, {"arch": "blip_pretrain_tldr"}, evaluate=False, train_splits=["train"])
    with pytest.raises(ValueError, match="start blip_caption_tldr from its checkpoint"):
        train.run_config(cfg)


def test_captions_to_train_on_begin_with_the_prompt(tree):
    dataset = {"train": split(tree, "train"), "text_processor": {"train": {"name": "blip_caption", "prompt": ""}}}
    with pytest.raises(ValueError, match="text_processor.train.prompt"):
        train.run_config(config(tree, dataset=dataset, test_splits=[]))


# Where stock LAVIS is wrong or dies


@pytest.fixture
def stock_truth(tree, monkeypatch):
    """The ground truth where LAVIS looks for it, results, and no network."""
    folder = tree / "coco_gt"
    folder.mkdir()
    content = json.loads((tree / "gt.json").read_text())
    (folder / "coco_karpathy_test_gt.json").write_text(json.dumps({"info": {}, **content}))
    results = [{"image_id": number, "caption": f"a {colour} one"} for number, colour in COLOURS.items()]
    (tree / "results.json").write_text(json.dumps(results))

    def unreachable(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    return SimpleNamespace(folder=str(folder), results=str(tree / "results.json"))


def test_stock_scoring_dies_before_any_score(stock_truth, monkeypatch):
    with pytest.raises(OSError, match="no network"):  # it asks for the ground truth that lies there
        coco_caption_eval(stock_truth.folder, stock_truth.results, "test")
    monkeypatch.setattr("lavis.tasks.captioning.download_url", lambda url, folder: None)
    told = "SPICE wants a parser downloaded"

    class Spice:
        def __init__(self):
            raise OSError(told)

    # Its constructor downloads CoreNLP, and it is made in one list with the other scorers, before the first is used.
    monkeypatch.setattr("pycocoevalcap.eval.Spice", Spice)
    monkeypatch.setattr(
        "pycocoevalcap.eval.PTBTokenizer.tokenize",
        lambda self, given: {image: [row["caption"] for row in rows] for image, rows in given.items()},
    )
    with pytest.raises(OSError, match=told):
        coco_caption_eval(stock_truth.folder, stock_truth.results, "test")


def test_stock_has_no_figure_for_nocaps(tree, monkeypatch):
    """LAVIS's config of NoCaps turns its scores off; on, it would look for COCO's ground truth."""
    monkeypatch.setitem(registry.mapping, "paths", {"result_dir": str(tree), "output_dir": str(tree)})
    task = CaptionTask(3, 20, 5, True, report_metric=False)
    rows = [{"image_id": number, "caption": colour} for number, colour in COLOURS.items()]
    assert task.after_evaluation(rows, "val", 0) == {"agg_metrics": 0.0}
