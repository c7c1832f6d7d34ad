"""A tiny ablation: a drawn set, an untrained captioner, a proxy of three steps."""

import shutil
from types import SimpleNamespace

import pytest
import yaml
from reductions import lavis_state, reduce_set, write_bert, write_config  # noqa: F401  (lavis_state is for all tests here)

from lavis_tldr.ablation.grid import ablate
from lavis_tldr.scenes import draw_clean_set


@pytest.fixture(scope="session")
def encoded(pool, tmp_path_factory):
    """A run folder in which the pool is encoded, for tests to copy."""
    folder = tmp_path_factory.mktemp("encoded")
    reduce_set(write_config(folder / "reduce.yaml", pool.source, pool.captioner, folder / "run", stages=["encode"]))
    return folder / "run"


@pytest.fixture(scope="session")
def proxy(tmp_path_factory):
    """The section ``proxy``: 12 drawn images to score on."""
    folder = tmp_path_factory.mktemp("dev")
    _, dev = draw_clean_set(folder, 24, image_size=32, dev_share=0.5)
    val = {"format": "lavis_json", "annotations": str(dev), "image_root": str(folder / "images")}
    quick = {"num_steps": 3, "batch_size": 4, "width": 8}
    return {"val": val, "similarity_weights": str(write_bert(folder / "bert")), **quick}


@pytest.fixture
def grid(pool, encoded, proxy, tmp_path):
    """``grid.write(arms={...}, ...)`` writes an ablation, ``grid.run()`` runs it; ``grid.said`` is what it told."""
    shutil.copytree(encoded, tmp_path / "run")
    keys = {"keep_ratio": 0.5, "recipe": "original"}
    base = write_config(tmp_path / "reduce.yaml", pool.source, pool.captioner, tmp_path / "run", **keys)

    def write(**content):
        default = {
            "base": str(base),
            "overrides": {"run.caption_all": False},
            "reference": {"whole set": {"run.keep_ratio": 1.0}},
            "arms": {"half": {}, "quarter": {"run.keep_ratio": 0.25}},
            "seeds": 2,
            "proxy": proxy,
            "output_dir": str(tmp_path / "results"),
        }
        found.path.write_text(yaml.safe_dump({**default, **content}, sort_keys=False))
        return found.path

    def run(**options):
        found.said.clear()
        return ablate([found.path], say=found.said.append, **options)

    found = SimpleNamespace(path=tmp_path / "tiny.yaml", base=base, said=[], write=write, run=run)
    found.results, found.root = tmp_path / "results", tmp_path / "run"
    write()
    return found
