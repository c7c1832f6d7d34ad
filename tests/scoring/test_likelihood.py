"""Alignment scores against naive computations, and on a planted case."""

import numpy as np
import pytest
import torch
from reductions import tiny_captioner

from lavis_tldr.models.image_encoding import ImageEncoding
from lavis_tldr.reduction.alignments import ALIGNMENTS
from lavis_tldr.scoring.likelihood import CaptionScorer

CAPTIONS = [
    "a red kite over the sea",
    "two small dogs in the grass",
    "a house beside a tall tree",
    "a yellow boat on a lake",
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_captioner(tmp_path_factory.mktemp("captioner"), CAPTIONS)


def drawn_images(count: int, model, seed: int = 0) -> ImageEncoding:
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(32, (count, model.num_patches), generator=generator)
    return ImageEncoding(codes, torch.randn(count, model.pooled_width, generator=generator))


def planted_sentences(captions: list[str]) -> torch.Tensor:
    """Unit vectors of the known captions."""
    vectors = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0.75**0.5, 0.5]])
    return vectors[[CAPTIONS.index(caption) for caption in captions]]


def scorer(model, others, **options):
    return CaptionScorer(model, "likelihood", others, **options)


def naive_log_p(model, image: ImageEncoding, caption: str) -> tuple[float, int]:
    """Log-probability of a caption, token by token, each from a fresh look at the tokens before it."""
    ids = model.tokenizer.encode([caption], model.max_text_length)[0]
    memory = model.memory(model.quantizer.decode(image.codes), image.pooled)
    allowed = torch.tensor(model.output_tokens)
    total = 0.0
    for t in range(1, len(ids)):
        hidden = model.decoder(torch.tensor([ids[:t]]), memory)[0, -1]
        log_p = model.decoder.logits(hidden)[allowed].log_softmax(0)
        total += log_p[model.output_tokens.index(ids[t])].item()
    return total, len(ids) - 1


@torch.no_grad()
def test_likelihood_gain_is_the_naive_one(model):
    images, others = drawn_images(6, model), drawn_images(3, model, seed=1)
    score = scorer(model, others)
    captions = [CAPTIONS[i % 4] for i in range(6)]
    found = score.likelihood_gain(images, captions)
    for row, caption in enumerate(captions):
        own, num_tokens = naive_log_p(model, images[row : row + 1], caption)
        p_others = [np.exp(naive_log_p(model, other, caption)[0]) for other in others.split(1)]
        assert found[row].item() == pytest.approx((own - np.log(np.mean(p_others))) / num_tokens, abs=1e-4)


@torch.no_grad()
def test_the_own_image_is_not_among_the_others(model):
    images = drawn_images(3, model)
    found = scorer(model, images).likelihood_gain(images, CAPTIONS[:3])
    for row in range(3):
        own, num_tokens = naive_log_p(model, images[row : row + 1], CAPTIONS[row])
        p_others = [np.exp(naive_log_p(model, images[i : i + 1], CAPTIONS[row])[0]) for i in range(3) if i != row]
        assert found[row].item() == pytest.approx((own - np.log(np.mean(p_others))) / num_tokens, abs=1e-4)


def test_without_another_image_there_is_no_score(model):
    images = drawn_images(1, model)[[0, 0, 0]]
    found = scorer(model, images)(images, CAPTIONS[:3], [])
    assert list(found) == ["likelihood_gain"]
    assert np.isnan(found["likelihood_gain"]).tolist() == [True] * 3


def test_scores_do_not_depend_on_the_batch(model):
    images = drawn_images(7, model)
    captions = [CAPTIONS[i % 4] for i in range(7)]
    whole = scorer(model, images, batch_size=7)(images, captions, [])
    pieces = scorer(model, images, batch_size=2)(images, captions, [])
    np.testing.assert_allclose(whole["likelihood_gain"], pieces["likelihood_gain"], atol=1e-5)


@pytest.mark.parametrize(
    ("alignment", "columns"),
    [("likelihood", ["likelihood_gain"]), ("similarity", ["similarity"]), ("both", ["likelihood_gain", "similarity"])],
)
def test_each_alignment_has_its_scores_alone(model, alignment, columns):
    images = drawn_images(3, model)
    score = CaptionScorer(model, alignment, images, planted_sentences)
    found = score(images, CAPTIONS[:3], CAPTIONS[1:])
    assert sorted(found) == columns == sorted(ALIGNMENTS[alignment].columns)
    assert {name: len(values) for name, values in found.items()} == dict.fromkeys(columns, 3)


def test_similarity_compares_the_original_with_the_generated(model):
    images = drawn_images(3, model)
    score = CaptionScorer(model, "similarity", images, planted_sentences)
    generated = [CAPTIONS[0], CAPTIONS[2], CAPTIONS[3]]
    found = score(images, CAPTIONS[:3], generated)
    # The first is the same, the second at a right angle, the third at 60 degrees.
    np.testing.assert_allclose(found["similarity"], [1, 0, 0.5], atol=1e-6)
    assert found["similarity"].dtype == np.float32


def test_no_samples_no_scores(model):
    images = drawn_images(2, model)
    assert {name: len(values) for name, values in scorer(model, images)(images[:0], [], []).items()} == {
        "likelihood_gain": 0
    }


def test_a_right_caption_scores_above_a_wrong_one_once_trained(tmp_path):
    model = tiny_captioner(tmp_path, CAPTIONS, label_smoothing=0.0)
    generator = torch.Generator().manual_seed(0)
    images = 2 * torch.randn(4, 3, 1, 1, generator=generator) + 0.5 * torch.randn(4, 3, 32, 32, generator=generator)
    with torch.no_grad():
        tokens = model.encode_tokens(images)  # (4, 1 + L, D)
        model.quantizer.set_codes(tokens[:, 1:].reshape(-1, tokens.shape[-1])[::2][:32])
        encoded = model.encode_images({"image_tokens": tokens})
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, 3e-3)
    for _ in range(60):
        loss = model({"image_tokens": tokens, "text_input": CAPTIONS})["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    score = scorer(model, encoded)
    with torch.no_grad():
        # Each caption with each image: (caption, image).
        gains = torch.stack([score.likelihood_gain(encoded, [caption] * 4) for caption in CAPTIONS])
    assert gains.argmax(1).tolist() == [0, 1, 2, 3]
    assert (gains.diagonal() > 0).all()


def test_captions_are_tokenized_once_for_all_images(model, monkeypatch):
    tokenized, encode = [], model.tokenizer.encode
    monkeypatch.setattr(
        model.tokenizer, "encode", lambda captions, *a: tokenized.append(captions) or encode(captions, *a)
    )
    scorer(model, drawn_images(8, model, seed=1)).likelihood_gain(drawn_images(4, model), CAPTIONS)
    assert tokenized == [CAPTIONS]
