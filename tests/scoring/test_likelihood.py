"""Alignment scores against naive computations, and on a planted case."""

import numpy as np
import pytest
import torch
from reductions import tiny_captioner

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


def drawn_codes(count: int, num_patches: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 32, (count, num_patches)).astype(np.uint16)


def planted_sentences(captions: list[str]) -> torch.Tensor:
    """Unit vectors of the known captions."""
    vectors = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0.75**0.5, 0.5]])
    return vectors[[CAPTIONS.index(caption) for caption in captions]]


def scorer(model, codes, **options):
    return CaptionScorer(model, "likelihood", codes, **options)


def naive_log_p(model, codes: np.ndarray, caption: str) -> tuple[float, int]:
    """Log-probability of a caption, token by token, each from a fresh look at the tokens before it."""
    ids = model.tokenizer.encode([caption], model.max_text_length)[0]
    memory = model.memory_of_codes(torch.from_numpy(codes.astype(np.int64))[None])
    allowed = torch.tensor(model.output_tokens)
    total = 0.0
    for t in range(1, len(ids)):
        hidden = model.decoder(torch.tensor([ids[:t]]), memory)[0, -1]
        log_p = model.decoder.logits(hidden)[allowed].log_softmax(0)
        total += log_p[model.output_tokens.index(ids[t])].item()
    return total, len(ids) - 1


@torch.no_grad()
def test_likelihood_gain_is_the_naive_one(model):
    codes = drawn_codes(6, model.num_patches)
    others = drawn_codes(3, model.num_patches, seed=1)
    score = scorer(model, others)
    captions = [CAPTIONS[i % 4] for i in range(6)]
    found = score.likelihood_gain(torch.from_numpy(codes.astype(np.int64)), captions)
    for row, caption in enumerate(captions):
        own, num_tokens = naive_log_p(model, codes[row], caption)
        p_others = [np.exp(naive_log_p(model, other.numpy(), caption)[0]) for other in score.others]
        assert found[row].item() == pytest.approx((own - np.log(np.mean(p_others))) / num_tokens, abs=1e-4)


@torch.no_grad()
def test_the_own_image_is_not_among_the_others(model):
    codes = drawn_codes(3, model.num_patches)
    found = scorer(model, codes).likelihood_gain(torch.from_numpy(codes.astype(np.int64)), CAPTIONS[:3])
    for row in range(3):
        own, num_tokens = naive_log_p(model, codes[row], CAPTIONS[row])
        p_others = [np.exp(naive_log_p(model, codes[i], CAPTIONS[row])[0]) for i in range(3) if i != row]
        assert found[row].item() == pytest.approx((own - np.log(np.mean(p_others))) / num_tokens, abs=1e-4)


def test_without_another_image_there_is_no_score(model):
    codes = np.repeat(drawn_codes(1, model.num_patches), 3, axis=0)
    found = scorer(model, codes)(torch.from_numpy(codes.astype(np.int64)), CAPTIONS[:3], [])
    assert list(found) == ["likelihood_gain"]
    assert np.isnan(found["likelihood_gain"]).tolist() == [True] * 3


def test_scores_do_not_depend_on_the_batch(model):
    codes = drawn_codes(7, model.num_patches)
    captions = [CAPTIONS[i % 4] for i in range(7)]
    ids = torch.from_numpy(codes.astype(np.int64))
    whole = scorer(model, codes, batch_size=7)(ids, captions, [])
    pieces = scorer(model, codes, batch_size=2)(ids, captions, [])
    np.testing.assert_allclose(whole["likelihood_gain"], pieces["likelihood_gain"], atol=1e-5)


@pytest.mark.parametrize(
    ("alignment", "columns"),
    [("likelihood", ["likelihood_gain"]), ("similarity", ["similarity"]), ("both", ["likelihood_gain", "similarity"])],
)
def test_each_alignment_has_its_scores_alone(model, alignment, columns):
    codes = drawn_codes(3, model.num_patches)
    score = CaptionScorer(model, alignment, codes, planted_sentences)
    found = score(torch.from_numpy(codes.astype(np.int64)), CAPTIONS[:3], CAPTIONS[1:])
    assert sorted(found) == columns == sorted(ALIGNMENTS[alignment].columns)
    assert {name: len(values) for name, values in found.items()} == dict.fromkeys(columns, 3)


def test_similarity_compares_the_original_with_the_generated(model):
    codes = drawn_codes(3, model.num_patches)
    score = CaptionScorer(model, "similarity", codes, planted_sentences)
    generated = [CAPTIONS[0], CAPTIONS[2], CAPTIONS[3]]
    found = score(torch.from_numpy(codes.astype(np.int64)), CAPTIONS[:3], generated)
    # The first is the same, the second at a right angle, the third at 60 degrees.
    np.testing.assert_allclose(found["similarity"], [1, 0, 0.5], atol=1e-6)
    assert found["similarity"].dtype == np.float32


def test_no_samples_no_scores(model):
    codes = drawn_codes(2, model.num_patches)
    none = torch.zeros(0, model.num_patches, dtype=torch.int64)
    assert {name: len(values) for name, values in scorer(model, codes)(none, [], []).items()} == {"likelihood_gain": 0}


def test_a_right_caption_scores_above_a_wrong_one_once_trained(tmp_path):
    model = tiny_captioner(tmp_path, CAPTIONS, label_smoothing=0.0)
    generator = torch.Generator().manual_seed(0)
    images = 2 * torch.randn(4, 3, 1, 1, generator=generator) + 0.5 * torch.randn(4, 3, 32, 32, generator=generator)
    with torch.no_grad():
        features = model.encode_image(images)  # (4, L, D)
        model.quantizer.set_codes(features.reshape(-1, features.shape[-1])[::2][:32])
        codes = model.image_codes({"image_features": features})
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, 3e-3)
    for _ in range(60):
        loss = model({"image_features": features, "text_input": CAPTIONS})["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    score = scorer(model, codes.numpy())
    with torch.no_grad():
        # Each caption with each image: (caption, image).
        gains = torch.stack([score.likelihood_gain(codes, [caption] * 4) for caption in CAPTIONS])
    assert gains.argmax(1).tolist() == [0, 1, 2, 3]
    assert (gains.diagonal() > 0).all()
