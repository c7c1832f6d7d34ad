import json

import pytest
from omegaconf import OmegaConf

from lavis_tldr.sources import LavisJsonSource, WebDatasetSource, build_source
from lavis_tldr.sources.digest import content_digest
from lavis_tldr.sources.patterns import expand_braces, find_files


def test_formats_are_built_from_plain_and_omegaconf_mappings(tmp_path, make_tar, encoded):
    tar = make_tar("0.tar", [("0.jpg", encoded()), ("0.txt", b"x")])
    (tmp_path / "a.json").write_text('[{"image": "a.jpg", "caption": "x"}]')
    first = build_source(OmegaConf.create({"format": "webdataset", "tars": [tar], "key_prefix": True}))
    assert isinstance(first, WebDatasetSource)
    assert [record.key for record in first.read(first.parts[0])] == ["0/0"]
    second = build_source(
        {
            "format": "lavis_json",
            "annotations": str(tmp_path / "a.json"),
            "image_root": str(tmp_path),
            "part_size": 5,
        }
    )
    assert isinstance(second, LavisJsonSource)
    for source in (first, second):
        assert json.loads(json.dumps(source.describe()))["num_parts"] == 1


@pytest.mark.parametrize(
    "config, message",
    [
        ({}, "has no 'format'; the formats are webdataset, lavis_json, parquet"),
        ({"format": "csv"}, "has format 'csv'; the formats are webdataset, lavis_json, parquet"),
        ({"format": "parquet", "tables": "a.parquet"}, "lacks 'image_root'"),
        ({"format": "parquet", "images": "x"}, "Unknown key 'images' .*did you mean 'image"),
        ({"format": "webdataset"}, "lacks 'tars'"),
        ({"format": "webdataset", "tars": []}, "lacks 'tars'"),
        ({"format": "webdataset", "tar": "x.tar"}, "Unknown key 'tar' .*did you mean 'tars'"),
        ({"format": "lavis_json", "annotations": "a.json"}, "lacks 'image_root'"),
        ({"format": "lavis_json", "colour": 1}, "Unknown key 'colour' .*known: annotations, "),
    ],
)
def test_config_errors_say_what_to_do(config, message):
    with pytest.raises(ValueError, match=message):
        build_source(config)


def test_no_matching_tars(tmp_path):
    with pytest.raises(ValueError, match="No tars at .*the folder .* exists.*Check the path"):
        build_source({"format": "webdataset", "tars": str(tmp_path / "*.tar")})
    with pytest.raises(ValueError, match="does not exist"):
        build_source({"format": "webdataset", "tars": str(tmp_path / "none" / "*.tar")})


@pytest.mark.parametrize(
    "pattern, expected",
    [
        ("a.tar", ["a.tar"]),
        ("{00008..00010}.tar", ["00008.tar", "00009.tar", "00010.tar"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{a,b}/{0..1}", ["a/0", "a/1", "b/0", "b/1"]),
        ("{plain}", ["{plain}"]),
    ],
)
def test_braces(pattern, expected):
    assert expand_braces(pattern) == expected


def test_files_come_sorted_and_once(tmp_path):
    for name in ("10", "2", "1"):
        (tmp_path / f"{name}.tar").write_bytes(b"x")
    names = [path.rsplit("/", 1)[1] for path in find_files([f"{tmp_path}/2.tar", f"{tmp_path}/*.tar"], "tars")]
    assert names == ["2.tar", "1.tar", "10.tar"]


def test_a_missing_tar_of_a_range_is_named(tmp_path):
    (tmp_path / "0.tar").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"1.tar' \(2 of the paths"):
        find_files(f"{tmp_path}/{{0..2}}.tar", "tars")


def test_large_files_are_sampled_from_end_to_end(tmp_path):
    path = tmp_path / "x"
    content = bytearray(10 * 2**20)
    path.write_bytes(content)
    before = content_digest(str(path), full_bytes=2**20)
    assert before == content_digest(str(path), full_bytes=2**20)
    # The first and last byte are in sampled blocks; a longer file differs by its size alone.
    for position in (0, len(content) - 1):
        changed = content.copy()
        changed[position] = 1
        path.write_bytes(changed)
        assert content_digest(str(path), full_bytes=2**20) != before
    path.write_bytes(content + b"\x00")
    assert content_digest(str(path), full_bytes=2**20) != before
