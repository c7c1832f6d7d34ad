"""A drawn source of six tars, for reductions that are killed."""

import pytest
from reductions import draw_pool, write_config

# Every stage has something to do, and images are copied.
SETTINGS = {
    "selection": "aligned",
    "recipe": "gated",
    "caption_all": True,
    "alignment_threshold": 0.0,
    "duplicate_threshold": 0.95,
    "keep_ratio": 0.5,
    "images": "export",
}


@pytest.fixture(scope="session")
def tars(tmp_path_factory):
    """A drawn set in six tars."""
    return draw_pool(tmp_path_factory.mktemp("tars"), part_size=8)


@pytest.fixture
def configure(tars, tmp_path):
    """Write the config of a reduction into ``tmp_path / name``."""

    def write(name, **changes):
        settings = SETTINGS | changes
        return write_config(tmp_path / f"{name}.yaml", tars.source, tars.captioner, tmp_path / name, **settings)

    return write
