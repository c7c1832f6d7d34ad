"""What ends a reduction, with an error that says what to do: sources that contradict themselves, and pickles."""

import json
import pickle

import numpy as np
import pytest
import torch
from hostile_set import Sample, SideEffect, encoded, scene, write_tar
from reductions import files_of, reduce_set


@pytest.fixture
def tars(pool, tmp_path):
    """Options to reduce two tars of five plain samples each: ``tars(keys_of_the_second)``."""
    folder = tmp_path / "tars"
    folder.mkdir()

    def write(second=range(5, 10)):
        for name, numbers in (("first", range(5)), ("second", second)):
            samples = [Sample(f"{i:03}.png", encoded(scene(i)), f"scene {i}".encode()) for i in numbers]
            write_tar(folder / f"{name}.tar", samples)
        return f"datasets.tldr_source.source.tars={folder}/*.tar"

    return write


def test_a_tar_that_changes_between_runs_is_refused_by_name(configure, tars, tmp_path):
    config = configure()
    source = tars()
    reduce_set(config, source, "run.stages=[encode,cluster]")
    before = files_of(tmp_path / "out")
    tars(second=range(5, 11))
    with pytest.raises(ValueError, match="stage encode.* was made otherwise.*\n.*part second: .*\n.*--restart encode"):
        reduce_set(config, source)
    assert files_of(tmp_path / "out") == before
    tars()  # as it was
    assert reduce_set(config, source)["counts"]["read"] == 10


def test_a_key_in_two_tars_is_refused_naming_both(configure, tars, tmp_path):
    config = configure()
    source = tars(second=[7, 8, 3, 9])
    with pytest.raises(ValueError, match="'003'.*first.*second.*key_prefix: true"):
        reduce_set(config, source)
    prefixed = "datasets.tldr_source.source.key_prefix=True"
    assert reduce_set(config, source, prefixed, "run.restart=encode")["counts"]["read"] == 9


def test_a_pickle_for_centroids_is_never_loaded(configure, tmp_path):
    config = configure()
    reduce_set(config)
    cluster = tmp_path / "out/cluster/histogram-tfidf-4-seed42"
    with open(cluster / "centroids.npy", "wb") as file:  # as `np.save` of objects writes it
        np.save(file, np.array([SideEffect(tmp_path / "effect")], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"centroids\.npy.*--restart cluster"):
        reduce_set(config)

    # Nor where the stage is not done, so that there is no size to compare.
    manifest = json.loads((cluster / "manifest.json").read_text())
    unfinished = {key: manifest[key] for key in ("stage", "package_version", "config", "inputs")} | {"done": False}
    (cluster / "manifest.json").write_text(json.dumps(unfinished))
    next(cluster.glob("*.parquet")).unlink()
    with pytest.raises(ValueError, match=r"centroids\.npy should hold an array.*allow_pickle.*--restart cluster"):
        reduce_set(config)
    assert not (tmp_path / "effect").exists()
    assert reduce_set(config, "run.restart=cluster")["counts"]["kept"] == 11


def torch_pickle(path, payload):
    torch.save({"model": payload}, path)


def plain_pickle(path, payload):
    path.write_bytes(pickle.dumps({"model": payload}))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("write", [torch_pickle, plain_pickle])
def test_a_pickle_for_a_captioner_is_never_loaded(configure, tmp_path, write):
    write(tmp_path / "captioner.pth", SideEffect(tmp_path / "effect"))
    with pytest.raises(ValueError, match=r"model\.finetuned: .*captioner\.pth is no checkpoint of plain weights"):
        reduce_set(configure(), f"model.finetuned={tmp_path / 'captioner.pth'}")
    assert not (tmp_path / "effect").exists()
    assert not (tmp_path / "out").exists()
    pickle.loads(pickle.dumps(SideEffect(tmp_path / "effect")))
    assert (tmp_path / "effect").is_dir()  # what loading would have done
