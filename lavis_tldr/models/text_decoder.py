"""A BERT language model that cross-attends to quantized image features (TL;DR, sec. 3.3).

Written out here, and not taken from transformers, so that training and generation give the same result with every
transformers version, keys and values of an image are computed once for all its captions and beams, and the vocabulary
head runs only where there is a token to predict. Weights of any Hugging Face BERT load into it.

Shapes: N captions, T tokens, M images, L image tokens, W width, V vocabulary, h heads.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KeyValue = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class CodeMemory:
    """Image features of which most are rows of one table.

    A linear map of them is computed once a row of the table, not once a token: the same but for rounding, and a batch
    has several times as many tokens as a codebook has codes.

    Attributes:
        codes: Rows of the table, (M, L - E), int64.
        table: (K, W).
        position: Added to the features by their place, (L - E, W).
        others: Features that are no rows of it, the last E of each image, (M, E, W).
    """

    codes: Tensor
    table: Tensor
    position: Tensor
    others: Tensor

    def __len__(self) -> int:
        """M."""
        return len(self.codes)

    @property
    def device(self) -> torch.device:
        return self.codes.device

    def map_by(self, linear: nn.Linear) -> Tensor:
        """What a linear layer makes of the features, (M, L, out width)."""
        found = F.embedding(self.codes, linear(self.table)) + F.linear(self.position, linear.weight)
        return torch.cat([found, linear(self.others)], 1)


# Features of M images, (M, L, W), or what makes them up.
Memory = Tensor | CodeMemory


def without_patches(memory: Memory, num_patches: int) -> Memory:
    """The features after the first ``num_patches`` of each image, (M, L - num_patches, W).

    What they were made of stays in the graph, with gradients of zero, as data-parallel training wants it.
    """
    if isinstance(memory, CodeMemory):
        codes, position = memory.codes[:, num_patches:], memory.position[num_patches:]
        return CodeMemory(codes, memory.table, position, memory.others)
    return memory[:, num_patches:]


def _mapped(x: Memory, linear: nn.Linear) -> Tensor:
    return x.map_by(linear) if isinstance(x, CodeMemory) else linear(x)


class Attention(nn.Module):
    """Multi-head attention with BERT's output projection, residual and LayerNorm (post-norm)."""

    def __init__(self, width: int, num_heads: int, memory_width: int, dropout: float, eps: float):
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(memory_width, width)
        self.value = nn.Linear(memory_width, width)
        self.output = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.dropout = dropout

    def key_value(self, x: Memory) -> KeyValue:
        """Keys and values of ``x`` (N, T, memory width), each (N, h, T, W / h)."""
        return self._split(_mapped(x, self.key)), self._split(_mapped(x, self.value))

    def forward(self, x: Tensor, key_value: KeyValue, causal: bool = False, mask: Tensor | None = None) -> Tensor:
        q = self._split(self.query(x))
        # No dropout of the attention weights, unlike BERT: it would rule out the fused kernel, which on a CPU makes
        # a training step several times faster. Dropout of the output below regularizes as well.
        y = F.scaled_dot_product_attention(q, *key_value, attn_mask=mask, is_causal=causal)
        y = self.output(y.transpose(1, 2).flatten(2))  # (N, T, W)
        return self.norm(x + F.dropout(y, self.dropout, self.training))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (N, h, T, W / h)


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention to the image, feed-forward."""

    def __init__(self, width: int, num_heads: int, mlp_width: int, memory_width: int, dropout: float, eps: float):
        super().__init__()
        self.attention = Attention(width, num_heads, width, dropout, eps)
        self.cross_attention = Attention(width, num_heads, memory_width, dropout, eps)
        self.mlp_in = nn.Linear(width, mlp_width)
        self.mlp_out = nn.Linear(mlp_width, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.dropout = dropout

    def attend_image(self, x: Tensor, key_value: KeyValue) -> Tensor:
        """Cross-attention; ``x`` (N, T, W), keys and values (M, h, L, W / h).

        The captions of one image are laid side by side as queries of that image, so that its keys and values are
        never copied.
        """
        num_images = key_value[0].shape[0]
        return self.cross_attention(x.reshape(num_images, -1, x.shape[-1]), key_value).view(x.shape)

    def feed_forward(self, x: Tensor) -> Tensor:
        y = self.mlp_out(F.gelu(self.mlp_in(x)))
        return self.norm(x + F.dropout(y, self.dropout, self.training))


class TextDecoder(nn.Module):
    """BERT with causal self-attention, cross-attention to image features and a tied vocabulary head.

    Args:
        vocab_size: V.
        width: W, also of the embeddings.
        depth: Layers.
        num_heads: Attention heads; must divide ``width``.
        mlp_width: Width inside the feed-forward blocks.
        memory_width: Width of the image features.
        max_positions: Longest sequence.
        dropout: Dropout rate of embeddings and of the blocks' outputs.
    """

    def __init__(
        self,
        vocab_size: int,
        width: int,
        depth: int,
        num_heads: int,
        mlp_width: int,
        memory_width: int,
        *,
        max_positions: int = 512,
        dropout: float = 0.1,
        eps: float = 1e-12,
    ):
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, width)
        self.position_embeddings = nn.Embedding(max_positions, width)
        # BERT adds the embedding of segment 0 everywhere; kept apart so that its weights load unchanged.
        self.segment_embedding = nn.Parameter(torch.zeros(width))
        self.embedding_norm = nn.LayerNorm(width, eps=eps)
        self.layers = nn.ModuleList(
            DecoderLayer(width, num_heads, mlp_width, memory_width, dropout, eps) for _ in range(depth)
        )
        self.head_transform = nn.Linear(width, width)
        self.head_norm = nn.LayerNorm(width, eps=eps)
        self.head_bias = nn.Parameter(torch.zeros(vocab_size))
        self.dropout = dropout
        self.apply(self._init_bert)

    def drop_decoding(self) -> None:
        """Leave the encoder that `embed_text` takes: no cross-attention, no vocabulary head."""
        for layer in self.layers:
            layer.cross_attention = None
        self.head_transform = self.head_norm = self.head_bias = None

    @staticmethod
    def _init_bert(module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

    def embed(self, token_ids: Tensor, start: int = 0) -> Tensor:
        """Token, position and segment embeddings, (N, T) -> (N, T, W); ``start`` is the first position."""
        positions = torch.arange(start, start + token_ids.shape[1], device=token_ids.device)
        x = self.word_embeddings(token_ids) + self.position_embeddings(positions) + self.segment_embedding
        return F.dropout(self.embedding_norm(x), self.dropout, self.training)

    def memory_key_values(self, memory: Memory) -> list[KeyValue]:
        """Each layer's cross-attention keys and values of image features (M, L, memory width)."""
        return [layer.cross_attention.key_value(memory) for layer in self.layers]

    def forward(self, token_ids: Tensor, memory: Memory) -> Tensor:
        """Hidden states of whole captions.

        Args:
            token_ids: (N, T), N a multiple of M: the captions of the first image, those of the second, ... Padding
                at the end needs no mask: attention is causal.
            memory: Image features, (M, L, memory width).

        Returns:
            Hidden states, (N, T, W).
        """
        x = self.embed(token_ids)
        for layer in self.layers:
            x = layer.attention(x, layer.attention.key_value(x), causal=True)
            x = layer.attend_image(x, layer.cross_attention.key_value(memory))
            x = layer.feed_forward(x)
        return x

    def step(
        self, token_ids: Tensor, start: int, past: list[KeyValue] | None, memory_kv: list[KeyValue]
    ) -> tuple[Tensor, list[KeyValue]]:
        """Hidden states of the next tokens given the past ones' keys and values.

        Args:
            token_ids: Next tokens, (N, t).
            start: Position of the first of them.
            past: Each layer's keys and values of the tokens before, or None at the start.
            memory_kv: From `memory_key_values`, M rows; N is a multiple of M, ordered as in `forward`.

        Returns:
            Hidden states (N, t, W), and the past with these tokens added.
        """
        x, grown = self.embed(token_ids, start), []
        for i, layer in enumerate(self.layers):
            k, v = layer.attention.key_value(x)
            if past is not None:
                k, v = torch.cat([past[i][0], k], 2), torch.cat([past[i][1], v], 2)
            grown.append((k, v))
            x = layer.attention(x, (k, v), causal=past is None)
            x = layer.feed_forward(layer.attend_image(x, memory_kv[i]))
        return x, grown

    def embed_text(self, token_ids: Tensor, counted: Tensor) -> Tensor:
        """Sentence embeddings of the BERT that this decoder was started from: its mean last hidden state.

        Attention goes both ways and passes the image by, so this is meant for a decoder as it was loaded.

        Args:
            token_ids: (N, T), padded.
            counted: True where a token is no padding, (N, T).

        Returns:
            L2-normalized embeddings, (N, W).
        """
        x = self.embed(token_ids)
        mask = counted[:, None, None, :]
        for layer in self.layers:
            x = layer.feed_forward(layer.attention(x, layer.attention.key_value(x), mask=mask))
        weight = counted[..., None].to(x.dtype)
        return F.normalize((x * weight).sum(1) / weight.sum(1).clamp(min=1), dim=-1)

    def logits(self, hidden: Tensor, rows: Tensor | None = None) -> Tensor:
        """Scores over the vocabulary, (..., W) -> (..., V); with ``rows`` (R,) over those tokens alone, (..., R)."""
        x = self.head_norm(F.gelu(self.head_transform(hidden)))
        weight, bias = self.word_embeddings.weight, self.head_bias
        return F.linear(x, weight, bias) if rows is None else F.linear(x, weight[rows], bias[rows])
