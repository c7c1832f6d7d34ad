"""The one-stream transformer of ViLT (arXiv:2102.03334): text tokens and image patches in one sequence.

Modules are named as in transformers' `ViltModel`, so that public weights load by name and go back there.

Shapes: B pairs, T text tokens, P patches of an image (h x w of them), S = T + 1 + P, D width.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavis_tldr.models.random_weights import NARROW, spread_random_weights

_TEXT_NORM_EPS = 1e-12  # BERT's; the blocks have a ViT's


@dataclass(frozen=True)
class ViltSizes:
    """What decides the shapes of the network's weights, and its dropout.

    Args:
        channels: Of an image: 3, or the width of a tower whose features are seen in its place (`FrozenTower`).
        image_size: Side in pixels of the base grid. Images may have any size: positions are interpolated to it.
        patch_size: Side of a patch in pixels.
        vocab_size: Number of WordPieces.
        max_text_length: Number of text positions.
        modality_types: 2 (text, image), or 3 with a second image.
        dropout: On embeddings and on what a block adds; attention has none.
        norm_eps: Of the blocks' and the final LayerNorm.
    """

    image_size: int
    patch_size: int
    width: int
    depth: int
    heads: int
    mlp_width: int
    vocab_size: int
    max_text_length: int = 40
    modality_types: int = 2
    dropout: float = 0.1
    norm_eps: float = 1e-6
    channels: int = 3

    def __post_init__(self):
        if self.image_size % self.patch_size:
            raise ValueError(
                f"model.image_size {self.image_size} is no multiple of model.patch_size {self.patch_size}."
            )
        if self.width % self.heads:
            raise ValueError(f"model.width {self.width} is no multiple of model.heads {self.heads}.")

    @property
    def grid(self) -> int:
        """Patches along a side of an image of ``image_size``."""
        return self.image_size // self.patch_size


class TextEmbeddings(nn.Module):
    """BERT's embeddings of words, places and of token type 0."""

    def __init__(self, sizes: ViltSizes):
        super().__init__()
        self.word_embeddings = nn.Embedding(sizes.vocab_size, sizes.width)
        self.position_embeddings = nn.Embedding(sizes.max_text_length, sizes.width)
        self.token_type_embeddings = nn.Embedding(2, sizes.width)
        self.LayerNorm = nn.LayerNorm(sizes.width, eps=_TEXT_NORM_EPS)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, D)."""
        places = self.position_embeddings.weight[: ids.shape[1]]
        x = self.word_embeddings(ids) + places + self.token_type_embeddings.weight[0]
        return self.dropout(self.LayerNorm(x))


class PatchEmbeddings(nn.Module):
    """A linear map of each patch's pixels."""

    def __init__(self, sizes: ViltSizes):
        super().__init__()
        self.projection = nn.Conv2d(sizes.channels, sizes.width, sizes.patch_size, sizes.patch_size)

    def forward(self, image: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, D, h, w)."""
        return self.projection(image)


class ViltEmbeddings(nn.Module):
    """Both modalities' embeddings, each marked with its modality."""

    def __init__(self, sizes: ViltSizes):
        super().__init__()
        self.grid, self.patch_size = sizes.grid, sizes.patch_size
        self.text_embeddings = TextEmbeddings(sizes)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, sizes.width))
        self.patch_embeddings = PatchEmbeddings(sizes)
        self.position_embeddings = nn.Parameter(torch.zeros(1, sizes.grid**2 + 1, sizes.width))
        self.token_type_embeddings = nn.Embedding(sizes.modality_types, sizes.width)
        self.dropout = nn.Dropout(sizes.dropout)

    def embed_text(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, D)."""
        return self.text_embeddings(ids) + self.token_type_embeddings.weight[0]

    def embed_image(self, image: Tensor, pixel_mask: Tensor | None, image_type: int) -> tuple[Tensor, Tensor | None]:
        """Tokens of an image: [CLS], then its patches row by row.

        Differs from the official code, which draws patches at random into a shuffled order: all are taken, in order.
        Text and pooled outputs do not depend on the order.

        Args:
            image: (B, channels, H, W).
            pixel_mask: True where a pixel is the image's and not padding, right and below, (B, H, W); None: all are.
            image_type: Row of the modality embedding.

        Returns:
            (B, 1 + P, D), and which of them are the image's, (B, 1 + P) bool; None: all.
        """
        patches = self.patch_embeddings(image)  # (B, D, h, w)
        h, w = patches.shape[-2:]
        mask = None
        if pixel_mask is None:
            positions = self._positions(h, w)
        else:
            mask = pixel_mask[:, :: self.patch_size, :: self.patch_size][:, :h, :w].bool()
            extents = zip(mask[:, :, 0].sum(1).tolist(), mask[:, 0].sum(1).tolist(), strict=True)
            positions = torch.cat([F.pad(self._positions(y, x), (0, w - x, 0, h - y)) for y, x in extents])
            mask = F.pad(mask.flatten(1), (1, 0), value=True)
        x = (patches + positions).flatten(2).transpose(1, 2)  # (B, P, D)
        cls = (self.cls_token + self.position_embeddings[:, :1]).expand(len(x), -1, -1)
        x = self.dropout(torch.cat([cls, x], dim=1))
        return x + self.token_type_embeddings.weight[image_type], mask

    def _positions(self, h: int, w: int) -> Tensor:
        """Position embeddings of an h x w grid, (1, D, h, w)."""
        grid = self.position_embeddings[:, 1:].transpose(1, 2).unflatten(2, (self.grid, self.grid))
        if (h, w) == (self.grid, self.grid):
            return grid
        return F.interpolate(grid, size=(h, w), mode="bilinear", align_corners=True)


class _Projections(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))


class _Dense(nn.Module):
    def __init__(self, width: int, out: int):
        super().__init__()
        self.dense = nn.Linear(width, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(x)


class SelfAttention(nn.Module):
    """Multi-head attention over the one sequence."""

    def __init__(self, sizes: ViltSizes):
        super().__init__()
        self.heads = sizes.heads
        self.attention = _Projections(sizes.width)
        self.output = _Dense(sizes.width, sizes.width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, S, D) and which tokens may be attended to, (B, 1, 1, S), -> (B, S, D)."""
        maps = (self.attention.query, self.attention.key, self.attention.value)
        q, k, v = (m(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for m in maps)  # (B, heads, S, D / heads)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.output(mixed.transpose(1, 2).flatten(2))


class ViltLayer(nn.Module):
    """A pre-norm transformer block, as a ViT's."""

    def __init__(self, sizes: ViltSizes):
        super().__init__()
        self.attention = SelfAttention(sizes)
        self.intermediate = _Dense(sizes.width, sizes.mlp_width)
        self.output = _Dense(sizes.mlp_width, sizes.width)
        self.layernorm_before = nn.LayerNorm(sizes.width, eps=sizes.norm_eps)
        self.layernorm_after = nn.LayerNorm(sizes.width, eps=sizes.norm_eps)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.layernorm_before(x), mask))
        return x + self.dropout(self.output(F.gelu(self.intermediate(self.layernorm_after(x)))))


class ViltEncoder(nn.Module):
    def __init__(self, sizes: ViltSizes):
        super().__init__()
        self.layer = nn.ModuleList(ViltLayer(sizes) for _ in range(sizes.depth))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        for layer in self.layer:
            x = layer(x, mask)
        return x


class ViltNetwork(nn.Module):
    """The transformer without heads; weights are random until loaded.

    Args:
        sizes: Its sizes.
    """

    def __init__(self, sizes: ViltSizes):
        super().__init__()
        self.sizes = sizes
        self.embeddings = ViltEmbeddings(sizes)
        self.encoder = ViltEncoder(sizes)
        self.layernorm = nn.LayerNorm(sizes.width, eps=sizes.norm_eps)
        self.pooler = _Dense(sizes.width, sizes.width)
        init_weights(self, sizes.width)
        for parameter in (self.embeddings.cls_token, self.embeddings.position_embeddings):
            nn.init.normal_(parameter, std=0.02)

    def embed_image(
        self, image: Tensor, pixel_mask: Tensor | None = None, image_type: int = 1
    ) -> tuple[Tensor, Tensor | None]:
        """See `ViltEmbeddings.embed_image`."""
        return self.embeddings.embed_image(image, pixel_mask, image_type)

    def forward(
        self, ids: Tensor, text_mask: Tensor, image_tokens: Tensor, image_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Read texts and images together.

        Args:
            ids: WordPieces, [CLS] first, (B, T).
            text_mask: True where there is a WordPiece and not padding, (B, T).
            image_tokens: From `embed_image`, (B, 1 + P, D).
            image_mask: From `embed_image`, (B, 1 + P), or None.

        Returns:
            The text tokens' outputs, (B, T, D), and the pooled output, (B, D).
        """
        if image_mask is None:
            image_mask = text_mask.new_ones(image_tokens.shape[:2])
        mask = torch.cat([text_mask, image_mask], dim=1)[:, None, None]  # (B, 1, 1, S)
        x = self.encoder(torch.cat([self.embeddings.embed_text(ids), image_tokens], dim=1), mask)
        # Heads read text tokens alone, so the last norm is spared the patches.
        text = self.layernorm(x[:, : ids.shape[1]])
        return text, torch.tanh(self.pooler(text[:, 0]))

    def read_alone(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Read a text or an image by itself: the mean of its tokens' outputs, (B, S, D) -> (B, D).

        Args:
            tokens: Embedded, of one modality.
            mask: Which of them count, (B, S) bool; None: all.
        """
        if mask is None:
            mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        x = self.layernorm(self.encoder(tokens, mask[:, None, None]))
        counted = mask[..., None].to(x)
        return (x * counted).sum(1) / counted.sum(1)


def init_weights(module: nn.Module, width: int) -> None:
    """Random weights as ViLT starts: linear maps and embeddings normal(0, 0.02), biases 0, norms 1 and 0.

    Linear maps of a narrow network start wider: at a width of 64 it takes half the steps to fit 16 pairs then.
    """
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Embedding)):
            nn.init.normal_(layer.weight, std=0.02)
        if isinstance(layer, nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    if width < NARROW:
        spread_random_weights(module)
