import json
import os

import pytest

from lavis_tldr.exports.annotation_list import write_annotations


def test_annotations_round_trip_in_any_locale(tmp_path):
    rows = [{"image": "a.jpg", "caption": "café 🎈"}, {"image": "b.jpg", "caption": "x", "clip": 0.5}]
    path = tmp_path / "new" / "a.json"
    assert write_annotations(path, rows) == 2
    assert path.read_bytes().isascii()
    assert json.loads(path.read_text()) == rows
    assert len(path.read_text().splitlines()) == 4  # brackets, and one entry a line


def test_no_rows_give_an_empty_list(tmp_path):
    assert write_annotations(tmp_path / "a.json", []) == 0
    assert json.loads((tmp_path / "a.json").read_text()) == []


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.json"
    write_annotations(path, [{"image": "old.jpg"}])
    with pytest.raises(ValueError, match="[Oo]ut of range float"):
        write_annotations(path, [{"image": "new.jpg"}, {"clip": float("nan")}])
    assert json.loads(path.read_text()) == [{"image": "old.jpg"}]
    assert os.listdir(tmp_path) == ["a.json"]
