"""Reductions on the device: every kind of score, many images with few file descriptors."""

import resource
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from reductions import reduce_set, write_bert, write_config
from tiny_blip import register_tiny, write_tiny

from lavis_tldr.scenes import draw_scenes
from lavis_tldr.scoring import contrastive, gradients

KINDS = {
    "contrastive": {},
    "likelihood": {},
    "similarity": {"recipe": "original"},
    "both": {"recipe": "original"},
    "itm": {},
    "itc": {},
    "normsim": {},
    "given": {"recipe": "original"},
    "mixture": {"mixture": {"likelihood": 1, "contrastive": 1}},
}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Few steps: what is fitted is fitted on the CPU in any case."""
    for module in (contrastive, gradients):
        monkeypatch.setattr(module, "_OPTIONS", replace(module._OPTIONS, num_steps=20))


@pytest.fixture
def configure(crowd, tmp_path, monkeypatch):
    """Write a reduction's config with all that any kind of score needs: ``configure("out", device, ...)``."""
    register_tiny(tmp_path, monkeypatch)
    write_tiny(tmp_path / "blip.pth")
    bert = write_bert(tmp_path / "bert", captions=crowd.captions)
    common = {"similarity_weights": str(bert), "num_workers": 2, "selection": "aligned"}

    def write(output: str, device: str, alignment: str, **keys):
        if alignment in ("itm", "itc"):
            keys |= {"blip_weights": str(tmp_path / "blip.pth"), "blip_model_type": "tiny"}
        if alignment == "given":
            keys["embeddings"] = embeddings(crowd, tmp_path)
        keys = {**common, "device": device, "alignment": alignment, **keys}
        path = write_config(tmp_path / f"{output}.yaml", crowd.source, crowd.captioner, tmp_path / output, **keys)
        if alignment == "normsim":
            config = yaml.safe_load(path.read_text())
            known = {
                "format": "lavis_json",
                "annotations": str(crowd.clean),
                "image_root": str(crowd.folder / "clean/images"),
            }
            config["datasets"]["tldr_captions"] = {"train": known, "vis_processor": {"eval": {"image_size": 32}}}
            path.write_text(yaml.safe_dump(config))
        return path

    return write


def embeddings(crowd, folder) -> dict:
    rng = np.random.default_rng(0)
    for name in ("images", "texts"):
        np.save(folder / f"{name}.npy", rng.normal(size=(len(crowd.truth), 8)).astype(np.float32))
    (folder / "keys").write_text("\n".join(crowd.truth))
    return {
        name: str(folder / file) for name, file in (("images", "images.npy"), ("texts", "texts.npy"), ("keys", "keys"))
    }


def column(run, stage: str, name: str | None = None) -> dict[str, float]:
    """A stage's only number, or the one named, by key."""
    found = {}
    for path in sorted((run / stage).rglob("[0-9]*.parquet")):
        for row in pq.read_table(path).to_pylist():
            key = row.pop("key")
            found[key] = row[name] if name else next(iter(row.values()))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_cpu(configure, tmp_path, device, kind):
    found = []
    for output, where in (("cpu", "cpu"), ("device", device)):
        reduce_set(configure(output, where, kind, **KINDS[kind]))
        found.append(column(tmp_path / output, "score"))
    on_cpu, on_device = found
    assert on_cpu.keys() == on_device.keys() and len(on_cpu) > 200
    cpu, there = (np.array([scores[key] for key in on_cpu]) for scores in found)
    assert np.isfinite(cpu).all() and np.std(cpu) > 0
    # Codes within rounding of a tie fall otherwise, and features are stored in float16.
    assert np.mean(np.isclose(cpu, there, rtol=1e-2, atol=1e-2 * np.std(cpu))) > 0.97


def test_gradient_norms_are_those_of_the_cpu(configure, tmp_path, device):
    found = []
    for output, where in (("cpu", "cpu"), ("device", device)):
        reduce_set(configure(output, where, "likelihood", stages=["encode", "gradient"]))
        found.append(column(tmp_path / output, "gradient"))
    keys = list(found[0])
    cpu, there = (np.array([norms[key] for key in keys]) for norms in found)
    assert np.mean(np.isclose(cpu, there, rtol=2e-2)) > 0.97  # fitted on the CPU, on the device's features


def test_many_images_in_large_batches_need_few_file_descriptors(crowd, tmp_path, device):
    num_images, batch_size, workers = (2000, 256, 8) if device != "cpu" else (160, 64, 2)
    whole = {"broken": 0.0, "empty_captions": 0.0, "image_size": 32}
    draw_scenes(tmp_path / "many", num_samples=num_images, part_size=num_images // 2, **whole)
    source = {"format": "webdataset", "tars": str(tmp_path / "many/*.tar")}
    keys = {"device": device, "stages": ["encode"], "batch_size_eval": batch_size, "num_workers": workers}
    config = write_config(tmp_path / "many.yaml", source, crowd.captioner, tmp_path / "out", **keys)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
    try:
        figures = reduce_set(config)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert figures["stages"]["encode"]["counts"] == {"read": num_images, "written": num_images, "failed": 0}
