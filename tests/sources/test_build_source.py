import json

import pytest
from omegaconf import OmegaConf

from lavis_tldr.sources import FORMATS, LavisJsonSource, WebDatasetSource, build_source


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
        ({}, f"has no 'format'; the formats are {', '.join(FORMATS)}"),
        ({"format": "xml"}, f"has format 'xml'; the formats are {', '.join(FORMATS)}"),
        ({"format": "parquet", "image_root": "."}, "lacks 'tables'"),
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
