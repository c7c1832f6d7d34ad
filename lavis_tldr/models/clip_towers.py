"""CLIP of two towers that may have been trained before: a ViT and a BERT.

Shapes: B images or texts, T tokens, L patches, D width of the ViT, W of the BERT, E embedding width.
"""

import torch
from lavis.models.clip_models.model import CLIP, openai_imagenet_template
from torch import Tensor, nn

from lavis_tldr.models.clip_conversion import with_positions_for
from lavis_tldr.models.clip_tokenizers import WordPieceTokenizer
from lavis_tldr.models.contrastive_clip import ContrastiveClip
from lavis_tldr.models.image_encoding import pool_tokens
from lavis_tldr.models.patch_dropout import PatchDropout
from lavis_tldr.models.text_decoder import TextDecoder
from lavis_tldr.models.tokenizer import CaptionTokenizer
from lavis_tldr.models.weights_digest import weights_digest

_TOWERS = ("visual_encoder", "text_encoder")
_TEXTS_AT_ONCE = 16  # on a CPU


class TwoTowerClip(ContrastiveClip):
    """See above.

    An image's embedding is a projection of [CLS] and of the mean patch, side by side. A ViT from ImageNet labels has in
    [CLS] what the image is of; one trained without labels, and one that starts random, has much in its patches that
    [CLS] leaves out. The projection takes from each what texts tell. A text's is a projection of its mean last hidden
    state, as sentence encoders such as MiniLM are trained.

    Args:
        visual_encoder: Gives (B, 1 + L, D), [CLS] first.
        text_encoder: Its cross-attention and vocabulary head are taken off.
        tokenizer: The text encoder's vocabulary.
        embed_dim: E.
        max_text_length: Longest text in tokens.
        loss: ``contrastive`` or ``sigmoid``.
        patch_dropout: Share of the patches that the image tower does not see in training.
        freeze_vit: Keep the image tower still, and in eval mode; ``image_features`` may then stand for images.
        freeze_text: Keep the text tower still, and in eval mode.

    Raises:
        ValueError: If options do not go together.
    """

    def __init__(
        self,
        visual_encoder: nn.Module,
        text_encoder: TextDecoder,
        tokenizer: CaptionTokenizer,
        *,
        embed_dim: int,
        max_text_length: int,
        loss: str = "contrastive",
        patch_dropout: float = 0.0,
        freeze_vit: bool = False,
        freeze_text: bool = False,
    ):
        super(CLIP, self).__init__()  # not CLIP's own, which builds other towers
        if patch_dropout and freeze_vit:
            raise ValueError(
                f"model.patch_dropout is {patch_dropout}, but model.freeze_vit is True: a frozen tower sees all "
                "patches. Set one of them to 0 or False."
            )
        self.visual_encoder = visual_encoder
        if patch_dropout:
            visual_encoder.pos_drop.register_forward_hook(PatchDropout(patch_dropout))
        self.text_encoder = text_encoder
        text_encoder.drop_decoding()
        self.image_width, text_width = visual_encoder.embed_dim, len(text_encoder.segment_embedding)
        self.vision_proj = nn.Linear(2 * self.image_width, embed_dim, bias=False)
        self.text_proj = nn.Linear(text_width, embed_dim, bias=False)
        for projection in (self.vision_proj, self.text_proj):
            nn.init.normal_(projection.weight, std=projection.in_features**-0.5)
        self.start_loss(loss)
        self.tokenizer = WordPieceTokenizer(tokenizer, max_text_length)
        self.context_length = max_text_length
        # What LAVIS's zero-shot classification reads.
        self.prompt_templates, self.classifier = openai_imagenet_template, None
        self._frozen = [name for name, frozen in zip(_TOWERS, (freeze_vit, freeze_text), strict=True) if frozen]
        for name in self._frozen:
            getattr(self, name).requires_grad_(False)

    def train(self, mode: bool = True) -> "TwoTowerClip":
        super().train(mode)
        for name in self._frozen:
            getattr(self, name).eval()
        return self

    def encode_image(self, image: Tensor) -> Tensor:
        """Embeddings, (B, E), of images (B, 3, H, W), or of what the frozen tower gives for them, (B, 1 + L, D).

        Raises:
            ValueError: If such features come to a tower that is trained, or are of another width.
        """
        if image.ndim == 4:
            image = self._tower("visual_encoder", self.visual_encoder, image)
        elif "visual_encoder" not in self._frozen:
            raise ValueError(
                "samples bring image_features, but the image tower is trained (model.freeze_vit: False) and needs "
                "images. Freeze it, or leave the features out of the dataset's config."
            )
        elif image.ndim != 3 or image.shape[-1] != self.image_width:
            raise ValueError(
                f"image_features have shape {tuple(image.shape)}; expected (images, 1 + patches, {self.image_width}), "
                "what this model's image tower gives."
            )
        return self.vision_proj(pool_tokens(image))

    def encode_text(self, text: Tensor) -> Tensor:
        """Embeddings, (B, E), of token ids (B, T), padded."""
        return self.text_proj(self._tower("text_encoder", self._embed_text, text))

    def _embed_text(self, ids: Tensor) -> Tensor:
        """Sentence embeddings of token ids (B, T), (B, W)."""
        counted = ids != self.tokenizer.tokenizer.pad
        if ids.device.type != "cpu":
            return self.text_encoder.embed_text(ids, counted)
        # Texts of like length together: on a CPU padding costs what words do, and few texts are as long as the longest.
        lengths = counted.sum(1)
        order = lengths.argsort(stable=True)
        found = []
        for rows in order.split(_TEXTS_AT_ONCE):
            longest = int(lengths[rows[-1]])
            found.append(self.text_encoder.embed_text(ids[rows, :longest], counted[rows, :longest]))
        return torch.cat(found)[order.argsort()]

    def _tower(self, name: str, encode, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and name not in self._frozen):
            return encode(x)

    # Checkpoints

    def get_extra_state(self) -> dict:
        """The vocabulary, and which weights the frozen towers have, which LAVIS leaves out of its checkpoints."""
        digests = {name: weights_digest(getattr(self, name), {}) for name in self._frozen}
        return {"vocabulary": self.tokenizer.tokenizer.vocabulary, "frozen_digests": digests}

    def set_extra_state(self, state: dict) -> None:
        if state["vocabulary"] != self.tokenizer.tokenizer.vocabulary:
            raise RuntimeError("the checkpoint's vocabulary is not this model's")

    def load_weights(self, state: dict, where: str) -> None:
        """Load a checkpoint of this model; a tower that was frozen may be absent if this model has the same one.

        Args:
            state: The weights.
            where: The file that they are from, for messages.

        Raises:
            ValueError: If a weight is missing, left over or of another shape, or a frozen tower is another.
        """
        state = with_positions_for(state, "visual_encoder.pos_embed", self.visual_encoder.pos_embed)
        try:
            result = self.load_state_dict(state, strict=False)
        except RuntimeError as error:
            raise ValueError(f"{where} does not fit this model: {error}") from error
        digests = state["_extra_state"]["frozen_digests"]
        missing = [name for name in result.missing_keys if name.split(".")[0] not in digests]
        if missing or result.unexpected_keys:
            raise ValueError(
                f"{where} does not fit this model: {len(missing)} weights missing (first: {missing[:1]}), "
                f"{len(result.unexpected_keys)} left over (first: {result.unexpected_keys[:1]}). Use the model_type, "
                "sizes and model.loss that it was trained with."
            )
        for name in {name.split(".")[0] for name in result.missing_keys}:
            if weights_digest(getattr(self, name), {}) != digests[name]:
                key = "vit_weights" if name == "visual_encoder" else "text_weights"
                raise ValueError(
                    f"{where} leaves out the {name}, which was frozen, and was trained with another one than this "
                    f"model has. Set model.{key} to what it was trained with; a tower that started random is kept in "
                    "checkpoints only with run.save_frozen: True."
                )
