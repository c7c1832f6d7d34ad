"""A drawn source of six tars, for reductions that are killed."""

from types import SimpleNamespace

import pytest
from reductions import write_captioner, write_config

from lavis_tldr.sources.scenes import draw_scenes

# Every stage has something to do, and images are copied.
SETTINGS = {
    "selection": "aligned",
    "recipe": "gated",
    "alignment_threshold": 0.0,
    "duplicate_threshold": 0.95,
    "keep_ratio": 0.5,
    "images": "export",
}


@pytest.fixture(scope="session")
def tars(tmp_path_factory):
    """48 pairs in six tars, three images damaged and two captions empty, and a captioner for them."""
    folder = tmp_path_factory.mktemp("tars")
    truth = draw_scenes(
        folder / "tars",
        num_samples=48,
        part_size=8,
        image_size=32,
        broken=3 / 48,
        empty_captions=2 / 48,
        near_duplicates=0.25,
    )
    captioner = write_captioner(folder, sorted(fact["true_caption"] for fact in truth.values()))
    return SimpleNamespace(source={"format": "webdataset", "tars": str(folder / "tars/*.tar")}, captioner=captioner)


@pytest.fixture
def configure(tars, tmp_path):
    """Write the config of a reduction into ``tmp_path / name``."""

    def write(name, **changes):
        settings = SETTINGS | changes
        return write_config(tmp_path / f"{name}.yaml", tars.source, tars.captioner, tmp_path / name, **settings)

    return write
