"""Each architecture as a scorer, against what the model itself says of one pair after another."""

import clips
import pytest
import torch
import torch.nn.functional as F
from tiny_blip import build_tiny, build_tiny_pretraining, register_tiny
from torch import nn
from vilts import CAPTIONS, pairs, tiny_vilt

from lavis_tldr.models.scorers import ReadImages, scorer_of

TEXTS = ["a red kite", "two small dogs in the grass", "a boat"]


@pytest.fixture
def tiny_blips(tmp_path, monkeypatch):
    register_tiny(tmp_path, monkeypatch)


@pytest.fixture
def contrastive_vilt(tmp_path):
    return tiny_vilt(tmp_path, itc_width=16).eval()


def assert_unit(embeddings: torch.Tensor) -> None:
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(len(embeddings)))


@pytest.mark.parametrize("towers", ["stock", "two"])
@torch.no_grad()
def test_clip_has_the_cosines_of_lavis(tmp_path, towers):
    model = (clips.stock_clip() if towers == "stock" else clips.tower_clip(tmp_path)).eval()
    scorer = scorer_of(model)
    images, texts = scorer.embed_images({"image": clips.images()}), scorer.embed_texts(clips.TEXTS)
    of_images, _ = model.compute_sim_matrix(clips.Gallery().loader())
    torch.testing.assert_close((images @ texts.T).numpy(), of_images, atol=1e-5, rtol=0)
    assert (scorer.embeds, scorer.matches) == (True, False)
    assert_unit(images)
    assert_unit(texts)


def test_clip_can_not_match():
    scorer = scorer_of(clips.stock_clip().eval())
    with pytest.raises(ValueError, match="two separate towers"):
        scorer.read_images({"image": clips.images(1)})
    with pytest.raises(ValueError, match="two separate towers"):
        scorer.match_pairs(ReadImages(torch.zeros(1, 2, 4)), ["a"])


@torch.no_grad()
def test_clip_takes_features_of_a_frozen_tower(tmp_path):
    model = clips.tower_clip(tmp_path, freeze_vit=True).eval()
    scorer, image = scorer_of(model), clips.images(4)
    features = {"image_features": model.visual_encoder(image)}
    torch.testing.assert_close(scorer.embed_images(features), scorer.embed_images({"image": image}))


@torch.no_grad()
def test_blip_agrees_with_lavis_pair_by_pair(tiny_blips):
    model = build_tiny()
    scorer, image = scorer_of(model), torch.randn(3, 3, 32, 32)
    images, texts = scorer.embed_images({"image": image}), scorer.embed_texts(TEXTS)
    match = scorer.match_pairs(scorer.read_images({"image": image}), TEXTS)
    one_by_one = [{"image": image[i : i + 1], "text_input": [text]} for i, text in enumerate(TEXTS)]
    itm = torch.cat([model(sample)[:, 1] for sample in one_by_one])
    itc = torch.cat([model(sample, match_head="itc")[0] for sample in one_by_one])
    torch.testing.assert_close(match, itm, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close((images * texts).sum(1), itc, atol=1e-5, rtol=1e-5)
    assert (scorer.embeds, scorer.matches) == (True, True)


@torch.no_grad()
def test_blip_pretraining_is_one_too_and_reads_35_tokens(tiny_blips):
    model = build_tiny_pretraining()
    scorer = scorer_of(model)
    assert model.max_txt_len == 30
    long = "a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f g h i j k l"
    assert_unit(scorer.embed_texts([long, "a"]))
    # Token 34 is the last but [SEP]: another one there is seen, behind it none.
    seen, unseen = (long[:cut] + "z" + long[cut + 1 :] for cut in (64, 66))
    one, other, same = scorer.embed_texts([long, seen, unseen])
    assert not torch.allclose(one, other, atol=1e-4)
    assert torch.equal(one, same)


@pytest.mark.parametrize("arch", ["vilt_pretrain", "vilt_retrieval", "vilt_classification"])
@torch.no_grad()
def test_vilt_matches_by_its_head(tmp_path, arch):
    model = tiny_vilt(tmp_path, arch).eval()
    scorer, image = scorer_of(model), pairs(6)["image"]
    found = scorer.match_pairs(scorer.read_images({"image": image}), CAPTIONS)
    _, pooled = model.vilt(*model.tokenize(CAPTIONS), *model.embed_image({"image": image}))
    if arch == "vilt_pretrain":
        head = model.itm_score.fc.weight[1:], model.itm_score.fc.bias[1:]
    else:
        head = model.rank_output.weight, model.rank_output.bias
    torch.testing.assert_close(found, F.linear(pooled, *head)[:, 0])
    assert (scorer.embeds, scorer.matches) == (False, True)


def test_vilt_without_contrast_embeds_nothing(tmp_path):
    scorer = scorer_of(tiny_vilt(tmp_path).eval())
    for embed in (lambda: scorer.embed_texts(["a"]), lambda: scorer.embed_images(pairs(1))):
        with pytest.raises(ValueError, match="without a contrastive loss"):
            embed()


@torch.no_grad()
def test_vilt_with_contrast_embeds(contrastive_vilt):
    scorer = scorer_of(contrastive_vilt)
    assert (scorer.embeds, scorer.matches) == (True, True)
    assert_unit(scorer.embed_images(pairs(2)))
    assert_unit(scorer.embed_texts(CAPTIONS))


@pytest.mark.parametrize("kind", ["clip", "blip", "vilt"])
@torch.no_grad()
def test_scores_are_float32_under_autocast(tmp_path, tiny_blips, contrastive_vilt, kind):
    """And not rounded to bfloat16, which would have 16 bits of zeros at their end."""
    model = {"clip": clips.stock_clip, "blip": build_tiny, "vilt": lambda: contrastive_vilt}[kind]().eval()
    scorer, samples = scorer_of(model), pairs(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = [scorer.embed_images(samples), scorer.embed_texts(CAPTIONS[:4])]
        if scorer.matches:
            found.append(scorer.match_pairs(scorer.read_images(samples), CAPTIONS[:4]))
    for scores in found:
        assert scores.dtype == torch.float32
        assert not torch.equal(scores, scores.bfloat16().float())


def test_other_models_are_refused():
    with pytest.raises(ValueError, match="Linear does not say how well a text fits an image"):
        scorer_of(nn.Linear(1, 1))
