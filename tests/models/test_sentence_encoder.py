"""SentenceEncoder against transformers' BertModel, with random weights."""

import json

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer

from lavis_tldr.models import sentence_encoder
from lavis_tldr.models.sentence_encoder import SentenceEncoder, remembering_embeddings
from lavis_tldr.models.wordpiece_training import train_vocabulary

CAPTIONS = ["a red kite over the sea", "Two dogs", "a house, beside a tall tree in the grass", "two dogs"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A small BERT as Hugging Face saves it."""
    folder = tmp_path_factory.mktemp("bert")
    tokens = train_vocabulary(CAPTIONS * 3, 120)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(tokens), initializer_range=0.3, max_position_embeddings=64, **sizes)
    BertModel(config).save_pretrained(folder)
    return folder


def test_embeds_as_transformers_does(bert):
    tokenizer, model = BertTokenizer(str(bert / "vocab.txt")), BertModel.from_pretrained(bert).eval()
    batch = tokenizer(CAPTIONS, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    mean = (hidden * mask).sum(1) / mask.sum(1)
    expected = mean / mean.norm(dim=1, keepdim=True)
    found = SentenceEncoder(str(bert))(CAPTIONS)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # Case does not count, and what a caption is beside does not either.
    np.testing.assert_allclose(found[1], found[3], atol=1e-6)
    np.testing.assert_allclose(SentenceEncoder(str(bert))(CAPTIONS, batch_size=1), expected, atol=1e-5)


def test_remembered_embeddings(bert, monkeypatch):
    encoder = SentenceEncoder(str(bert))
    expected = encoder(CAPTIONS)
    asked = []

    def embed(self, captions, batch_size, embed=SentenceEncoder._embed):
        asked.extend(captions)
        return embed(self, captions, batch_size)

    monkeypatch.setattr(SentenceEncoder, "_embed", embed)
    with remembering_embeddings():
        for encode in (encoder, encoder, SentenceEncoder(str(bert))):
            torch.testing.assert_close(
                encode([*CAPTIONS[1:], CAPTIONS[0], CAPTIONS[1]])[: len(CAPTIONS) - 1], expected[1:]
            )
            assert encode([]).shape == (0, expected.shape[1])
        assert asked == [*CAPTIONS[1:], CAPTIONS[0]]
    encoder(CAPTIONS)
    assert asked[len(CAPTIONS) :] == list(CAPTIONS)  # forgotten


def test_only_so_many_embeddings_are_remembered(bert, monkeypatch):
    monkeypatch.setattr(sentence_encoder, "_MOST_REMEMBERED", 1)
    encoder = SentenceEncoder(str(bert))
    expected = encoder(CAPTIONS)
    with remembering_embeddings():
        for _ in range(2):
            torch.testing.assert_close(encoder(CAPTIONS), expected)
        assert len(sentence_encoder._remembered.get()[encoder.digest]) == 1


def test_digest_is_of_the_content(bert, tmp_path):
    for path in bert.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert SentenceEncoder(str(tmp_path)).digest == SentenceEncoder(str(bert)).digest
    config = json.loads((bert / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_attention_heads": 2}))
    assert SentenceEncoder(str(tmp_path)).digest != SentenceEncoder(str(bert)).digest


def test_a_folder_that_is_no_bert_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"is no BERT in Hugging Face layout.*config\.json"):
        SentenceEncoder(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="is no BERT in Hugging Face layout"):
        SentenceEncoder(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        SentenceEncoder(str(tmp_path))
