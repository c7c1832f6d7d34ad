"""The codebook captioner: visual encoder, codebook, text decoder (TL;DR, sec. 3.1 and 3.3).

Shapes: B images, L patch tokens, D encoder width, K codes, n captions an image, T tokens, V vocabulary.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from lavis.common.registry import registry
from lavis.models.base_model import BaseModel
from torch import Tensor, nn

from lavis_tldr.codebook.quantizer import VectorQuantizer
from lavis_tldr.models.captioner_config import build_captioner_parts
from lavis_tldr.models.collectives import all_reduce, broadcast
from lavis_tldr.models.generation import DecodingOptions, OutputTokens, generate
from lavis_tldr.models.image_encoding import ImageEncoding, pool_tokens
from lavis_tldr.models.sampling import SamplingOptions, sample
from lavis_tldr.models.text_decoder import CodeMemory, Memory, TextDecoder, without_patches
from lavis_tldr.models.tokenizer import CaptionTokenizer
from lavis_tldr.models.weights_digest import parameters_digest_of

_CONFIGS = Path(__file__).parent.parent / "configs" / "models"
_IGNORED = -100  # target of a token that is not trained on


@registry.register_model("codebook_captioner")
class CodebookCaptioner(BaseModel):
    """Captions an image from the codes of its patches and its pooled feature.

    Model types: ``base`` (ViT-B/16 and BERT-base, the paper's), ``small`` (ViT-S/14 and a 6-layer BERT of width 384),
    ``tiny`` (for tests; seconds on a CPU).

    Samples, as `forward` takes them:
        image: (B, 3, H, W), or instead of it
        image_tokens: (B, 1 + L, D), [CLS] first, of a still encoder, computed once, or instead of it
        images: `ImageEncoding` of B images, where the codes are still as well;
        text_input: B n captions: those of the first image, those of the second, ...

    Args:
        visual_encoder: Gives (B, 1 + L, D), [CLS] first.
        quantizer: The codebook, or None for the same captioner without one (a comparison).
        decoder: The language model.
        tokenizer: Its vocabulary.
        num_patches: L.
        freeze_encoder: Keep the encoder still (and in eval mode).
        pooled_tokens: Give the decoder two tokens more than the patches': their mean before quantizing, and [CLS].
            Differs from the paper, whose decoder has the codes alone: what quantizing loses is what the image is
            about as a whole, and these say it in 4 D bytes an image, which `encode` stores anyway.
        patch_tokens: Give the decoder the patches' codes. Without, it has the pooled tokens alone, and codes are only
            clustered: from a few thousand captions it learns more so, since it does not learn codes by heart.
        patch_dropout: Share of training batches in which the decoder is given the pooled tokens alone, so that it does
            not pass them by for the codes. Where it has but one of the two it is 0.
        max_text_length: Longest caption in training, in tokens.
        label_smoothing: Of the language-modelling loss.
        commitment_weight: Weight of the commitment loss.
    """

    PRETRAINED_MODEL_CONFIG_DICT = {
        name: str(_CONFIGS / f"codebook_captioner_{name}.yaml") for name in ("base", "small", "tiny")
    }

    def __init__(
        self,
        visual_encoder: nn.Module,
        quantizer: VectorQuantizer | None,
        decoder: TextDecoder,
        tokenizer: CaptionTokenizer,
        *,
        num_patches: int,
        encoder_width: int,
        freeze_encoder: bool = True,
        pooled_tokens: bool = True,
        patch_tokens: bool = True,
        patch_dropout: float = 0.0,
        max_text_length: int = 30,
        label_smoothing: float = 0.1,
        commitment_weight: float = 1.0,
    ):
        super().__init__()
        if not 0 <= patch_dropout < 1:
            raise ValueError(f"model.patch_dropout is {patch_dropout}; expected a share of batches, in [0, 1).")
        if not (patch_tokens or pooled_tokens):
            raise ValueError("model.patch_tokens and model.pooled_tokens are both False: captions need one of them.")
        if not patch_tokens and quantizer is not None and quantizer.offsets is not None:
            raise ValueError("model.learn_offsets is True, but without model.patch_tokens nothing trains offsets.")
        self.visual_encoder = visual_encoder
        self.quantizer = quantizer
        self.decoder = decoder
        self.tokenizer = tokenizer
        self.num_patches, self.encoder_width = num_patches, encoder_width
        # A code says what is in a patch, not where; the decoder is told where by this.
        position = torch.randn(num_patches, encoder_width) * 0.02
        self.patch_position = nn.Parameter(position) if patch_tokens else None  # (L, D)
        self.pooled_position = nn.Parameter(torch.randn(2, encoder_width) * 0.02) if pooled_tokens else None  # (2, D)
        self.patch_dropout = patch_dropout if patch_tokens and pooled_tokens else 0.0
        self.freeze_encoder = freeze_encoder
        self.max_text_length, self.label_smoothing = max_text_length, label_smoothing
        self.commitment_weight = commitment_weight
        # What else belongs to the weights: which tokens captions may use, each code's keyword, and whether the
        # codebook was started from data.
        self.output_tokens: list[int] = []
        self.code_names: list[str] = []
        self.codebook_started = False
        self.stats: dict[str, float] = {}
        if freeze_encoder:
            self.visual_encoder.requires_grad_(False)
        if quantizer is not None:
            quantizer.all_reduce, quantizer.broadcast = all_reduce, broadcast

    # Building

    @classmethod
    def from_config(cls, cfg) -> "CodebookCaptioner":
        """Build from a LAVIS model config; see configs/models for the keys.

        Raises:
            ValueError: If a weight file is absent or does not fit, or a key is unknown.
        """
        parts, options, checkpoint = build_captioner_parts(cfg)
        model = cls(**parts, **options)
        if checkpoint is not None:
            # A checkpoint to start from may have been trained without a codebook; a trained captioner may not.
            add_codebook = not cfg.get("load_finetuned", False)
            model.load_weights(checkpoint["state"], checkpoint["path"], add_codebook=add_codebook)
        return model

    def load_weights(self, state: dict, where: str, *, add_codebook: bool = False) -> None:
        """Load a checkpoint of this model.

        A still encoder is left out of checkpoints. It may then be absent, if this model has the same one.

        Args:
            state: The weights.
            where: The file that they are from, for messages.
            add_codebook: Take a checkpoint without a codebook as well: the one that was warmed up before quantizing.
                The task then starts the codes.

        Raises:
            ValueError: If a weight is missing, left over or of another shape, or the encoder is another.
        """
        try:
            result = self.load_state_dict(state, strict=False)
        except RuntimeError as error:
            raise ValueError(f"{where} does not fit this model: {error}") from error
        absent = result.missing_keys
        if add_codebook and not any(name.startswith("quantizer.") for name in state):
            absent = [name for name in absent if not name.startswith("quantizer.")]
        missing = [name for name in absent if not name.startswith("visual_encoder.")]
        if missing or result.unexpected_keys:
            raise ValueError(
                f"{where} does not fit this model: {len(missing)} weights missing (first: {missing[:1]}), "
                f"{len(result.unexpected_keys)} left over (first: {result.unexpected_keys[:1]}). "
                "Use the model_type, num_codes, quantize, patch_tokens and pooled_tokens that it was trained with; "
                "captioners of version 0.1 had model.pooled_tokens: False, model.context_weight: 2.0 and "
                "model.learn_offsets: True."
            )
        if absent and state["_extra_state"].get("encoder_digest") != self.encoder_digest():
            raise ValueError(
                f"{where} leaves out the visual encoder, and was trained with another one than this model has. Set "
                "model.vit_weights to the file that it was trained with; an encoder that started random is kept in "
                "checkpoints only with run.save_frozen: True."
            )

    def encoder_digest(self) -> str:
        """Digest of the visual encoder's weights."""
        return parameters_digest_of(self.visual_encoder)

    def get_extra_state(self) -> dict:
        return {
            "vocabulary": self.tokenizer.vocabulary,
            "output_tokens": self.output_tokens,
            "code_names": self.code_names,
            "codebook_started": self.codebook_started,
            "encoder_digest": self.encoder_digest() if self.freeze_encoder else "",
        }

    def set_extra_state(self, state: dict) -> None:
        if state["vocabulary"] != self.tokenizer.vocabulary:
            raise RuntimeError("the checkpoint's vocabulary is not this model's")
        self.output_tokens = list(state["output_tokens"])
        self.code_names = list(state["code_names"])
        self.codebook_started = bool(state["codebook_started"])

    def allow_tokens(self, captions: list[str]) -> None:
        """Let captions use the tokens of ``captions`` besides those allowed before.

        The vocabulary head then runs over these alone: a BERT's vocabulary is several times what captions use, and
        on a CPU the head would cost more than the decoder.
        """
        ids = {token for row in self.tokenizer.encode(captions, self.max_text_length) for token in row}
        ids |= {self.tokenizer.pad, self.tokenizer.bos, self.tokenizer.eos, *self.output_tokens}
        self.output_tokens = sorted(ids)

    def _output_rows(self) -> Tensor | None:
        """Ids of the tokens that captions may use, sorted; None for all."""
        return torch.tensor(self.output_tokens, device=self.device) if self.output_tokens else None

    def _said_tokens(self) -> OutputTokens:
        """What captions may say: not [UNK], which may be learnt from captions, but says nothing."""
        t, rows = self.tokenizer, self._output_rows()
        said = rows if rows is None else rows[rows != t.unk]
        return OutputTokens(said, len(t), t.bos, t.eos, t.pad)

    def train(self, mode: bool = True) -> "CodebookCaptioner":
        super().train(mode)
        if self.freeze_encoder:
            self.visual_encoder.eval()
        return self

    # Image side

    def encode_tokens(self, image: Tensor) -> Tensor:
        """The encoder's output, [CLS] first, (B, 3, H, W) -> (B, 1 + L, D)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_encoder):
            return self.visual_encoder(image)

    @property
    def pooled_width(self) -> int:
        """2 D, the width of what `pool_tokens` gives."""
        return 2 * self.encoder_width

    def image_tokens(self, samples: dict) -> Tensor:
        """The encoder's output of a batch, from its images or as it comes with it, (B, 1 + L, D)."""
        if "image_tokens" in samples:
            return samples["image_tokens"].to(self.device).float()
        return self.encode_tokens(samples["image"].to(self.device))

    def quantize_tokens(self, tokens: Tensor) -> ImageEncoding:
        """What is kept of images, (B, 1 + L, D).

        Raises:
            ValueError: If the model was built without a codebook.
        """
        if self.quantizer is None:
            raise ValueError("this captioner has no codebook (quantize: False), so images have no codes.")
        return ImageEncoding(self.quantizer.encode(tokens[:, 1:]), pool_tokens(tokens))

    def encode_images(self, samples: dict) -> ImageEncoding:
        """`quantize_tokens` of a batch as `forward` takes it."""
        if "images" in samples:
            return samples["images"].to(self.device)
        return self.quantize_tokens(self.image_tokens(samples))

    def memory(self, patches: Tensor, pooled: Tensor) -> Tensor:
        """What the decoder attends to.

        Args:
            patches: Quantized patch features, or unquantized without a codebook, (B, L, D).
            pooled: Of `pool_tokens`, (B, 2 D).

        Returns:
            (B, L + 2, D); without ``pooled_tokens`` (B, L, D), without or with dropped patches (B, 2, D).
        """
        others = self._pooled_memory(pooled).to(patches.dtype)
        if self.patch_position is None:
            return others
        return self._without_dropped(torch.cat([patches + self.patch_position, others], 1))

    def memory_of(self, images: ImageEncoding) -> Memory:
        """`memory` of B images by what is kept of them."""
        others = self._pooled_memory(images.pooled)
        if self.patch_position is None:
            return others
        table = self.quantizer.decoded_codes()
        return self._without_dropped(CodeMemory(images.codes, table, self.patch_position, others))

    def _without_dropped(self, memory: Memory) -> Memory:
        """The memory as ``patch_dropout`` leaves it: with all patches of the batch, or none."""
        # Not image by image: what is left out then costs nothing either.
        if self.training and self.patch_dropout and float(torch.rand(())) < self.patch_dropout:
            return without_patches(memory, self.num_patches)
        return memory

    def _pooled_memory(self, pooled: Tensor) -> Tensor:
        """The tokens that pooled features (B, 2 D) make, (B, 2, D), or (B, 0, D) without ``pooled_tokens``."""
        if self.pooled_position is None:
            return pooled.new_zeros(len(pooled), 0, self.encoder_width).float()
        # In the precision that it is stored in, so that training sees what refining will.
        return pooled.half().float().unflatten(1, (2, -1)) + self.pooled_position

    # Text side

    def token_ids(self, captions: list[str]) -> Tensor:
        """Token ids padded at the end, (N, T), on the model's device."""
        rows = self.tokenizer.encode(captions, self.max_text_length)
        ids = torch.full((len(rows), max(map(len, rows))), self.tokenizer.pad)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
        return ids.to(self.device)

    def forward(self, samples: dict) -> dict:
        """Language-modelling loss plus commitment loss (sec. 3.1).

        Returns:
            ``loss`` and, detached, ``loss_lm`` and ``loss_commitment``.
        """
        memory, commitment = self._memory_and_commitment(samples)
        ids = self.token_ids(samples["text_input"])
        hidden = self.decoder(ids[:, :-1], memory)
        target = ids[:, 1:]
        counted = target != self.tokenizer.pad
        rows = self._output_rows()
        logits = self.decoder.logits(hidden[counted], rows)
        wanted = target[counted]
        if rows is not None:
            places = torch.searchsorted(rows, wanted).clamp(max=len(rows) - 1)
            # A token that captions may not use has no score, and is not trained on.
            wanted = places.masked_fill(rows[places] != wanted, _IGNORED)
        loss_lm = F.cross_entropy(logits.float(), wanted, ignore_index=_IGNORED, label_smoothing=self.label_smoothing)
        loss = loss_lm + self.commitment_weight * commitment
        return {"loss": loss, "loss_lm": loss_lm.detach(), "loss_commitment": commitment.detach()}

    def _memory_and_commitment(self, samples: dict) -> tuple[Memory, Tensor]:
        """What the decoder attends to, and the commitment loss."""
        if "images" in samples:
            images = self.encode_images(samples)
            self.quantizer.count_use(images.codes)
            return self.memory_of(images), torch.zeros((), device=self.device)
        tokens = self.image_tokens(samples)
        patches = tokens[:, 1:]
        if self.quantizer is None:
            return self.memory(patches, pool_tokens(tokens)), patches.new_zeros(())
        quantized = self.quantizer(patches)
        # Where the straight-through gradient reaches nothing that learns, codes alone give the same at less cost.
        if patches.requires_grad or self.quantizer.projects:
            memory = self.memory(quantized.features, pool_tokens(tokens))
        else:
            memory = self.memory_of(ImageEncoding(quantized.codes, pool_tokens(tokens)))
        return memory, quantized.commitment_loss

    @torch.no_grad()
    def generate_from(self, images: ImageEncoding, options: DecodingOptions) -> list[str]:
        """Captions of B images by what is kept of them."""
        return self._generate(self.memory_of(images), options)

    @torch.no_grad()
    def sample_from(
        self, images: ImageEncoding, options: DecodingOptions, sampling: SamplingOptions, uniforms: Tensor
    ) -> list[list[str]]:
        """Captions drawn for B images, s of each; ``uniforms`` of `sampling.uniforms_of` decide the draws."""
        found = sample(self.decoder, self.memory_of(images), self._said_tokens(), options, sampling, uniforms)
        return [[self.tokenizer.decode(ids) for ids in captions] for captions in found]

    @torch.no_grad()
    def generate(self, samples: dict, options: DecodingOptions | None = None) -> list[str]:
        """Captions of a batch of images; greedy without ``options``."""
        options = options or DecodingOptions()
        if self.quantizer is not None:
            return self.generate_from(self.encode_images(samples), options)
        tokens = self.image_tokens(samples)
        return self._generate(self.memory(tokens[:, 1:], pool_tokens(tokens)), options)

    def _generate(self, memory: Memory, options: DecodingOptions) -> list[str]:
        return [self.tokenizer.decode(ids) for ids in generate(self.decoder, memory, self._said_tokens(), options)]

    @torch.no_grad()
    def caption_log_likelihood(self, images: ImageEncoding, captions: list[str] | Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability of captions given their images.

        Args:
            images: M images; the number of captions is a multiple of M, ordered as in `forward`.
            captions: N captions, or what `token_ids` makes of them, (N, T).

        Returns:
            Sum over the tokens of each caption, (N,), and the number of tokens, (N,). [CLS] does not count, nor do
            tokens that captions were never trained to use.
        """
        ids = captions if isinstance(captions, Tensor) else self.token_ids(captions)
        hidden = self.decoder(ids[:, :-1], self.memory_of(images))
        target = ids[:, 1:]
        counted = target != self.tokenizer.pad
        rows = self._output_rows()
        if rows is not None:
            counted &= torch.isin(target, rows)
        log_p = self.decoder.logits(hidden[counted], rows).float().log_softmax(-1)  # (number of tokens, V)
        wanted = target[counted] if rows is None else torch.searchsorted(rows, target[counted])
        token_log_p = torch.zeros(target.shape, device=ids.device)
        token_log_p[counted] = log_p.gather(-1, wanted[:, None])[:, 0]
        return token_log_p.sum(1), counted.sum(1)
