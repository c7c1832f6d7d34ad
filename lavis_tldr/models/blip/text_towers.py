"""Text encoder, text decoder and tokenizer of a BLIP pretraining, from a BERT or a vocabulary of one's own."""

import re
from pathlib import Path

from lavis.models.med import XBertEncoder, XBertLMHeadDecoder
from torch import Tensor, nn
from transformers import BertTokenizerFast
from transformers.models.bert.configuration_bert import BertConfig

from lavis_tldr.models.bert_weights import bert_folder, check_heads, read_bert
from lavis_tldr.models.random_weights import NARROW, spread_random_weights
from lavis_tldr.models.tokenizer import read_vocabulary

_WORDS, _POSITIONS = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"
_TYPES = "embeddings.token_type_embeddings.weight"
# What no BERT has, so it starts random; and what is computed, not learnt.
_BLIP_ALONE = ("crossattention.", "position_ids")


def build_tokenizer(cfg: dict) -> BertTokenizerFast:
    """The tokenizer of ``vocabulary``, or of ``text_weights``; with [DEC] and [ENC], as LAVIS's ``init_tokenizer``.

    Raises:
        ValueError: If there is no vocabulary, or it is none of a BERT.
    """
    path = cfg["vocabulary"]
    if not path and cfg["text_weights"]:
        path = bert_folder(cfg["text_weights"]) / "vocab.txt"
    if not path:
        raise ValueError(
            "the text towers have no vocabulary. Give model.text_weights (a BERT's folder or hub name) or "
            "model.vocabulary (a vocab.txt)."
        )
    read_vocabulary(path)  # says what is wrong with it
    # The ids of LAVIS's BertTokenizer, many times faster. (A "[SEP]" that a caption says is text to it.)
    tokenizer = BertTokenizerFast(str(Path(path)))
    tokenizer.add_special_tokens({"bos_token": "[DEC]", "additional_special_tokens": ["[ENC]"]})
    tokenizer.enc_token_id = tokenizer.additional_special_tokens_ids[0]
    return tokenizer


def build_text_towers(cfg: dict, num_tokens: int) -> tuple[XBertEncoder, XBertLMHeadDecoder]:
    """Encoder and decoder of a checked config, started from ``text_weights`` where they are given.

    Raises:
        ValueError: If the weights do not fit.
    """
    config = BertConfig(
        vocab_size=num_tokens,
        hidden_size=cfg["text_width"],
        num_hidden_layers=cfg["text_depth"],
        num_attention_heads=cfg["text_heads"],
        intermediate_size=cfg["text_mlp_width"],
        hidden_dropout_prob=cfg["dropout"],
        attention_probs_dropout_prob=cfg["dropout"],
        add_type_embeddings=False,
        add_cross_attention=True,
        encoder_width=cfg["vit_width"],
    )
    encoder, decoder = XBertEncoder(config, add_pooling_layer=False), XBertLMHeadDecoder(config)
    if cfg["text_weights"]:
        folder = bert_folder(cfg["text_weights"])
        bert_config, state = read_bert(folder)
        check_heads(bert_config, cfg["text_heads"], str(folder))
        state = _in_blip_form(state, encoder, folder)
        state = with_last_layer_at(state, cfg["text_depth"] - 1)
        load_bert_into(encoder, state, str(folder))
        load_bert_into(decoder.bert, state, str(folder))
        head = {name: value for name, value in state.items() if name.startswith("cls.predictions.transform.")}
        decoder.load_state_dict(head, strict=False)
    elif cfg["text_width"] < NARROW:
        spread_random_weights(encoder)
        spread_random_weights(decoder)
    return encoder, decoder


def _in_blip_form(state: dict[str, Tensor], encoder: XBertEncoder, folder: Path) -> dict[str, Tensor]:
    """A BERT's weights without token types, which BLIP has none of: each token is of type 0, added to its position."""
    absent = [name for name in (_WORDS, _POSITIONS) if name not in state]
    if absent:
        raise ValueError(f"{folder} has no {absent[0]}; expected the weights of a BERT.")
    words = encoder.embeddings.word_embeddings.weight.detach().clone()
    if state[_WORDS].shape[1:] != words.shape[1:] or len(state[_WORDS]) > len(words):
        raise ValueError(
            f"{folder} embeds {tuple(state[_WORDS].shape)} words, the model {tuple(words.shape)}: make text_width and "
            "vocabulary those of these weights."
        )
    words[: len(state[_WORDS])] = state[_WORDS]  # [DEC] and [ENC] come last and start random
    positions = state[_POSITIONS] + (state[_TYPES][0] if _TYPES in state else 0)
    return {**state, _WORDS: words, _POSITIONS: positions}


def with_last_layer_at(state: dict[str, Tensor], place: int) -> dict[str, Tensor]:
    """A deeper BERT's weights with its last layer in an earlier one's place.

    BLIP reads a text off [CLS], which tells texts apart in the last layer alone where a BERT was trained to be read
    otherwise: in the first five of MiniLM's six its cosine between any two captions is 1.000, in the last .52. With
    the first three layers BLIP's contrast stayed at chance for 200 updates.

    Args:
        state: Of a BERT.
        place: Of the last layer of the tower that it is for.
    """
    layer = re.compile(r"encoder\.layer\.(\d+)\.")
    last = max((int(found[1]) for name in state if (found := layer.match(name))), default=place)
    if last <= place:
        return state
    before, after = f"encoder.layer.{last}.", f"encoder.layer.{place}."
    moved = {name.replace(before, after): value for name, value in state.items() if name.startswith(before)}
    return {**state, **moved}


def load_bert_into(tower: nn.Module, state: dict[str, Tensor], where: str) -> None:
    """Start a tower from a BERT; its cross-attention stays random.

    Args:
        tower: Modified in place.
        state: Of names that the tower has, and others.
        where: Named in errors.

    Raises:
        ValueError: If a weight is absent or of another shape.
    """
    own = tower.state_dict()
    wanted = [name for name in own if not any(part in name for part in _BLIP_ALONE)]
    for name in wanted:
        if name not in state:
            raise ValueError(f"{where} has no {name}; expected a BERT of the model's text_depth layers.")
        if state[name].shape != own[name].shape:
            raise ValueError(
                f"{where}: {name} has shape {tuple(state[name].shape)}, the model's {tuple(own[name].shape)}; make "
                "text_width, text_mlp_width and text_depth those of these weights."
            )
    tower.load_state_dict({name: state[name] for name in wanted}, strict=False)
