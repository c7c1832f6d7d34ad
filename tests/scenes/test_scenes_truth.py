import json
import math
from random import Random

import pytest

from lavis_tldr import cli
from lavis_tldr.scenes import Truth, draw_scenes
from lavis_tldr.scenes.captions import caption
from lavis_tldr.scenes.layout import random_scene
from lavis_tldr.scenes.truth import alignment_auc, load_truth, measure, named_in, report


def fact(**facts) -> Truth:
    usual = {"aligned": True, "duplicate_of": None, "broken": False, "empty": False, "true_caption": ""}
    return Truth(**{**usual, "shapes": ["boat"], "background": "beach", **facts})


TRUTH = {
    "a": fact(),
    "b": fact(duplicate_of="a"),
    "c": fact(duplicate_of="a", aligned=False),
    "d": fact(aligned=False, empty=True),
    "e": fact(aligned=False, broken=True, shapes=["duck"], background="snow"),
}


def test_measure_by_hand():
    captions = {
        "a": "two red sailboats on the beach",  # boat, beach: both there
        "b": "a boat and a duck",  # boat there, duck not
        "c": "best smartphone case sale",  # names nothing
        "d": "",
        "e": "a duckling in the snow",  # both there
    }
    figures = measure(captions, TRUTH)
    assert (figures.pairs, figures.aligned, figures.unusable) == (5, 2 / 5, 2 / 5)
    assert figures.near_duplicates == 2 / 5  # a, b and c are one scene
    assert figures.named_right == 5 / 6
    # Without its original, b is no near duplicate; of two copies one is.
    assert measure({"b": "", "d": ""}, TRUTH).near_duplicates == 0
    assert measure({"b": "", "c": ""}, TRUTH).near_duplicates == 1 / 2
    assert math.isnan(measure({"d": ""}, TRUTH).named_right)


def test_longer_names_come_first():
    assert named_in("A fir tree under the stars; an ice cream cone") == {"pine", "night", "icecream"}
    assert named_in("a five-pointed star") == {"star"}
    assert named_in("a keyboard and a starfish") == set()


def test_true_captions_name_only_what_is_there():
    rng = Random(0)
    for _ in range(300):
        scene = random_scene(rng)
        text = caption(scene, rng)
        assert named_in(text) <= {thing.shape for thing in scene.things} | {scene.background}, text
        assert scene.things[0].shape in named_in(text) or len(scene.things) > 1, text


def test_auc_by_pairs():
    scores, aligned = [0.1, 0.4, 0.4, 0.8, 0.9], [False, True, False, False, True]
    right = [s for s, label in zip(scores, aligned, strict=True) if label]
    wrong = [s for s, label in zip(scores, aligned, strict=True) if not label]
    wins = [1.0 if r > w else 0.5 if r == w else 0.0 for r in right for w in wrong]
    assert alignment_auc(scores, aligned) == pytest.approx(sum(wins) / len(wins))
    assert math.isnan(alignment_auc([0.5], [True]))


def test_report_has_a_column_a_set():
    row = {"caption_generated": "a boat on a sandy beach", "alignment": 0.5, "kept": True}
    rows = [
        {**row, "key": "a", "caption_original": "a boat", "caption": "a boat"},
        {**row, "key": "c", "caption_original": "a duck", "caption": "", "alignment": 0.1, "kept": False},
    ]
    lines = report({"best": rows}, TRUTH, num_examples=1)
    assert lines[0].split() == ["source", "best"]
    assert [line.split()[-2:] for line in lines[1:4]] == [["2", "1"], ["50.0%", "100.0%"], ["50.0%", "100.0%"]]
    assert lines[-3].endswith("AUC 1.000") and lines[-1].endswith("a boat on a sandy beach")


def test_truth_of_a_drawn_set_is_read_back(tmp_path):
    table = draw_scenes(tmp_path, num_samples=12, part_size=12, image_size=32)
    truth = load_truth(tmp_path / "truth.json")
    assert {key: vars(facts) for key, facts in truth.items()} == table


def test_wrong_input_says_what_to_do(tmp_path, capsys):
    with pytest.raises(ValueError, match="draw-scenes"):
        load_truth(tmp_path / "truth.json")
    (tmp_path / "truth.json").write_text(json.dumps({"a": {"aligned": True}}))
    with pytest.raises(ValueError, match="draw the set again"):
        load_truth(tmp_path / "truth.json")
    with pytest.raises(ValueError, match="'z' is not in the truth"):
        measure({"z": ""}, TRUTH)
    with pytest.raises(ValueError, match="no pairs"):
        measure({}, TRUTH)
    assert cli.main(["truth", str(tmp_path / "none.json"), str(tmp_path / "ledger.parquet")]) == 2
    assert "ledger.parquet" in capsys.readouterr().err
