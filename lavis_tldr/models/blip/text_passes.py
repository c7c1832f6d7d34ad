"""BLIP's passes through LAVIS's BERT layers, by fused attention and with an image's keys and values computed once.

The same maths as the layers' own ``forward`` (draws of dropout aside), on the same modules.

Shapes: N texts of T tokens, M images of 1 + L tokens, D width, h heads.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from lavis.models.med import BertAttention, BertModel
from torch import Tensor

KeysValues = tuple[Tensor, Tensor]  # each (N, h, tokens attended to, D / h)


def image_memory(bert: BertModel, tokens: Tensor) -> list[KeysValues]:
    """What each layer's cross-attention sees of images, (M, 1 + L, D).

    Encoder and decoder share it, for their cross-attention is tied.
    """
    return [_keys_values(layer.crossattention, tokens) for layer in bert.encoder.layer]


def rows_of(memory: Sequence[KeysValues], rows: Tensor) -> list[KeysValues]:
    """The memory of some images, in the order of ``rows`` (N,)."""
    return [(keys.index_select(0, rows), values.index_select(0, rows)) for keys, values in memory]


def run_layers(
    bert: BertModel,
    ids: Tensor,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    memory: Sequence[KeysValues] | None = None,
) -> Tensor:
    """Last hidden states, (N, T, D).

    Args:
        bert: Encoder, or the decoder's BERT.
        ids: Token ids, (N, T).
        mask: Where tokens are, (N, T), boolean. None: everywhere.
        causal: Let tokens see those before them alone. Padding comes last, so that no token sees it then.
        memory: What the texts see of their images, a pair for each layer; None: nothing.
    """
    hidden = bert.embeddings(input_ids=ids)
    visible = None if mask is None else mask[:, None, None]  # (N, 1, 1, T)
    for number, layer in enumerate(bert.encoder.layer):
        own = _keys_values(layer.attention, hidden)
        hidden = _attend(layer.attention, hidden, own, mask=visible, causal=causal)
        if memory is not None:
            hidden = _attend(layer.crossattention, hidden, memory[number])
        hidden = layer.feed_forward_chunk(hidden)
    return hidden


def _keys_values(attention: BertAttention, states: Tensor) -> KeysValues:
    own = attention.self
    return own.transpose_for_scores(own.key(states)), own.transpose_for_scores(own.value(states))


def _attend(
    attention: BertAttention, hidden: Tensor, keys_values: KeysValues, mask: Tensor | None = None, causal: bool = False
) -> Tensor:
    own = attention.self
    query = own.transpose_for_scores(own.query(hidden))
    dropout = own.dropout.p if own.training else 0.0
    context = F.scaled_dot_product_attention(query, *keys_values, attn_mask=mask, dropout_p=dropout, is_causal=causal)
    return attention.output(context.transpose(1, 2).flatten(2), hidden)
