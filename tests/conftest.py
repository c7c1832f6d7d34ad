"""Settings of all tests, and the drawn sources that reductions of several rooms share."""

import io
import json
import os
from types import SimpleNamespace

import pytest
from hypothesis import settings
from PIL import Image

# pytest-xdist tells its processes the width of the terminal that it was started in; text is wrapped as for none.
os.environ.pop("COLUMNS", None)

# Machines that run tests are shared: how long an example takes says nothing about the code.
settings.register_profile("shared_machine", deadline=None)
settings.load_profile("shared_machine")


@pytest.fixture(scope="session")
def forked_ranks(tmp_path_factory):
    """Reductions in processes of their own, any number at once, without LAVIS's long import for each."""
    from forked_ranks import ForkedRanks  # only here: it imports LAVIS, which takes seconds

    with ForkedRanks(tmp_path_factory.mktemp("forked")) as ranks:
        yield ranks


@pytest.fixture(scope="session")
def pool(tmp_path_factory):
    """A drawn set in three tars."""
    from reductions import draw_pool

    return draw_pool(tmp_path_factory.mktemp("pool"), part_size=16)


@pytest.fixture(scope="session")
def album(tmp_path_factory, pool):
    """12 images with 3 captions each as LAVIS annotations, in slices of 10 entries."""
    from lavis_tldr.scenes import draw_clean_set

    folder = tmp_path_factory.mktemp("album")
    _, dev = draw_clean_set(folder, 24, image_size=32, dev_share=0.5)
    rows = json.loads(dev.read_text())
    for row in rows:
        row["caption"] = row["caption"][:3]
    dev.write_text(json.dumps(rows))
    source = {"format": "lavis_json", "annotations": str(dev), "image_root": str(folder / "images"), "part_size": 5}
    return SimpleNamespace(folder=folder, rows=rows, source=source, captioner=pool.captioner)


@pytest.fixture
def configure(pool, tmp_path):
    """Write a reduction's config: ``configure(keep_ratio=0.5)``, of the pool unless ``of`` is another."""

    from reductions import write_config

    def write(of=None, output=tmp_path / "out", **run_keys):
        of = of or pool
        return write_config(tmp_path / "reduce.yaml", of.source, of.captioner, output, **run_keys)

    return write


@pytest.fixture
def reduced(configure):
    """Configure and run a reduction; its figures."""
    from reductions import reduce_set

    return lambda *options, **keys: reduce_set(configure(**keys), *options)


@pytest.fixture
def encoded():
    """Encode a plain image: ``encoded("red", "PNG", mode="RGB", size=(8, 4))``."""

    def encode(colour="red", file_format="JPEG", *, mode="RGB", size=(8, 4), **options) -> bytes:
        buffer = io.BytesIO()
        Image.new(mode, size, colour).save(buffer, file_format, **options)
        return buffer.getvalue()

    return encode
