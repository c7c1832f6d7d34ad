"""Drawn sources that the reductions of all tests share."""

import json
from types import SimpleNamespace

import pytest
from reductions import draw_pool, lavis_state, reduce_set, write_config  # noqa: F401  (lavis_state is for all tests here)

from lavis_tldr.sources.scenes import draw_clean_set


@pytest.fixture(scope="session")
def pool(tmp_path_factory):
    """A drawn set in three tars."""
    return draw_pool(tmp_path_factory.mktemp("pool"), part_size=16)


@pytest.fixture(scope="session")
def album(tmp_path_factory, pool):
    """12 images with 3 captions each as LAVIS annotations, in slices of 10 entries."""
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

    def write(of=None, output=tmp_path / "out", **run_keys):
        of = of or pool
        return write_config(tmp_path / "reduce.yaml", of.source, of.captioner, output, **run_keys)

    return write


@pytest.fixture
def reduced(configure):
    """Configure and run a reduction; its figures."""
    return lambda *options, **keys: reduce_set(configure(**keys), *options)
