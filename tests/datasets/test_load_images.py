"""Images by loader processes: batches of one tensor."""

import os
import resource

import pytest
import torch
from PIL import Image

from lavis_tldr.datasets.image_features import load_images
from lavis_tldr.sources import ImageLocation

SIZE = 8


def pixels_of(image) -> torch.Tensor:
    """(3, SIZE, SIZE), all of the image's first value."""
    return torch.full((3, SIZE, SIZE), float(image.getpixel((0, 0))[0]))


@pytest.fixture
def photos(tmp_path):
    """Keys and places of 200 images; the last of them is no image."""
    for i in range(199):
        Image.new("RGB", (2, 2), (i, 0, 0)).save(tmp_path / f"{i}.png")
    (tmp_path / "199.png").write_bytes(b"none")
    return [(str(i), ImageLocation(str(tmp_path / f"{i}.png"))) for i in range(200)]


def test_batches_in_order_with_their_errors_apart(photos):
    first, empty, last = load_images([photos[:3], [], photos[198:]], pixels_of, num_workers=0)
    assert first.keys == ["0", "1", "2"] and first.errors == {}
    assert first.pixels.shape == (3, 3, SIZE, SIZE)
    assert first.pixels[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert len(empty) == 0 and empty.pixels is None
    assert last.keys == ["198"] and list(last.errors) == ["199"] and len(last) == 2


def test_a_batch_of_broken_images_is_not_empty(photos):
    (batch,) = load_images([photos[199:]], pixels_of, num_workers=0)
    assert len(batch) == 1 and batch.keys == [] and batch.pixels is None


def test_large_batches_need_few_file_descriptors(photos):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 100, before[1]))  # fewer than one batch has images
    try:
        batches = list(load_images([photos[:199]] * 6, pixels_of, num_workers=2))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert [len(batch.keys) for batch in batches] == [199] * 6
