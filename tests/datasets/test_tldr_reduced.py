"""tldr_reduced on sets of plainly coloured images: the colour tells which image was served."""

import io
import json
import logging
import tarfile
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from lavis.common.config import Config
from lavis.common.registry import registry
from omegaconf import OmegaConf
from PIL import Image
from torch.utils.data import DataLoader

from lavis_tldr.datasets.annotations import Annotations
from lavis_tldr.datasets.tldr_reduced import ReducedBuilder


class Red:
    """A vision processor that keeps the red value of the upper left pixel."""

    def __call__(self, image):
        return torch.tensor(image.getpixel((0, 0))[0])


def png(red: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (red, 0, 0)).save(buffer, format="PNG")
    return buffer.getvalue()


def record(key, **fields):
    captions = {"caption": f"{key} both", "caption_original": f"{key} old", "caption_generated": f"{key} new"}
    return {"image": f"{key}.png", "key": key, **captions, **fields}


def write_set(folder, reds: dict[str, int], broken=()):
    """A reduced folder with exported images, one of each name and red value."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for key, red in reds.items():
        (folder / "images" / f"{key}.png").write_bytes(b"rotten" if key in broken else png(red))
    (folder / "annotations.json").write_text(json.dumps([record(key) for key in reds]))
    return folder


def write_tar(path, reds: dict[str, int]):
    with tarfile.open(path, "w") as tar:
        for key, red in reds.items():
            info = tarfile.TarInfo(f"{key}.png")
            info.size = len(png(red))
            tar.addfile(info, io.BytesIO(png(red)))


def index_tar(folder, tar_name):
    """Annotations whose images are read in place."""
    with tarfile.open(folder / tar_name) as tar:
        members = tar.getmembers()
    records = [record(m.name[:-4], tar=tar_name, offset=m.offset_data, size=m.size) for m in members if m.isfile()]
    (folder / "annotations.json").write_text(json.dumps(records))


def build(**config):
    dataset = ReducedBuilder(OmegaConf.create({"data_type": "images", **config})).build_datasets()["train"]
    dataset.vis_processor = Red()
    return dataset


def served(dataset):
    return [(int(sample["image"]), sample["text_input"]) for sample in (dataset[i] for i in range(len(dataset)))]


def test_config_needs_the_path_alone(tmp_path):
    write_set(tmp_path / "reduced", {"a": 10, "b": 20})
    run_config = tmp_path / "run.yaml"
    run_config.write_text(
        "model: {arch: blip_pretrain, model_type: base}\nrun: {}\n"
        f"datasets: {{tldr_reduced: {{path: {tmp_path / 'reduced'}}}}}\n"
    )
    config = Config(SimpleNamespace(cfg_path=str(run_config), options=None)).datasets_cfg.tldr_reduced
    dataset = registry.get_builder_class("tldr_reduced")(config).build_datasets()["train"]
    sample = dataset[1]
    assert set(sample) == {"image", "text_input"}
    assert sample["image"].shape == (3, 224, 224)
    assert sample["text_input"] == "b both"


def test_folder_and_file_name_the_same_set(tmp_path, monkeypatch):
    write_set(tmp_path / "reduced", {"a": 10, "b": 20})
    expected = [(10, "a both"), (20, "b both")]
    assert served(build(path=str(tmp_path / "reduced"))) == expected
    assert served(build(path=str(tmp_path / "reduced/annotations.json"))) == expected
    monkeypatch.chdir(tmp_path)
    assert served(build(path="reduced")) == expected


@pytest.mark.parametrize(("choice", "word"), [("refined", "both"), ("original", "old"), ("generated", "new")])
def test_caption_is_a_choice(tmp_path, choice, word):
    write_set(tmp_path, {"a": 10})
    assert served(build(path=str(tmp_path), caption=choice)) == [(10, f"a {word}")]


def test_rebuilt_set_at_the_same_path_is_served_fresh(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setitem(registry.mapping["paths"], "cache_root", str(cache))
    write_set(tmp_path / "reduced", {"a": 10, "b": 20})
    assert len(build(path=str(tmp_path / "reduced"))) == 2
    write_set(tmp_path / "reduced", {"a": 30})
    assert served(build(path=str(tmp_path / "reduced"))) == [(30, "a both")]
    assert not cache.exists()


def test_images_elsewhere(tmp_path):
    write_set(tmp_path / "source", {"a": 10})
    reduced = tmp_path / "reduced"
    reduced.mkdir()
    (reduced / "annotations.json").write_text(json.dumps([record("a")]))
    assert served(build(path=str(reduced), image_root=str(tmp_path / "source/images"))) == [(10, "a both")]


def test_a_repeated_pair_is_there_as_often(tmp_path):
    write_set(tmp_path, {"a": 10, "b": 20, "c": 30})
    rows = [record("a", repeats=3), record("b"), record("c", repeats=2)]
    (tmp_path / "annotations.json").write_text(json.dumps(rows))
    dataset = build(path=str(tmp_path))
    assert len(dataset) == 6
    assert served(dataset) == [(10, "a both")] * 3 + [(20, "b both")] + [(30, "c both")] * 2
    assert [dataset.annotation.place(i) for i in (0, 1, 2, 3, 4, 5, -1)] == [
        *((0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1), (2, 1)),
    ]
    assert [row["key"] for row in dataset.annotation] == list("aaabcc")
    assert dataset.annotation.num_records == 3
    with pytest.raises(IndexError, match="record 6 of 6"):
        dataset.annotation[6]


@pytest.mark.parametrize("repeats", [0, -1, 1.5, "2", True, None])
def test_repeats_that_are_no_number_of_times(tmp_path, repeats):
    write_set(tmp_path, {"a": 10})
    (tmp_path / "annotations.json").write_text(json.dumps([record("a"), record("a", repeats=repeats)]))
    with pytest.raises(ValueError, match=rf"Record 1 of .* has repeats {repeats!r}; expected .* whole number"):
        build(path=str(tmp_path))


def test_an_unreadable_image_counts_once_however_often_it_is_repeated(tmp_path):
    write_set(tmp_path, {"a": 10, "b": 20}, broken={"a"})
    (tmp_path / "annotations.json").write_text(json.dumps([record("a", repeats=3), record("b")]))
    dataset = build(path=str(tmp_path))
    assert served(dataset) == [(20, "b both")] * 4
    assert dataset.unreadable.num_images == 2
    assert len(dataset.unreadable.take_untold()) == 1


def test_tars_are_read_in_place(tmp_path):
    reds = {"00000/a": 10, "00000/b": 20, "c": 30}
    write_tar(tmp_path / "00000.tar", reds)
    index_tar(tmp_path, "00000.tar")
    assert served(build(path=str(tmp_path))) == [(red, f"{key} both") for key, red in reds.items()]


def write_table(path, reds: dict[str, int]):
    """A Parquet table with the images inside, and the annotations of them."""
    images = [png(red) for red in reds.values()]
    pq.write_table(pa.table({"jpg": pa.array(images, pa.binary())}), path)
    return [
        record(key, image=f"{key}.jpg", table=path.name, column="jpg", row=row, size=len(images[row]))
        for row, key in enumerate(reds)
    ]


def test_tables_are_read_in_place(tmp_path):
    reds = {"a": 10, "b": 20, "c": 30}
    (tmp_path / "annotations.json").write_text(json.dumps(write_table(tmp_path / "0.parquet", reds)[::-1]))
    dataset = build(path=str(tmp_path))
    assert served(dataset) == [(30, "c both"), (20, "b both"), (10, "a both")]
    loader = DataLoader(dataset, batch_size=None, num_workers=2)
    assert [int(sample["image"]) for sample in loader] == [30, 20, 10]


def test_a_table_written_anew_is_refused_rather_than_mixed_up(tmp_path):
    (tmp_path / "annotations.json").write_text(json.dumps(write_table(tmp_path / "0.parquet", {"a": 10, "b": 20})))
    pq.write_table(pa.table({"jpg": [png(30) + b" ", png(40)]}), tmp_path / "0.parquet")
    with pytest.raises(ValueError, match=r"0\.parquet has .* bytes in row 0 of 'jpg', but an image of .* was recorded"):
        build(path=str(tmp_path))[0]
    (tmp_path / "0.parquet").unlink()
    with pytest.raises(ValueError, match=r"image a\.jpg in .*0\.parquet: Cannot read the image"):
        build(path=str(tmp_path), on_bad_image="raise")[0]


def test_several_captions_of_one_image_in_a_tar(tmp_path):
    write_tar(tmp_path / "0.tar", {"a": 10})
    index_tar(tmp_path, "0.tar")
    (image,) = json.loads((tmp_path / "annotations.json").read_text())
    pairs = [{**image, "key": f"a#{i}", "image": f"a#{i}.png", "caption": f"caption {i}"} for i in range(2)]
    (tmp_path / "annotations.json").write_text(json.dumps(pairs))
    assert served(build(path=str(tmp_path))) == [(10, "caption 0"), (10, "caption 1")]


def test_repacked_tar_is_refused_rather_than_mixed_up(tmp_path):
    write_tar(tmp_path / "0.tar", {"a": 10, "b": 20})
    index_tar(tmp_path, "0.tar")
    write_tar(tmp_path / "0.tar", {"b": 20, "a": 10})  # readable images still, at the same offsets
    dataset = build(path=str(tmp_path))
    with pytest.raises(ValueError, match="'b.png' at byte 512, not 'a.png' as indexed"):
        dataset[0]


def test_bad_image_gives_way_to_the_next_readable_one(tmp_path, caplog):
    write_set(tmp_path, {"a": 10, "b": 20, "c": 30, "d": 40}, broken=["b", "d"])
    dataset = build(path=str(tmp_path))
    with caplog.at_level(logging.WARNING):
        first = served(dataset)
        again = served(dataset)
    assert first == again == [(10, "a both"), (30, "c both"), (30, "c both"), (10, "a both")]
    warnings = [message for message in caplog.messages if "replaces" in message]
    assert len(warnings) == 2  # once an image, not once an epoch
    assert "b.png: unreadable image" in warnings[0] and "d.png: unreadable image" in warnings[1]


def test_bad_image_can_end_the_run_from_a_worker(tmp_path):
    write_set(tmp_path, {"a": 10, "b": 20}, broken=["b"])
    dataset = build(path=str(tmp_path), on_bad_image="raise")
    with pytest.raises(ValueError, match=r"images/b.png.*on_bad_image: replace"):
        list(DataLoader(dataset, batch_size=1, num_workers=1))


def test_missing_images_end_the_run_and_name_the_root(tmp_path):
    (tmp_path / "annotations.json").write_text(json.dumps([record(f"k{i}") for i in range(150)]))
    with pytest.raises(ValueError, match=rf"101 images in a row.*k100.png.*{tmp_path}.*image_root"):
        build(path=str(tmp_path))[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "no records"),
        ('{"image": "a.png"}', "expected a JSON list"),
        ("", "expected a JSON list"),
        ('[{"image": "a.png", "caption": "x"}, ', "broken JSON"),
        ('[{"image": "a.png", "caption": "x"}', "cut off"),
        ('[{"image": "a.png", "caption": "x"} {"image": "b.png"}]', "cut off"),
        ('[{"caption": "x"}]', "Record 0"),
        ('["a.png"]', "Record 0"),
        ('[{"image": "a.png", "caption": "x"}, {"image": "b.png", "caption": " "}]', "1 of 2 records"),
    ],
)
def test_unusable_annotations_say_what_is_wrong(tmp_path, content, message):
    (tmp_path / "annotations.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        build(path=str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": ""}, "has no path"),
        ({"path": "absent"}, "absent does not exist"),
        ({"caption": "captoin"}, "refined, original, generated, drawn"),
        ({"image_rot": "images"}, "image_rot.*image_root"),
        ({"on_bad_image": "skip"}, "replace, raise"),
        ({"image_root": "absent"}, "no folder"),
    ],
)
def test_unusable_configs_say_what_is_expected(tmp_path, changes, message):
    write_set(tmp_path, {"a": 10})
    with pytest.raises(ValueError, match=message):
        build(**{"path": str(tmp_path), **changes})


@pytest.mark.parametrize("chunk", [1, 7, 10_000])
@pytest.mark.parametrize("indent", [None, 2])
def test_annotations_equal_the_parsed_list(tmp_path, monkeypatch, indent, chunk):
    monkeypatch.setattr("lavis_tldr.sources.json_list.CHUNK_CHARACTERS", chunk)
    records = [record("a"), record("büro", note=["[1]", {"x": None}]), record("猫")]
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(records, indent=indent, ensure_ascii=False), encoding="utf-8")
    annotations = Annotations(path)
    assert list(annotations) == records
    assert annotations[-1] == records[2]
    with pytest.raises(IndexError):
        annotations[3]


def test_pairs_of_one_image_share_its_key(tmp_path):
    write_set(tmp_path / "set", {"000001": 1, "b": 2})
    records = [
        record("000001"),
        {**record("b"), "key": "b#0"},
        {**record("b"), "key": "b#1"},
        {**record("b"), "key": "b#c"},
    ]
    (tmp_path / "set" / "annotations.json").write_text(json.dumps(records))
    dataset = build(path=str(tmp_path / "set"))
    assert [key for key, _ in dataset.image_places()] == ["000001", "b", "b", "b#c"]
    assert [place.path for _, place in dataset.image_places()][1].endswith("b.png")
