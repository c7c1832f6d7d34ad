import pytest
import torch
from transformers import BertConfig, BertLMHeadModel, BertModel

from lavis_tldr.models.bert_weights import load_bert
from lavis_tldr.models.text_decoder import TextDecoder

VOCAB, WIDTH, HEADS, MLP, MEMORY = 50, 24, 3, 40, 10


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def bert_config(**extra) -> BertConfig:
    return BertConfig(
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        intermediate_size=MLP,
        max_position_embeddings=32,
        initializer_range=0.3,  # large, so that mistakes show
        attn_implementation="eager",
        **extra,
    )


def bert_state(model) -> dict:
    return {name.removeprefix("bert."): value for name, value in model.state_dict().items()}


def make_decoder(memory_width=MEMORY) -> TextDecoder:
    return TextDecoder(VOCAB, WIDTH, 2, HEADS, MLP, memory_width, max_positions=32, dropout=0.0).eval()


def padded_ids():
    ids = torch.randint(5, VOCAB, (3, 7))
    counted = torch.arange(7) < torch.tensor([[7], [4], [2]])
    return ids * counted, counted


def test_embed_text_is_berts_mean():
    bert = BertModel(bert_config(), add_pooling_layer=False).eval()
    decoder = make_decoder()
    load_bert(decoder, bert_state(bert), "a test's BERT")
    ids, counted = padded_ids()
    with torch.no_grad():
        hidden = bert(ids, attention_mask=counted.long()).last_hidden_state
    mean = torch.stack([row[keep].mean(0) for row, keep in zip(hidden, counted, strict=True)])
    wanted = torch.nn.functional.normalize(mean, dim=-1)
    torch.testing.assert_close(decoder.embed_text(ids, counted), wanted, atol=1e-5, rtol=1e-5)


def test_logits_are_those_of_transformers():
    config = bert_config(is_decoder=True, add_cross_attention=True)
    theirs = BertLMHeadModel(config).eval()
    decoder = make_decoder(memory_width=WIDTH)
    load_bert(decoder, bert_state(theirs), "a test's BERT")
    with torch.no_grad():
        for ours, layer in zip(decoder.layers, theirs.bert.encoder.layer, strict=True):
            cross = layer.crossattention
            for mine, other in (
                (ours.cross_attention.query, cross.self.query),
                (ours.cross_attention.key, cross.self.key),
                (ours.cross_attention.value, cross.self.value),
                (ours.cross_attention.output, cross.output.dense),
                (ours.cross_attention.norm, cross.output.LayerNorm),
            ):
                mine.load_state_dict(other.state_dict())
    ids, memory = torch.randint(0, VOCAB, (2, 6)), torch.randn(2, 5, WIDTH)
    with torch.no_grad():
        wanted = theirs(ids, encoder_hidden_states=memory).logits
        found = decoder.logits(decoder(ids, memory))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_logits_of_some_rows():
    decoder, hidden, rows = make_decoder(), torch.randn(2, 3, WIDTH), torch.tensor([1, 7, 30])
    torch.testing.assert_close(decoder.logits(hidden, rows), decoder.logits(hidden)[..., rows])


def test_steps_equal_the_whole():
    decoder, memory = make_decoder(), torch.randn(2, 5, MEMORY)
    ids = torch.randint(0, VOCAB, (4, 6))  # two captions an image
    whole = decoder(ids, memory)
    memory_kv = decoder.memory_key_values(memory)
    found, past = decoder.step(ids[:, :2], 0, None, memory_kv)
    for t in range(2, 6):
        hidden, past = decoder.step(ids[:, t : t + 1], t, past, memory_kv)
        found = torch.cat([found, hidden], 1)
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=1e-5)


def test_captions_of_one_image_share_its_memory():
    decoder, memory = make_decoder(), torch.randn(2, 5, MEMORY)
    ids = torch.randint(0, VOCAB, (6, 4))
    torch.testing.assert_close(decoder(ids, memory), decoder(ids, memory.repeat_interleave(3, 0)), atol=1e-5, rtol=1e-5)


def test_later_tokens_do_not_show():
    decoder, memory = make_decoder(), torch.randn(1, 5, MEMORY)
    ids = torch.randint(0, VOCAB, (1, 6))
    changed = ids.clone()
    changed[0, 4] = (changed[0, 4] + 1) % VOCAB
    before, after = decoder(ids, memory), decoder(changed, memory)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_the_image_shows():
    decoder = make_decoder()
    ids = torch.randint(0, VOCAB, (1, 3))
    assert not torch.allclose(decoder(ids, torch.randn(1, 5, MEMORY)), decoder(ids, torch.randn(1, 5, MEMORY)))


@pytest.mark.parametrize("config", [{"intermediate_size": 44}, {"vocab_size": 60}, {"num_hidden_layers": 1}])
def test_weights_of_another_shape_are_refused(config):
    settings = {**bert_config().to_dict(), **config}
    bert = BertModel(BertConfig(**settings), add_pooling_layer=False)
    with pytest.raises(ValueError, match="decoder expects|at least 2 layers"):
        load_bert(make_decoder(), bert_state(bert), "a test's BERT")
