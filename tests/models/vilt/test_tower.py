"""ViLT over the features of a frozen tower."""

import pytest
import torch
from vilts import pairs, save, tiny_vilt

TOWER = {"image_size": 32, "patch_size": 8, "width": 16, "depth": 1, "heads": 2}
OVER = {"tower": TOWER, "image_size": 4, "patch_size": 2}


@pytest.fixture
def model(tmp_path):
    return tiny_vilt(tmp_path, **OVER)


def features(model, samples):
    given = {"image_features": model.visual_encoder(samples["image"]), "text_input": samples["text_input"]}
    return given


def test_its_patches_are_runs_of_the_towers(model):
    samples = pairs()
    tokens, mask = model.embed_image(samples)
    assert tokens.shape == (4, 1 + 2 * 2, model.vilt.sizes.width) and mask is None
    # By hand: the token of the upper right patch is the map of the tower's patches of rows 0, 1 and columns 2, 3.
    of_tower = model.visual_encoder(samples["image"])[:, 1:].unflatten(1, (4, 4))
    corner = of_tower[:, 0:2, 2:4].permute(0, 3, 1, 2)  # (B, C, 2, 2)
    projection = model.vilt.embeddings.patch_embeddings.projection
    expected = (corner[:, None] * projection.weight).sum((2, 3, 4)) + projection.bias
    embeddings = model.eval().vilt.embeddings
    expected = expected + embeddings.position_embeddings[:, 2] + embeddings.token_type_embeddings.weight[1]
    torch.testing.assert_close(model.embed_image(samples)[0][:, 2], expected)


def test_features_stand_for_images(model):
    samples = pairs()
    torch.manual_seed(3)
    expected = model.eval()(samples)
    torch.manual_seed(3)
    found = model(features(model, samples))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_tower_stays_as_it_is(model):
    samples = pairs()
    before = {name: value.clone() for name, value in model.visual_encoder.state_dict().items()}
    model.train()
    assert not model.visual_encoder.training
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(samples)["loss"].backward()
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in model.visual_encoder.state_dict().items())
    # But for what embeds token type 1, which no text has, and the tower, all is trained.
    still = [name for name, p in model.named_parameters() if p.grad is None]
    assert still and all(name.startswith("visual_encoder.") for name in still)


def test_a_checkpoint_without_the_tower_goes_on_above_the_same_one_alone(tmp_path, model):
    """As LAVIS saves: frozen weights are left out."""
    path = save(model, tmp_path / "left_out.pth", drop=["visual_encoder."])
    weights = tmp_path / "tower.pth"
    torch.save(model.visual_encoder.state_dict(), weights)
    given = {**OVER, "load_pretrained": True, "pretrained": path, "vit_weights": str(weights)}
    ranked = tiny_vilt(tmp_path, "vilt_retrieval", seed=5, **given).eval()
    samples = pairs()
    assert torch.equal(ranked.embed_image(samples)[0], model.eval().embed_image(samples)[0])
    with pytest.raises(ValueError, match="were frozen.*vit_weights"):
        tiny_vilt(tmp_path, "vilt_retrieval", seed=5, **{**given, "vit_weights": None})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tower": {**TOWER, "size": 3}}, "model.tower has .*; expected image_size"),
        ({"image_size": 8}, "side of the tower's grid of patches, 4"),
        ({"freeze_layers": 1}, "with model.tower there are none"),
        ({"tower": {**TOWER, "patch_size": 7}}, "no multiple of its patch_size 7"),
    ],
)
def test_what_does_not_go_together_is_said(tmp_path, changes, told):
    with pytest.raises(ValueError, match=told):
        tiny_vilt(tmp_path, **{**OVER, **changes})


def test_features_of_another_tower_are_refused(model):
    with pytest.raises(ValueError, match=r"\(4, 10, 16\); expected \(images, 17, 16\)"):
        model({"image_features": torch.zeros(4, 10, 16), "text_input": pairs()["text_input"]})
