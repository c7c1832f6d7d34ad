"""The network against transformers' ViltModel and its heads, with shared random weights."""

import pytest
import torch
from transformers import (
    ViltForImageAndTextRetrieval,
    ViltForImagesAndTextClassification,
    ViltForMaskedLM,
    ViltForQuestionAnswering,
    ViltModel,
)
from vilts import CAPTIONS, norm_eps_of_reference, pairs, plain_state, reference_config, tiny_vilt, vocabulary

from lavis_tldr.models.vilt.network import ViltNetwork, ViltSizes


def scattered(model):
    """Weights all of size one or so: biases, norms and positions count, and a mistake shows."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    norm_eps_of_reference(model)
    return model.eval()


def reference(cls, model, **changes):
    """transformers' class with the model's weights, loaded strictly."""
    other = cls(reference_config(model, **changes)).eval()
    state = plain_state(model)
    positions = {name: value for name, value in other.state_dict().items() if name.endswith("position_ids")}
    names = other.state_dict().keys()
    if cls is ViltModel:
        state = {name.removeprefix("vilt."): value for name, value in state.items()}
    other.load_state_dict({**{name: value for name, value in state.items() if name in names}, **positions})
    return other


def inputs(model, samples) -> dict:
    ids, mask = model.tokenize(samples["text_input"])
    return {"input_ids": ids, "attention_mask": mask.long(), "pixel_values": samples["image"]}


@pytest.mark.parametrize("shape", [(32, 32), (48, 48), (64, 24)], ids=["base", "larger", "oblong"])
def test_equals_transformers(tmp_path, shape):
    model = scattered(tiny_vilt(tmp_path))
    samples = {"image": torch.randn(4, 3, *shape), "text_input": CAPTIONS[:4]}
    ids, mask = model.tokenize(samples["text_input"])
    assert not mask.all()  # captions of unlike lengths
    text, pooled = model.vilt(ids, mask, *model.embed_image(samples))
    out = reference(ViltModel, model)(**inputs(model, samples))
    # Outputs of padding are nobody's.
    torch.testing.assert_close(text[mask], out.last_hidden_state[:, : ids.shape[1]][mask], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(pooled, out.pooler_output, atol=1e-5, rtol=1e-5)


def test_equals_transformers_on_padded_images(tmp_path):
    model = scattered(tiny_vilt(tmp_path))
    image = torch.randn(3, 3, 40, 64)
    pixel_mask = torch.zeros(3, 40, 64, dtype=torch.long)
    for row, (height, width) in zip(pixel_mask, [(40, 32), (24, 64), (40, 64)], strict=True):
        row[:height, :width] = 1
    samples = {"image": image * pixel_mask[:, None], "text_input": CAPTIONS[:3], "pixel_mask": pixel_mask}
    ids, mask = model.tokenize(samples["text_input"])
    text, pooled = model.vilt(ids, mask, *model.embed_image(samples))
    out = reference(ViltModel, model)(**inputs(model, samples), pixel_mask=pixel_mask)
    torch.testing.assert_close(text[mask], out.last_hidden_state[:, : ids.shape[1]][mask], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(pooled, out.pooler_output, atol=1e-5, rtol=1e-5)
    # What lies under the padding is not seen.
    noisy = {**samples, "image": image + 9 * (1 - pixel_mask[:, None])}
    torch.testing.assert_close(model.vilt(ids, mask, *model.embed_image(noisy))[1], pooled)


def test_masked_word_head_equals_transformers(tmp_path):
    model = scattered(tiny_vilt(tmp_path))
    samples = pairs()
    ids, mask = model.tokenize(samples["text_input"])
    model.mlm_score.transform.LayerNorm.eps = 1e-12
    logits = model.mlm_score(model.vilt(ids, mask, *model.embed_image(samples))[0])
    out = reference(ViltForMaskedLM, model)(**inputs(model, samples))
    torch.testing.assert_close(logits[mask], out.logits[mask], atol=1e-4, rtol=1e-5)


def test_retrieval_head_equals_transformers(tmp_path):
    model = scattered(tiny_vilt(tmp_path, "vilt_retrieval"))
    samples = pairs()
    ids, mask = model.tokenize(samples["text_input"])
    scores = model.score(ids, mask, *model.embed_image(samples))
    out = reference(ViltForImageAndTextRetrieval, model)(**inputs(model, samples))
    torch.testing.assert_close(scores, out.logits[:, 0], atol=1e-5, rtol=1e-5)


def test_answer_classifier_equals_transformers(tmp_path):
    (tmp_path / "answers.json").write_text('["yes", "no", "red"]')
    model = scattered(tiny_vilt(tmp_path, "vilt_vqa", answer_list=str(tmp_path / "answers.json")))
    samples = pairs()
    out = reference(ViltForQuestionAnswering, model, num_labels=3)(**inputs(model, samples))
    torch.testing.assert_close(model.logits(samples), out.logits, atol=1e-5, rtol=1e-5)


def test_two_images_equal_transformers(tmp_path):
    model = scattered(tiny_vilt(tmp_path, "vilt_nlvr"))
    texts = CAPTIONS[:3]
    images = torch.randn(3, 2, 3, 32, 32)
    samples = {"image0": images[:, 0], "image1": images[:, 1], "text_input": texts}
    other = reference(ViltForImagesAndTextClassification, model, num_images=2, num_labels=2)
    ids, mask = model.tokenize(texts)
    out = other(input_ids=ids, attention_mask=mask.long(), pixel_values=images)
    torch.testing.assert_close(model.logits(samples), out.logits, atol=1e-5, rtol=1e-5)


def test_state_dict_is_the_hugging_face_layout(tmp_path):
    model = tiny_vilt(tmp_path)
    other = ViltForMaskedLM(reference_config(model)).state_dict()
    own = plain_state(model)
    assert own.keys() - other.keys() == {"itm_score.fc.weight", "itm_score.fc.bias"}
    assert {name for name in other.keys() - own.keys() if not name.endswith("position_ids")} == set()
    assert all(own[name].shape == value.shape for name, value in other.items() if name in own)


def test_positions_are_interpolated_corner_to_corner():
    """A 2 x 2 grid shown to 3 x 3 patches: corners stay, what lies between is the mean of its neighbours."""
    network = ViltNetwork(ViltSizes(16, 8, width=2, depth=1, heads=1, mlp_width=2, vocab_size=5))
    grid = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    with torch.no_grad():
        network.embeddings.position_embeddings[0, 1:] = grid.flatten()[:, None].expand(4, 2)
    positions = network.embeddings._positions(3, 3)[0, 0]
    torch.testing.assert_close(positions, torch.tensor([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0], [5.0, 6.0, 7.0]]))


def test_long_texts_are_cut_and_still_end(tmp_path):
    model = tiny_vilt(tmp_path, max_text_length=6)
    ids, mask = model.tokenize([CAPTIONS[0], "sea"])
    words = vocabulary()
    assert ids.shape == (2, 6)
    assert [words[i] for i in ids[:, 0]] == ["[CLS]", "[CLS]"]
    assert words[ids[0, -1]] == "[SEP]" and mask[0].all()
    assert words[ids[1, mask[1]][-1]] == "[SEP]"
    assert all(words[i] == "[PAD]" for i in ids[1, ~mask[1]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 33}, "33 is no multiple of model.patch_size 8"),
        ({"heads": 3}, "64 is no multiple of model.heads 3"),
    ],
)
def test_sizes_that_do_not_go(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        tiny_vilt(tmp_path, **change)
