"""Captions that a model will cut, of every kind of training set."""

import json

from omegaconf import OmegaConf

from lavis_tldr.datasets import SourcePairsBuilder
from lavis_tldr.runners.preflight.captions import captions_of, cut_warning


def test_captions_of_a_source_are_looked_at(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"not looked at")
    rows = [{"image": "a.jpg", "caption": f"Kite {number}"} for number in range(2500)]
    (tmp_path / "pairs.json").write_text(json.dumps(rows))
    source = {"format": "lavis_json", "annotations": str(tmp_path / "pairs.json"), "image_root": str(tmp_path)}
    default = OmegaConf.load(SourcePairsBuilder.DATASET_CONFIG_DICT["default"]).datasets.tldr_pairs
    pairs = SourcePairsBuilder(OmegaConf.merge(default, {"source": source})).build_datasets()["train"]
    found = list(captions_of(pairs))
    assert 1000 <= len(found) <= 1250
    assert all(caption.startswith("kite ") for caption in found) and len(set(found)) == len(found)


def test_other_sets_have_none_to_look_at():
    assert list(captions_of(object())) == []


def test_the_warning_by_hand():
    # 3 of 10 are longer than 5; the 99% point of ten is the longest.
    told = cut_warning([3, 4, 5, 5, 5, 5, 5, 6, 7, 9], 5, "max_txt_len")
    assert told.startswith("30% of 10 captions") and "at most 9" in told
    assert cut_warning([5] * 10, 5, "max_txt_len") is None
    assert cut_warning([], 5, "max_txt_len") is None
