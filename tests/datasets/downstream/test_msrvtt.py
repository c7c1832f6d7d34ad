"""Captions of MSRVTT in the layouts that are about."""

import json

import pytest
from lavis.datasets.datasets.retrieval_datasets import VideoRetrievalEvalDataset

from lavis_tldr.datasets.downstream.msrvtt import MADE, convert, read_captions

CAPTIONS = {"video9.mp4": ["a man sings, loudly"], "video7.mp4": ["a dog"]}
CSV = 'key,vid_key,video_id,{}\nret0,msr9,video9,"a man sings, loudly"\nret1,msr7,video7,a dog\n'
LAYOUTS = {
    "sentence.csv": CSV.format("sentence"),
    "sentences.csv": "\ufeff" + CSV.format("sentences"),
    "blip.jsonl": "".join(f'{{"clip_name": "{v[:-4]}", "caption": "{c[0]}"}}\n' for v, c in CAPTIONS.items()),
    "lavis.json": json.dumps([{"video": video, "caption": captions} for video, captions in CAPTIONS.items()]),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_is_read(tmp_path, name):
    (tmp_path / name).write_text(LAYOUTS[name], encoding="utf-8")
    found = read_captions(tmp_path / name)
    assert found == CAPTIONS
    assert list(found) == ["video9.mp4", "video7.mp4"]  # the file's order, not the numbers'


@pytest.mark.parametrize("name", ["sentence.csv", "blip.jsonl"])
def test_lavis_list_is_made_of_the_official_one(tmp_path, name):
    official = "MSRVTT_JSFUSION_test.csv" if name.endswith("csv") else "msrvtt_test.jsonl"
    (tmp_path / official).write_text(LAYOUTS[name])
    assert convert(tmp_path) == [f"msrvtt_test.json: 2 videos, 2 captions, from {official}"]
    assert json.loads((tmp_path / MADE).read_text()) == json.loads(LAYOUTS["lavis.json"])


def test_lavis_reads_the_list(tmp_path):
    (tmp_path / "MSRVTT_JSFUSION_test.csv").write_text(LAYOUTS["sentence.csv"])
    convert(tmp_path)
    stock = VideoRetrievalEvalDataset(None, str, str(tmp_path), [str(tmp_path / MADE)])
    assert stock.text == ["a man sings, loudly", "a dog"]
    assert (stock.txt2img, [row["video"] for row in stock.annotation]) == ({0: 0, 1: 1}, list(CAPTIONS))


def test_several_captions_of_a_video(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{"video": "v.avi", "caption": ["a", "b", "a"]}]))
    assert read_captions(tmp_path / "a.json") == {"v.avi": ["a", "b", "a"]}
    (tmp_path / "a.csv").write_text("video_id,sentence\nv,a\nw,b\nv,c\n")
    assert read_captions(tmp_path / "a.csv") == {"v.mp4": ["a", "c"], "w.mp4": ["b"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,caption\n1,a\n", "columns id, caption; expected video_id and sentence"),
        ("video_id,sentence\nv,a\nv,a\n", "line 3 is there twice: v, 'a'"),
        ("video_id,sentence\nv,\n", "line 2 has no video or no caption"),
        ("video_id,sentence\n", "has no captions"),
        ('[{"video": "v"}]', "entry 1 is .*expected video"),
        ('[{"video": "v", "caption": []}]', "entry 1 has no video or no caption"),
        ('{"clip_name": "v", "caption"\n', "neither JSON nor JSON lines"),
        ('["v"]', "entry 1 is 'v'"),
    ],
)
def test_another_layout_is_refused(tmp_path, content, message):
    (tmp_path / "a").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_captions(tmp_path / "a")


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(ValueError, match="MSRVTT_JSFUSION_test.csv is missing"):
        convert(tmp_path)
