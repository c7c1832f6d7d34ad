"""The device computes what the CPU computes: codes, captions, likelihoods, clusters."""

import faiss
import numpy as np
import pytest
import torch
from reductions import tiny_captioner

from lavis_tldr.models.generation import DecodingOptions
from lavis_tldr.models.sampling import SamplingOptions, uniforms_of
from lavis_tldr.reduction import clustering
from lavis_tldr.reduction.clustering import NearestCentroids, fit_kmeans

NUM_IMAGES = 128


@pytest.fixture(scope="module")
def models(crowd, tmp_path_factory, device):
    """The same captioner on the CPU and on the device."""
    folder = tmp_path_factory.mktemp("captioner")
    return tiny_captioner(folder, crowd.captions), tiny_captioner(folder, crowd.captions).to(device)


@pytest.fixture(scope="module")
def images():
    return torch.randn(NUM_IMAGES, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def encoded(models, images):
    """Codes and features of the images, by the CPU."""
    with torch.no_grad():
        return models[0].encode_images({"image": images})


def same_share(one: list, other: list) -> float:
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)


def test_codes(models, images, near_ties):
    on_cpu, on_device = (near_ties.codes_of(model, images) for model in models)
    assert (on_cpu == on_device).mean() > 0.999  # ties within rounding
    small = near_ties.codes_of(models[1], images, batch_size=16)
    assert (small == on_device).mean() > 0.999
    in_bf16 = near_ties.codes_of(models[1], images, bf16=True)
    assert (in_bf16 == on_device).mean() > 0.8


@pytest.mark.parametrize("num_beams", [1, 3])
def test_captions(models, encoded, device, num_beams):
    options = DecodingOptions(num_beams=num_beams, max_length=12)
    on_cpu, on_device = models[0].generate_from(encoded, options), models[1].generate_from(encoded.to(device), options)
    assert same_share(on_cpu, on_device) > 0.97
    assert len(set(on_cpu)) > 1


def test_drawn_captions(models, encoded, device):
    uniforms = uniforms_of(np.arange(NUM_IMAGES, dtype=np.uint64), 2, 12)
    options = DecodingOptions(max_length=12), SamplingOptions(), uniforms
    found = [model.sample_from(encoded.to(model.device), *options) for model in models]
    assert same_share(*([text for texts in captions for text in texts] for captions in found)) > 0.97


def test_likelihoods(models, encoded, crowd, device):
    captions = [crowd.captions[i % len(crowd.captions)] for i in range(NUM_IMAGES)]
    (cpu, counts), (there, same) = (m.caption_log_likelihood(encoded.to(m.device), captions) for m in models)
    assert counts.tolist() == same.tolist()
    torch.testing.assert_close(cpu, there.cpu(), rtol=1e-4, atol=1e-3)


def test_clusters(device, monkeypatch):
    gpu = None if device == "cpu" else torch.cuda.current_device()
    if gpu is not None and not clustering.num_gpus():
        pytest.skip("this Faiss has no GPUs: install faiss-gpu")
    made = []
    if gpu is not None:
        resources = faiss.StandardGpuResources
        monkeypatch.setattr(clustering.faiss, "StandardGpuResources", lambda: made.append(1) or resources())
    others = [torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count()) if i != gpu]
    features = np.random.default_rng(0).normal(size=(20_000, 64)).astype(np.float32)
    centroids = fit_kmeans(features, 100, seed=0, gpu=gpu)
    nearest, on_cpu = NearestCentroids(centroids, gpu), NearestCentroids(centroids)
    for block in np.split(features, 5):
        ids, distances = nearest(block)
        expected_ids, expected_distances = on_cpu(block)
        assert (ids == expected_ids).all() and (distances == expected_distances).all()
    assert len(made) == (0 if gpu is None else 2)  # of the fit and of the assignment
    assert others == [torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count()) if i != gpu]
