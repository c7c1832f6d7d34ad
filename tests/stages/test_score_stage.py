"""The pairs known to be right that the contrastive scorer learns from."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from reductions import tiny_captioner

from lavis_tldr.models.image_encoding import pool_tokens
from lavis_tldr.sources import ImageLocation
from lavis_tldr.stages.trusted import Trusted, encoded_images


@pytest.fixture
def context(tmp_path):
    """As after a resumed run, whose encode stage was done: nobody has made the captioner ready."""
    return SimpleNamespace(
        root=tmp_path,
        model=tiny_captioner(tmp_path, ["a red kite"]).train(),
        device="cpu",
        parts=SimpleNamespace(vis_processor=lambda image: torch.full((3, 32, 32), float(image.width))),
        cached_features=None,
        config=SimpleNamespace(bf16=False, batch_size_eval=2, num_workers=0),
        sentence_encoder=lambda captions: torch.tensor([[float(len(caption))] for caption in captions]),
    )


def test_every_caption_of_a_readable_image_is_a_pair(context, tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    items = [
        ("a", ImageLocation(str(tmp_path / "a.png")), ["kite", "a kite"]),
        ("gone", ImageLocation(str(tmp_path / "gone.png")), ["sea"]),
    ]
    context.trusted = SimpleNamespace(items=items)
    pairs = Trusted(context).pairs
    assert pairs.keys == ["a", "a"]
    assert pairs.images.shape == (2, 64) and torch.equal(pairs.images[0], pairs.images[1])
    assert pairs.texts.tolist() == [[4.0], [6.0]]
    assert not context.model.training
    listed = (tmp_path / "unreadable.tsv").read_text().splitlines()
    assert len(listed) == 2 and listed[1].startswith("gone\tCannot read the image in ")


def test_encoded_images_are_as_encode_would_write_them(context, tmp_path):
    places = {}
    for key, width in (("b", 40), ("a", 30), ("gone", 0)):
        places[key] = ImageLocation(str(tmp_path / f"{key}.png"))
        if width:
            Image.new("RGB", (width, 40)).save(places[key].path)
    context.autocast = nullcontext
    found = encoded_images(context, places)
    assert found["key"].to_pylist() == found["image_key"].to_pylist() == ["a", "b"]
    assert found["image_path"].to_pylist() == [places[key].path for key in "ab"]
    with torch.no_grad():
        tokens = context.model.encode_tokens(torch.stack([torch.full((3, 32, 32), w) for w in (30.0, 40.0)]))
        codes = context.model.quantizer.encode(tokens[:, 1:])
    assert found["codes"].to_pylist() == codes.tolist()
    np.testing.assert_allclose(found["feature"].to_pylist(), pool_tokens(tokens), rtol=1e-2, atol=1e-2)
    # Those that training has computed are not read again.
    Image.new("RGB", (99, 40)).save(places["a"].path)
    context.cached_features = {"a": tokens[0].numpy()}
    assert encoded_images(context, places).equals(found)


def test_none_that_can_be_read_is_said(context, tmp_path):
    items = [("gone", ImageLocation(str(tmp_path / "gone.png")), ["sea"])]
    context.trusted = SimpleNamespace(items=items)
    with pytest.raises(ValueError, match="none of the images of datasets.tldr_captions.train"):
        _ = Trusted(context).pairs
