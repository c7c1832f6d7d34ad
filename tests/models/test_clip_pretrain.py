"""`clip_pretrain` learns, and LAVIS's tasks evaluate it."""

import math

import pytest
import torch
from clips import COLOURS, TEXTS, Gallery, batch, images, recalls, stock_clip, tower_clip
from lavis.models.clip_models.tokenizer import tokenize
from lavis.tasks import ImageTextPretrainTask, MultimodalClassificationTask, RetrievalTask

from lavis_tldr.models.clip_tokenizers import END, BPETokenizer


def train(model, steps: int, samples=None, lr: float = 1e-3) -> list[float]:
    """Train on one batch, through LAVIS's task; the losses."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98))
    samples, losses = samples or batch(), []
    model.train()
    for _ in range(steps):
        loss = ImageTextPretrainTask().train_step(model, samples)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses


@pytest.mark.parametrize("loss", ["contrastive", "sigmoid"])
@pytest.mark.parametrize(
    "build", [lambda folder, loss: stock_clip(loss=loss), lambda f, loss: tower_clip(f, loss=loss)]
)
def test_learns_sixteen_pairs(tmp_path, loss, build):
    model = build(tmp_path, loss)
    losses = train(model, 40)
    assert losses[-1] < 0.2 * losses[0]
    scores = model.compute_sim_matrix(Gallery().loader(), task_cfg=None)
    assert recalls(scores) == (1.0, 1.0)
    # Against texts shuffled, so that none is its image's, it knows none.
    shuffled = Gallery(TEXTS[1:] + TEXTS[:1])
    assert recalls(model.compute_sim_matrix(shuffled.loader())) == (0.0, 0.0)


def test_learns_no_pairs_it_was_not_shown(tmp_path):
    """Trained on shuffled texts, retrieval of the true ones is at chance, 1 in 16."""
    model = tower_clip(tmp_path)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1)).tolist()
    train(model, 40, {"image": images(), "text_input": [TEXTS[i] for i in order]})
    by_image, by_text = recalls(model.compute_sim_matrix(Gallery().loader()))
    in_place = sum(i == j for i, j in enumerate(order)) / 16
    assert by_image == by_text == in_place <= 2 / 16


def test_long_texts_differ():
    many = " ".join(f"word{i}" for i in range(100))
    texts = [f"red {many}", f"blue {many}", "short"]
    stock = tokenize(texts)
    assert (stock[:2] != END).all()  # the fault that is mended
    model = stock_clip().eval()
    ids = model.tokenizer(texts)
    assert ids.shape == (3, 77)
    assert ids[:2, -1].tolist() == [END, END]
    assert torch.equal(ids[2], stock[2])
    assert torch.equal(ids[:, :-1], stock[:, :-1])
    with torch.no_grad():
        faulty, mended = model.encode_text(stock), model.encode_text(ids)
    assert torch.equal(faulty[0], faulty[1])
    assert (mended[0] - mended[1]).norm() > 0.01 * mended[0].norm()


@pytest.mark.parametrize("length", [5, 20])
def test_other_text_lengths(length):
    model = stock_clip(text={"context_length": length}).train()
    figures = model({"image": images(2), "text_input": ["a kite", "one two three four five six seven"]})
    assert figures["loss"].isfinite()
    assert BPETokenizer(length)("one two three four five six seven").argmax() == min(8, length - 1)


def test_long_word_pieces_keep_their_end(tmp_path):
    model = tower_clip(tmp_path, max_text_length=4)
    rows = model.tokenizer(["a red kite dog house", "a"])
    eos, pad = model.tokenizer.tokenizer.eos, model.tokenizer.tokenizer.pad
    assert rows.shape == (2, 4)
    assert rows[0, -1] == eos
    assert rows[1, 2:].tolist() == [eos, pad]


def test_a_texts_embedding_is_its_own(tmp_path):
    """Whatever other texts, and padding, it is encoded with."""
    model = tower_clip(tmp_path).eval()
    texts = [*TEXTS, "a", "a red kite dog house boat blue", "pink", *TEXTS[::-1]]  # several groups of like length
    with torch.no_grad():
        together = model.encode_text(model.tokenizer(texts))
        alone = torch.cat([model.encode_text(model.tokenizer(text)) for text in texts])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize(("start", "end"), [(9.0, math.log(100)), (-1.0, 0.0), (2.0, 2.0)])
def test_the_scale_is_clamped(tmp_path, start, end):
    model = tower_clip(tmp_path).train()
    model.logit_scale.data.fill_(start)
    figures = model(batch())
    assert model.logit_scale.item() == pytest.approx(end)
    assert figures["logit_scale"].item() == pytest.approx(math.exp(end), rel=1e-5)


def test_figures(tmp_path):
    found = tower_clip(tmp_path)(batch())
    assert found.keys() == {"loss", "loss_itc", "logit_scale"}
    assert found["logit_scale"].item() == pytest.approx(1 / 0.07, rel=1e-5)
    found = tower_clip(tmp_path, loss="sigmoid")(batch())
    assert (found["logit_scale"].item(), found["logit_bias"].item()) == (pytest.approx(10, rel=1e-5), -10)
    assert found["loss_itc"].item() == found["loss"].item()


def test_embeddings_of_one_side(tmp_path):
    model = tower_clip(tmp_path).eval()
    with torch.no_grad():
        pairs = model.encode_pairs(batch())
        image, text = model({"image": images()}), model({"text_input": TEXTS})
    torch.testing.assert_close(torch.nn.functional.normalize(image, dim=-1), pairs.image)
    torch.testing.assert_close(torch.nn.functional.normalize(text, dim=-1), pairs.text)


# A frozen image tower


def test_features_stand_for_images(tmp_path):
    model = tower_clip(tmp_path, freeze_vit=True).train()
    with torch.no_grad():
        features = model.visual_encoder(images())
    from_features = {"image_features": features, "text_input": TEXTS}
    assert torch.equal(model(batch())["loss"], model(from_features)["loss"])
    frozen = {name: value.clone() for name, value in model.visual_encoder.state_dict().items()}
    other = model.text_encoder.word_embeddings.weight.detach().clone()
    assert train(model, 60, from_features)[-1] < 0.5
    for name, value in model.visual_encoder.state_dict().items():
        assert torch.equal(value, frozen[name])
    assert not torch.equal(model.text_encoder.word_embeddings.weight, other)
    of_images = model.compute_sim_matrix(Gallery().loader())
    of_features = model.compute_sim_matrix(Gallery(key="image_features", values=features).loader())
    assert (of_images[0] == of_features[0]).all()


def test_a_frozen_tower_stays_in_eval_mode(tmp_path):
    model = tower_clip(tmp_path, freeze_vit=True, freeze_text=True, dropout=0.5).train()
    assert not model.visual_encoder.training
    assert not model.text_encoder.training
    assert torch.equal(model(batch())["loss"], model(batch())["loss"])
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained == ["logit_scale", "vision_proj.weight", "text_proj.weight"]


@pytest.mark.parametrize(
    ("build", "shape", "message"),
    [
        (lambda folder: tower_clip(folder), (2, 17, 64), "freeze_vit: False.*needs images"),
        (lambda folder: tower_clip(folder, freeze_vit=True), (2, 17, 32), r"\(2, 17, 32\); expected .*, 64\)"),
        (lambda folder: stock_clip(), (2, 17, 64), "model types with a frozen tower"),
    ],
)
def test_features_that_can_not_stand_for_images(tmp_path, build, shape, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path)({"image_features": torch.zeros(shape), "text_input": TEXTS[:2]})


# Patch dropout


@pytest.mark.parametrize(
    ("build", "blocks"),
    [
        (lambda folder, share: stock_clip(patch_dropout=share), lambda model: model.visual.transformer.resblocks[0]),
        (lambda folder, share: tower_clip(folder, patch_dropout=share), lambda model: model.visual_encoder.blocks[0]),
    ],
)
def test_patch_dropout(tmp_path, build, blocks):
    plain, model = build(tmp_path, 0.0), build(tmp_path, 0.75)
    seen = []
    blocks(model).register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    model.train().encode_image(images())
    assert 5 in seen[0][:2]  # [CLS] and a quarter of 16 patches
    assert not torch.equal(model.encode_image(images()), model.encode_image(images()))
    assert torch.equal(model.eval().encode_image(images()), plain.eval().encode_image(images()))


# LAVIS's tasks


def test_zero_shot_classification():
    class OtherClassification(MultimodalClassificationTask):
        """Of another type, which stock CLIP passes by."""

    model = stock_clip()
    samples = {"image": images(4), "text_input": [f"a photo of a {colour}." for colour in COLOURS]}
    train(model, 40, samples)
    model.prompt_templates = [lambda name: f"a photo of a {name}."]
    dataset = type("Classes", (), {"classnames": list(COLOURS)})
    model.before_evaluation(dataset, RetrievalTask)
    assert model.classifier is None
    for task in (MultimodalClassificationTask, OtherClassification):
        model.classifier = None
        task().before_evaluation(model, dataset)
        labelled = {"image": images(4), "label": torch.arange(4), "instance_id": list("abcd")}
        results = task().valid_step(model, labelled)
        assert [result["prediction"] for result in results] == [0, 1, 2, 3]


def test_zero_shot_classification_by_towers(tmp_path):
    model = tower_clip(tmp_path)
    train(model, 40)
    model.prompt_templates = [lambda name: f"a {name} kite"]
    MultimodalClassificationTask().before_evaluation(model, type("Classes", (), {"classnames": list(COLOURS)}))
    found = model.predict({"image": images()[::4], "label": torch.arange(4)})
    assert found["predictions"].argmax(1).tolist() == [0, 1, 2, 3]


def test_retrieval_is_in_float32_under_autocast(tmp_path):
    model = tower_clip(tmp_path).eval()
    expected = model.compute_sim_matrix(Gallery().loader())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model.compute_sim_matrix(Gallery().loader())
    assert (found[0] == expected[0]).all()


def test_retrieval_of_a_share_of_the_images_is_refused(tmp_path):
    gallery = Gallery()
    loader = torch.utils.data.DataLoader(gallery, batch_size=4, sampler=range(0, 16, 2))
    with pytest.raises(ValueError, match="8 images of 16.*use_dist_eval_sampler: False"):
        tower_clip(tmp_path).compute_sim_matrix(loader)
