"""What all ViLT models share: building from a config, loading, reading pairs, freezing.

Shapes: B pairs, T text tokens, P patches, D width.
"""

from typing import ClassVar

from lavis.models.base_model import BaseModel
from torch import Tensor, nn

from lavis_tldr.models.contrastive_loss import contrastive_loss
from lavis_tldr.models.tokenizer import CaptionTokenizer
from lavis_tldr.models.vilt.checkpoint import Checkpoint, absent_digest, find_checkpoint, load_weights
from lavis_tldr.models.vilt.config import build_sizes, build_tokenizer, read_config
from lavis_tldr.models.vilt.heads import ContrastiveHead
from lavis_tldr.models.vilt.network import ViltNetwork, ViltSizes
from lavis_tldr.models.vilt.starting import start_from_bert, start_from_vit
from lavis_tldr.models.vilt.tower import FrozenTower, build_tower


class ViltModel(BaseModel):
    """The one-stream transformer under a LAVIS model; subclasses put heads on it.

    Images come as ``samples["image"]``, (B, 3, H, W) of any size, normalised with mean and standard deviation 0.5 for
    public weights. Over a frozen tower, ``samples["image_features"]``, (B, 1 + L, C), may stand in their place. Where
    images of a batch are padded, ``samples["pixel_mask"]``, (B, H, W), is True on their pixels.

    Args:
        sizes: The network's.
        tokenizer: Of the texts.
        freeze_layers: Keeps still (no gradient, no dropout) what embeds images, which is patch, [CLS] and position
            embeddings, and the first so many blocks; 0 trains all. Text embeddings below the frozen blocks are
            trained, so that gradients pass through these: it spares their weights' gradients and optimizer state.
        itc_width: Of the space that images and texts, each read alone, are put into by a contrastive head; 0: none.
            The published ViLT has none; TL;DR trains all its architectures with one (sec. 4.4).

    Attributes:
        itc: That head, or None.
    """

    MODALITY_TYPES: ClassVar[int] = 2
    OPTIONS: ClassVar[tuple[str, ...]] = ()  # config keys that are arguments of the subclass

    def __init__(self, sizes: ViltSizes, tokenizer: CaptionTokenizer, *, freeze_layers: int = 0, itc_width: int = 0):
        super().__init__()
        if not 0 <= freeze_layers <= sizes.depth:
            raise ValueError(f"model.freeze_layers is {freeze_layers}; the network has {sizes.depth} blocks.")
        self.vilt = ViltNetwork(sizes)
        self.itc = ContrastiveHead(sizes.width, itc_width) if itc_width else None
        self.visual_encoder: FrozenTower | None = None
        self.tokenizer = tokenizer
        self.max_text_length = sizes.max_text_length
        self.freeze_layers = freeze_layers
        for part in self._frozen_parts():
            part.requires_grad_(False)

    # Building

    @classmethod
    def from_config(cls, cfg) -> "ViltModel":
        """Build from a LAVIS model config; see configs/models for the keys.

        Raises:
            ValueError: If a key is unknown, or a file is absent or does not fit.
        """
        config = read_config(cfg, cls.PRETRAINED_MODEL_CONFIG_DICT)
        checkpoint = find_checkpoint(config)
        tokenizer = build_tokenizer(config, checkpoint and checkpoint.vocabulary)
        sizes = build_sizes(config, len(tokenizer), cls.MODALITY_TYPES)
        model = cls(sizes, tokenizer, freeze_layers=config["freeze_layers"], **cls.options(config, checkpoint))
        model.visual_encoder = build_tower(config)
        if config["vit_weights"] and model.visual_encoder is None:
            start_from_vit(model.vilt, config["vit_weights"])
        if checkpoint is not None:
            load_weights(model, checkpoint)
        elif config["text_weights"]:
            start_from_bert(model.vilt, config["text_weights"], model.output_words())
        return model

    @classmethod
    def options(cls, config: dict, checkpoint: Checkpoint | None) -> dict:
        """Arguments of the subclass, from its config and the checkpoint that it will load."""
        return {key: config[key] for key in cls.OPTIONS}

    def adapt_state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A checkpoint's weights in the names and shapes of this model."""
        return state

    def output_words(self) -> Tensor | None:
        """Weights of a head over the vocabulary, (V, D), if the model has one."""
        return None

    def get_extra_state(self) -> dict:
        frozen = [name for name, parameter in self.named_parameters() if not parameter.requires_grad]
        return {"vocabulary": self.tokenizer.vocabulary, "frozen_digest": absent_digest(self, frozen)}

    def set_extra_state(self, state: dict) -> None:
        if state["vocabulary"] != self.tokenizer.vocabulary:
            raise RuntimeError("the checkpoint's vocabulary is not this model's")

    # Freezing

    def _frozen_parts(self) -> list[nn.Module | nn.Parameter]:
        if not self.freeze_layers:
            return []
        embeddings = self.vilt.embeddings
        images = [embeddings.patch_embeddings, embeddings.cls_token, embeddings.position_embeddings]
        return [*images, *self.vilt.encoder.layer[: self.freeze_layers]]

    def train(self, mode: bool = True) -> "ViltModel":
        super().train(mode)
        for part in self._frozen_parts():
            if isinstance(part, nn.Module):
                part.eval()
        return self

    # Reading pairs

    def tokenize(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """WordPieces of texts, [CLS] first and [SEP] last, padded to the longest.

        Returns:
            Ids, (B, T), and where they are not padding, (B, T) bool.
        """
        ids, mask = self.tokenizer.encode_padded(texts, self.max_text_length)
        return ids.to(self.device), mask.to(self.device)

    def itc_image(self, image: Tensor, image_mask: Tensor | None = None) -> Tensor:
        """Unit embeddings of images by the contrastive head, (B, E); arguments as `embed_image` gives them."""
        return self.itc.embed_image(self.vilt.read_alone(image, image_mask))

    def itc_text(self, ids: Tensor, text_mask: Tensor) -> Tensor:
        """Unit embeddings of texts by the contrastive head, (B, E); arguments as `tokenize` gives them."""
        return self.itc.embed_text(self.vilt.read_alone(self.vilt.embeddings.embed_text(ids), text_mask))

    def itc_loss(self, image: Tensor, image_mask: Tensor | None, ids: Tensor, text_mask: Tensor) -> Tensor:
        """InfoNCE both ways over the pairs of all processes, a scalar."""
        return contrastive_loss(self.itc_image(image, image_mask), self.itc_text(ids, text_mask), self.itc.scale())

    def embed_image(self, samples: dict, key: str = "image", image_type: int = 1) -> tuple[Tensor, Tensor | None]:
        """Tokens of ``samples[key]``, (B, 1 + P, D), and their mask; see `ViltNetwork.embed_image`.

        The mask of ``image0`` is ``pixel_mask0``, and so on.
        """
        if self.visual_encoder is not None:
            features, image = samples.get(key.replace("image", "image_features")), samples.get(key)
            given = (x if x is None else x.to(self.device) for x in (image, features))
            return self.vilt.embed_image(self.visual_encoder.feature_map(*given), None, image_type)
        mask = samples.get(key.replace("image", "pixel_mask"))
        image = samples[key].to(self.device)
        return self.vilt.embed_image(image, mask if mask is None else mask.to(self.device), image_type)
