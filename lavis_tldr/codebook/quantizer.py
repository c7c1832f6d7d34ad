"""Vector quantization of patch features with K learnable codes (TL;DR, sec. 3.1; VQ-VAE, arXiv:1711.00937).

Shapes: B images, L patch tokens, D feature width, K codes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavis_tldr.codebook.precision import full_float32


@dataclass
class Quantized:
    """What one look-up gives.

    Attributes:
        features: Quantized features with a straight-through gradient, (B, L, D).
        codes: Code indices, (B, L), int64.
        commitment_loss: Symmetric commitment loss, a scalar.
    """

    features: Tensor
    codes: Tensor
    commitment_loss: Tensor


def nearest_code(x: Tensor, codebook: Tensor) -> Tensor:
    """Index of the closest code in squared L2 (VQ-VAE, eq. 1).

    Args:
        x: Image features, (..., D).
        codebook: Code vectors, (K, D).

    Returns:
        Code indices, (...), int64; the lower index wins a tie.

    Raises:
        ValueError: If ``x`` and ``codebook`` disagree on D.
    """
    if x.shape[-1] != codebook.shape[-1]:
        raise ValueError(
            f"features are {x.shape[-1]} wide but the codes are {codebook.shape[-1]} wide; "
            "build the codebook with the encoder's width, or set `code_dim`."
        )
    # |x|^2 is the same for every code, so |e|^2 - 2 x.e ranks them. In float32 even under autocast: half precision
    # would decide near ties by rounding, and codes would differ between machines.
    with torch.autocast(x.device.type, enabled=False), full_float32():
        x, codebook = x.float(), codebook.float()
        flat = x.reshape(-1, x.shape[-1])
        scores = torch.addmm(codebook.pow(2).sum(1), flat, codebook.T, alpha=-2.0)  # (N, K)
        return scores.argmin(1).view(x.shape[:-1])


def codebook_perplexity(counts: Tensor) -> float:
    """exp of the entropy of code use: K when all codes are used alike, 1 when the codebook has collapsed.

    Args:
        counts: How often each code was used, (K,).
    """
    p = counts.double() / counts.sum().clamp(min=1)
    return float(torch.exp(-(p * torch.log(p.clamp(min=1e-12))).sum()))


def _alone(tensor: Tensor) -> Tensor:
    """A collective among one process."""
    return tensor


class VectorQuantizer(nn.Module):
    """Replaces each patch feature by its nearest code.

    Codes move in one of two ways. ``decay`` set: each code follows the moving average of the features assigned to it
    (VQ-VAE, appendix A.1), which holds where gradient-trained codes collapse. ``decay`` None: codes are trained by
    the gradient of the symmetric commitment loss.

    Args:
        num_codes: K.
        dim: D, the encoder's width.
        code_dim: Width of the codes when it is not D; features are projected down for the look-up and back up after
            it (ViT-VQGAN, arXiv:2110.04627, sec. 3.2).
        normalize: Compare by cosine: features and codes are L2-normalized first.
        decay: Moving-average decay in (0, 1), or None for gradient-trained codes.
        beta: Weight of the term that pulls features to codes.
        context_weight: How much of the image's mean feature (less that of all images, ``mean_feature``) is added to
            each of its features before the look-up. What an image is about as a whole shows in all its patches a
            little, too little to move any to another code: without this, quantizing loses it.
        learn_offsets: With ``decay``: codes are where the features are, and the decoder is given code + offset, an
            offset a code, (K, code_dim), that its own loss trains. A code can so tell the decoder more than the mean of
            the features that it stands for.
        frozen: Codes stay where they are.
        revive_below: With ``decay``: a code whose average use falls below this share of 1/K is dead and restarts at
            a feature of the batch. 0 turns revival off.
        all_reduce: Sums a tensor over processes and returns it; injected so that this room knows nothing of processes.
        broadcast: Gives every process the first one's tensor.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        num_codes: int,
        dim: int,
        *,
        code_dim: int | None = None,
        normalize: bool = False,
        decay: float | None = 0.99,
        beta: float = 0.25,
        context_weight: float = 0.0,
        learn_offsets: bool = False,
        frozen: bool = False,
        revive_below: float = 0.01,
        all_reduce: Callable[[Tensor], Tensor] = _alone,
        broadcast: Callable[[Tensor], Tensor] = _alone,
    ):
        super().__init__()
        if num_codes < 2:
            raise ValueError(f"num_codes is {num_codes}; a codebook needs at least 2 codes.")
        if decay is not None and not 0 < decay < 1:
            raise ValueError(f"decay is {decay}; give a value in (0, 1), or null to train codes by gradient.")
        self.num_codes, self.dim, self.code_dim = num_codes, dim, code_dim or dim
        self.normalize, self.decay, self.beta, self.revive_below = normalize, decay, beta, revive_below
        self.context_weight, self.frozen = context_weight, frozen
        self.all_reduce, self.broadcast = all_reduce, broadcast

        self.projects = self.code_dim != dim
        self.project_in = nn.Linear(dim, self.code_dim) if self.projects else nn.Identity()
        self.project_out = nn.Linear(self.code_dim, dim) if self.projects else nn.Identity()

        weight = torch.empty(num_codes, self.code_dim)
        nn.init.xavier_uniform_(weight)
        if decay is None:
            self.codebook = nn.Parameter(weight, requires_grad=not frozen)  # (K, D)
        else:
            # Codes that follow averages take no gradient, and LAVIS leaves parameters without gradient out of its
            # checkpoints; as a buffer the codebook is always saved.
            self.register_buffer("codebook", weight)
        self.offsets = nn.Parameter(torch.zeros(num_codes, self.code_dim)) if learn_offsets else None
        self.register_buffer("mean_feature", torch.zeros(dim))  # set where the codes are started
        self.register_buffer("average_count", torch.full((num_codes,), 1.0 / num_codes))
        self.register_buffer("average_sum", weight / num_codes)
        # Use since the last `reset_usage`, for perplexity and dead codes of an epoch. No buffer: data-parallel training
        # overwrites every process's buffers with the first one's.
        self._usage = torch.zeros(num_codes, dtype=torch.long)

    @torch.no_grad()
    def set_codes(self, codes: Tensor) -> None:
        """Start the codebook from ``codes``, (K, code_dim).

        Raises:
            ValueError: If the shape is not (K, code_dim).
        """
        if codes.shape != self.codebook.shape:
            raise ValueError(f"codes have shape {tuple(codes.shape)}, expected {tuple(self.codebook.shape)}.")
        codes = self._unit(codes.to(self.codebook))
        self.codebook.copy_(codes)
        self.average_count.fill_(1.0 / self.num_codes)
        self.average_sum.copy_(codes / self.num_codes)

    def lookup_space(self, features: Tensor) -> Tensor:
        """Features as they are compared with codes, (B, L, D) -> (B, L, code_dim)."""
        if self.context_weight:
            features = features + self.context_weight * (features.mean(-2, keepdim=True) - self.mean_feature)
        return self._unit(self.project_in(features))

    def encode(self, features: Tensor) -> Tensor:
        """Code indices of features, (B, L, D) -> (B, L), int64."""
        return nearest_code(self.lookup_space(features), self._unit(self.codebook))

    def decode(self, codes: Tensor) -> Tensor:
        """Features that code indices stand for, (..., L) -> (..., L, D).

        What is made of them trains the offsets, where there are some, and never the codes, as in `forward`.
        """
        return self.project_out(self._shifted(F.embedding(codes, self._unit(self.codebook.detach())), codes))

    def decoded_codes(self) -> Tensor:
        """The features that all codes stand for, (K, D): ``decoded_codes()[codes]`` is ``decode(codes)``."""
        return self.decode(torch.arange(self.num_codes, device=self.codebook.device))

    def forward(self, features: Tensor) -> Quantized:
        """Quantize features, (B, L, D); in training mode codes also learn from them."""
        x = self.lookup_space(features)
        codebook = self._unit(self.codebook)
        codes = nearest_code(x, codebook)  # (B, L)
        self.count_use(codes)
        quantized = F.embedding(codes, codebook)
        # Symmetric: features are pulled to codes, and codes to features unless averages move them already.
        loss = self.beta * F.mse_loss(x.float(), quantized.detach().float())
        if self.decay is None and not self.frozen:
            loss = loss + F.mse_loss(quantized.float(), x.detach().float())
        elif self.training and not self.frozen:
            self._follow(x.detach().float().reshape(-1, self.code_dim), codes.reshape(-1))
        straight_through = x + (quantized - x).detach()
        return Quantized(self.project_out(self._shifted(straight_through, codes)), codes, loss)

    def count_use(self, codes: Tensor) -> None:
        """Add codes of any shape to what `usage_stats` is about; `forward` does it itself."""
        self._usage = self._usage.to(codes.device) + torch.bincount(codes.reshape(-1), minlength=self.num_codes)

    def usage_stats(self) -> dict[str, float]:
        """Perplexity and number of dead codes since the last `reset_usage`."""
        counts = self.all_reduce(self._usage.to(self.codebook.device, copy=True))
        return {"perplexity": codebook_perplexity(counts), "dead_codes": int((counts == 0).sum())}

    def reset_usage(self) -> None:
        self._usage.zero_()

    def _shifted(self, x: Tensor, codes: Tensor) -> Tensor:
        """``x`` (B, L, code_dim) with the offsets of its codes (B, L)."""
        return x if self.offsets is None else x + F.embedding(codes, self.offsets)

    def _unit(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1) if self.normalize else x

    @torch.no_grad()
    def _follow(self, x: Tensor, codes: Tensor) -> None:
        """Move each code to the moving average of its features; ``x`` (N, D), ``codes`` (N,)."""
        count = torch.zeros_like(self.average_count).index_add_(0, codes, torch.ones_like(codes, dtype=x.dtype))
        total = torch.zeros_like(self.average_sum).index_add_(0, codes, x)
        count, total = self.all_reduce(count), self.all_reduce(total)
        num = count.sum()
        self.average_count.lerp_(count / num, 1 - self.decay)
        self.average_sum.lerp_(total / num, 1 - self.decay)
        self.codebook.copy_(self._unit(self.average_sum / self.average_count.clamp(min=1e-9).unsqueeze(1)))
        if self.revive_below > 0:
            self._revive(x)

    @torch.no_grad()
    def _revive(self, x: Tensor) -> None:
        """Restart dead codes at features of the batch that are spread over it, the same on every process."""
        dead = (self.average_count < self.revive_below / self.num_codes).nonzero().squeeze(1)
        dead = dead[: len(x)]
        if len(dead) == 0:
            return
        spread = torch.linspace(0, len(x) - 1, len(dead), device=x.device).round().long()
        picks = self.broadcast(x[spread].contiguous())
        self.codebook[dead] = picks
        self.average_count[dead] = 1.0 / self.num_codes
        self.average_sum[dead] = picks / self.num_codes
