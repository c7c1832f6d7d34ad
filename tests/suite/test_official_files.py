"""From the files that a set's authors give to the figures: `data convert`, then `evaluate`, with tiny models.

Models that tell the same of everything, and sets with one answer, have figures that are worked out by hand; others are
held against a second way to compute them.
"""

import json
from pathlib import Path

import numpy as np
import official_sets
import pytest
import torch
from lavis.datasets.builders.imagefolder_builder import imagenet_classnames
from lavis.processors.blip_processors import BlipImageEvalProcessor
from PIL import Image
from pycocoevalcap.cider.cider import Cider

from lavis_tldr import cli
from lavis_tldr.models.scorers import scorer_of
from lavis_tldr.suite.command import evaluate
from lavis_tldr.suite.results import Result, collect


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def figures(tmp_path, root):
    """Convert a set, evaluate a checkpoint on it: figures by split."""

    def run(checkpoint: Path, name: str, convert: str | None, *options: str) -> dict:
        if convert:
            assert cli.main(["data", "convert", convert, "--data", str(root)]) == 0
        settings = ["run.num_workers=0", "run.batch_size_eval=2", *options]
        (outcome,) = evaluate(checkpoint, names=[name], data=root, out=tmp_path / "out", device="cpu", options=settings)
        assert outcome.status == "done", outcome.told
        (result,) = collect([tmp_path / "out"])
        assert isinstance(result, Result) and result.evaluation == name
        return result.figures

    return run


def written(tmp_path: Path, name: str):
    """A file of predictions."""
    (path,) = (tmp_path / "out").rglob(f"result/{name}.json")
    return json.loads(path.read_text())


def test_vqa(tmp_path, root, figures):
    """EVALUATIONS.md's questions, answered "two" throughout: the first two right. Stock LAVIS: .6 and 0 of five."""
    counted = ["two", "two", "2", "2", "Two.", "3", "3", "three", "0", "none"]
    answered = {
        1: ("number", counted),
        2: ("number", ["two"] * 10),
        3: ("other", ["a dog"] * 8 + ["dog"] * 2),
        4: ("other", ["t-shirt"] * 3 + ["shirt"] * 7),
        5: ("other", ["red"] + ["blue"] * 9),
    }
    official_sets.lay_out_vqa(root, answered)
    (tmp_path / "answers.json").write_text('["dog", "two", "red"]')
    changes = {"answer_list": str(tmp_path / "answers.json")}
    checkpoint = official_sets.write_vilt_checkpoint(tmp_path / "model", "vilt_vqa", says=1, **changes)
    found = figures(checkpoint, "vqa", "vqa")["val2014"]
    assert found == pytest.approx({"acc": 40, "acc_number": 100, "acc_other": 0, "agg_metrics": 40})
    answers = written(tmp_path, "val_vqa_result")
    assert answers == [{"question_id": 1000 * number, "answer": "two"} for number in answered]


def test_nlvr2(tmp_path, root, figures):
    """All said to be true. dev is the worked example; of test1's two sentences one is whole."""
    dev = {"dev-0-0-0": "True", "dev-0-1-0": "False", "dev-0-0-1": "True", "dev-0-1-1": "False"}
    test1 = {"test1-0-0-0": "True", "test1-0-1-0": "True", "test1-0-0-1": "False"}
    official_sets.lay_out_nlvr2(root, {**dev, **test1})
    checkpoint = official_sets.write_vilt_checkpoint(tmp_path / "model", "vilt_nlvr", says=1)
    found = figures(checkpoint, "nlvr2", "nlvr2")
    assert found["dev"] == {"acc": 50, "consistency": 0, "agg_metrics": 50}
    assert found["test-P"] == pytest.approx({"acc": 200 / 3, "consistency": 50, "agg_metrics": 200 / 3})


# The captions are "r r r ...": one has the words, none the number of them.
CAPTIONS = {73: ["R r r!", "a cat"], 74: ["a dog", "two dogs"], 75: ["r, a letter!"]}
PLAIN = {73: ["r r r", "a cat"], 74: ["a dog", "two dogs"], 75: ["r a letter"]}


def ciders(results: list[dict], numbers) -> float:
    """pycocoevalcap's own, on captions in words."""
    own = {row["image_id"]: [row["caption"]] for row in results if row["image_id"] in numbers}
    return 100 * Cider().compute_score({number: PLAIN[number] for number in numbers}, own)[0]


def check_captions(results: list[dict]) -> None:
    assert [row["image_id"] for row in results] == list(PLAIN)
    assert all(set(row["caption"].split()) == {"r"} for row in results)


def test_coco_captions(tmp_path, root, figures):
    official_sets.lay_out_karpathy(root, CAPTIONS, "coco-caption")
    checkpoint = official_sets.write_blip_checkpoint(tmp_path / "model", says="r")
    found = figures(checkpoint, "coco_caption", "coco-caption")["test"]
    results = written(tmp_path, "test_epochbest")
    check_captions(results)
    assert found["cider"] == pytest.approx(ciders(results, PLAIN)) and found["cider"] > 1
    assert found["agg_metrics"] == found["cider"] + found["bleu4"]


def test_nocaps(tmp_path, root, figures):
    """Each domain with idf of its own, and one image alone without any: the whole is not the mean."""
    domains = {73: "in-domain", 74: "in-domain", 75: "out-domain"}
    official_sets.lay_out_nocaps(root, CAPTIONS, domains)
    checkpoint = official_sets.write_blip_checkpoint(tmp_path / "model", says="r")
    found = figures(checkpoint, "nocaps", "nocaps")["val"]
    results = written(tmp_path, "val_epochbest")
    check_captions(results)
    inside = ciders(results, [73, 74])
    assert inside > 1 and found["cider_in-domain"] == pytest.approx(inside)
    assert found["cider_out-domain"] == 0 and (found["images_in-domain"], found["images_out-domain"]) == (2, 1)
    assert found["cider"] == pytest.approx(ciders(results, PLAIN)) != pytest.approx(inside / 2)


def test_refcoco_plus(tmp_path, root, figures):
    """Where an image has one box it is chosen: val's is right both ways, testB's proposal is off; testA has none."""
    boxes = {
        9: {30: [0, 0, 10, 10], 31: [20, 5, 30, 40], 32: [25, 5, 30, 40]},  # the first is nobody's
        10: {40: [10, 10, 40, 20]},
        11: {50: [60, 10, 30, 30]},
    }
    refs = [
        {"image_id": 9, "ann_id": 31, "split": "testA", "sentences": ["man in red", "café guy"]},
        {"image_id": 9, "ann_id": 32, "split": "testA", "sentences": ["a boat"]},
        {"image_id": 10, "ann_id": 40, "split": "testB", "sentences": ["a kite"]},
        {"image_id": 11, "ann_id": 50, "split": "val", "sentences": ["a house", "old house"]},
    ]
    official_sets.lay_out_refcoco(root, refs, boxes, {10: [[60, 10, 30, 30]], 11: [[60, 10, 30, 29]]})
    checkpoint = official_sets.write_vilt_checkpoint(tmp_path / "model", "vilt_pretrain")
    found = figures(checkpoint, "refcoco_plus", "refcoco+")
    assert [(found[split]["acc"], found[split]["acc_detected"]) for split in ("val", "testB")] == [(100, 100), (100, 0)]
    of_a = found["testA"]
    assert (of_a["acc_detected"], of_a["images_without_proposals"], of_a["sentences"]) == (0, 1, 3)
    assert of_a["chance"] == pytest.approx(100 / 3)
    told = {row["sent_id"]: row["chosen"] for row in written(tmp_path, "grounding_testA_epochbest")}
    right = [told[sentence] == target for sentence, target in ((0, 1), (1, 1), (2, 2))]
    assert of_a["acc"] == pytest.approx(100 * np.mean(right))


def clip_scores(model, images: list[Image.Image], texts: list[str]) -> np.ndarray:
    """Cosines, (images, texts), of one after the other."""
    see, scorer = BlipImageEvalProcessor(image_size=32), scorer_of(model)
    with torch.no_grad():
        seen = torch.cat([scorer.embed_images({"image": see(image)[None]}) for image in images])
        return (seen @ torch.cat([scorer.embed_texts([text]) for text in texts]).T).numpy()


def test_msrvtt(tmp_path, root, figures):
    """Clips of one grey each, so that any frame is the video: five, one of them of fewer frames than are taken."""
    captions = {
        "video9": "a red kite",
        "video7010": "two dogs",
        "video3": "a pink house",
        "video20": "a boat",
        "video1": "a green dog",
    }
    official_sets.lay_out_msrvtt(root, captions, short="video3", column="sentences")
    model, checkpoint = official_sets.write_clip_checkpoint(tmp_path / "model")
    found = figures(checkpoint, "msrvtt", "msrvtt")["test"]
    names = sorted(captions)  # as greys go
    greys = [Image.new("RGB", (64, 48), (40 + 50 * place,) * 3) for place in range(5)]
    scores = clip_scores(model, greys, list(captions.values()))
    ranks = [
        1 + sorted(range(5), key=lambda video: -scores[video, text]).index(names.index(name))
        for text, name in enumerate(captions)
    ]
    assert written(tmp_path, "video_retrieval_test_epochbest")["ranks"] == ranks
    assert len(set(ranks)) > 1
    assert found["vid_mdr"] == sorted(ranks)[2] and found["vid_r1"] == 20 * ranks.count(1)
    assert (found["texts"], found["videos_unreadable"], found["vid_r5"]) == (5, 0, 100)


def test_imagenet_a(tmp_path, root, figures):
    """The model's own choice for red, among the set's 200 classes, is the folder of three images; a fourth is wrong."""
    model, checkpoint = official_sets.write_clip_checkpoint(tmp_path / "model")
    lists = Path(cli.__file__).parent / "configs" / "imagenet"
    numbers = [int(number) for number in (lists / "imagenet_a.txt").read_text().split()]
    wnids = (lists / "wnids.txt").read_text().split()
    prompts = [f"a photo of a {imagenet_classnames[number]}." for number in numbers]
    (scores,) = clip_scores(model, [Image.new("RGB", (40, 32), "red")], prompts)
    right, *_, wrong = (numbers[column] for column in np.argsort(-scores, kind="stable"))
    folders = {wnids[right]: 3, wnids[wrong]: 1}
    official_sets.lay_out_class_folders(root / "imagenet-a", folders, colours=["red", "red"])
    found = figures(checkpoint, "imagenet_a", None, "run.templates=single")["test"]
    assert (found["acc"], found["chance"]) == (75, 0.5)
    told = written(tmp_path, "zero_shot_val_epochbest")
    assert told["predictions"] == [right] * 4 and sorted(told["labels"]) == sorted([right] * 3 + [wrong])


def test_coco_retrieval(tmp_path, root, figures):
    """BLIP re-ranks 256, of 2 images and 5 captions."""
    captions = {73: ["a cat", "the cat"], 74: ["a dog", "the dog", "dogs"]}
    official_sets.lay_out_karpathy(root, captions, "coco")
    checkpoint = official_sets.write_blip_checkpoint(tmp_path / "model")
    found = figures(checkpoint, "coco_retrieval", "coco")["test"]
    ranks = written(tmp_path, "retrieval_test_epochbest")["ranks"]
    assert len(ranks["image_to_text"]) == 2 and len(ranks["text_to_image"]) == 5
    assert (found["txt_r5"], found["img_r5"]) == (100, 100)
    assert found["txt_r1"] == 50 * ranks["image_to_text"].count(1)
    assert found["img_r1"] == 20 * ranks["text_to_image"].count(1)
