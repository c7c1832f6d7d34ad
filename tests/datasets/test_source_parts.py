"""tldr_source: the set to reduce, opened from a dataset config."""

import pytest
from omegaconf import OmegaConf
from PIL import Image

from lavis_tldr.datasets.source_parts import LoadedImage, LocatedImages, SourcePartsBuilder
from lavis_tldr.scenes import draw_scenes
from lavis_tldr.sources import ImageLocation


def build(**config):
    default = OmegaConf.load(SourcePartsBuilder.default_config_path()).datasets.tldr_source
    return SourcePartsBuilder(OmegaConf.merge(default, config)).build_datasets()["train"]


def test_opens_the_source_with_its_processor(tmp_path):
    truth = draw_scenes(tmp_path, num_samples=6, part_size=3, image_size=32)
    parts = build(
        source={"format": "webdataset", "tars": str(tmp_path / "*.tar")}, vis_processor={"eval": {"image_size": 48}}
    )
    assert [part.name for part in parts.source.parts] == ["00000", "00001"]
    records = [record for part in parts.source.parts for record in parts.source.read(part)]
    assert [record.key for record in records] == list(truth)
    assert parts.vis_processor(Image.new("RGB", (10, 20))).shape == (3, 48, 48)
    assert parts.processor_config == {"name": "blip_image_eval", "image_size": 48}


def test_without_a_source_it_says_which_there_are():
    with pytest.raises(ValueError, match="has no 'format'; the formats are webdataset, lavis_json"):
        build()


def test_unknown_key_is_refused():
    with pytest.raises(ValueError, match=r"unknown key datasets\.tldr_source\.tars"):
        build(tars="x")


def test_images_that_cannot_be_read_say_why(tmp_path):
    Image.new("RGB", (8, 8), (200, 0, 0)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"rotten")
    images = LocatedImages(lambda image: image.getpixel((0, 0))[0])
    assert images["a", ImageLocation(str(tmp_path / "a.png"))] == LoadedImage("a", 200, "")
    rotten = images["b", ImageLocation(str(tmp_path / "b.png"))]
    assert rotten == LoadedImage("b", None, "unreadable image: not an image of a known format")
    gone = images["c", ImageLocation(str(tmp_path / "gone.png"))]
    assert (gone.key, gone.pixels) == ("c", None)
    assert "Cannot read the image" in gone.error
