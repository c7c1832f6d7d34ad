"""The model ``clip_pretrain``: LAVIS's CLIP for pretraining, from scratch or from given towers."""

from pathlib import Path

from lavis.common.registry import registry
from torch import Tensor

from lavis_tldr.models.clip_config import build_stock_towers, build_two_towers, read_clip_config
from lavis_tldr.models.clip_conversion import with_positions_for
from lavis_tldr.models.clip_tokenizers import BPETokenizer
from lavis_tldr.models.clip_towers import TwoTowerClip
from lavis_tldr.models.contrastive_clip import ContrastiveClip
from lavis_tldr.models.patch_dropout import PatchDropout
from lavis_tldr.user_errors import closest

_CONFIGS = Path(__file__).parent.parent / "configs" / "models"
_TYPES = ("ViT-B-32", "ViT-B-16", "base", "small", "tiny")


@registry.register_model("clip_pretrain")
class ClipPretrain(ContrastiveClip):
    """CLIP with LAVIS's own towers, or by `from_config` a `TwoTowerClip`.

    Model types: ``ViT-B-32``, ``ViT-B-16`` (from scratch; their weights convert to stock ``clip``), ``base`` (ViT-B/16
    and BERT-base), ``small`` (ViT-S/14 and a 6-layer BERT of width 384), ``tiny`` (for tests; seconds on a CPU).

    Args:
        embed_dim: Width of the embeddings.
        vision_cfg: ``image_size``, ``layers``, ``width``, ``patch_size`` of a plain ViT.
        text_cfg: ``context_length``, ``vocab_size``, ``width``, ``heads``, ``layers``.
        quick_gelu: OpenAI's activation.
        loss: ``contrastive`` or ``sigmoid``.
        patch_dropout: Share of the patches that the image tower does not see in training.
    """

    PRETRAINED_MODEL_CONFIG_DICT = {
        name: str(_CONFIGS / f"clip_pretrain_{name.lower().replace('-', '_')}.yaml") for name in _TYPES
    }

    def __init__(
        self,
        embed_dim: int,
        vision_cfg: dict,
        text_cfg: dict,
        quick_gelu: bool = False,
        *,
        loss: str = "contrastive",
        patch_dropout: float = 0.0,
    ):
        super().__init__(embed_dim, vision_cfg, text_cfg, quick_gelu)
        self.tokenizer = BPETokenizer(self.context_length)
        self.start_loss(loss)
        if patch_dropout:
            self.visual.ln_pre.register_forward_hook(PatchDropout(patch_dropout))

    @classmethod
    def default_config_path(cls, model_type: str = "ViT-B-32") -> str:
        """The packaged default of a model type; stock takes ``base`` for ViT-B-32.

        Raises:
            ValueError: If there is no such type.
        """
        types = cls.PRETRAINED_MODEL_CONFIG_DICT
        if model_type not in types:
            raise ValueError(f"clip_pretrain has no model_type {model_type!r}{closest(model_type, types)}.")
        return types[model_type]

    @classmethod
    def from_config(cls, cfg) -> ContrastiveClip:
        """Build from a LAVIS model config; see configs/models for the keys.

        Raises:
            ValueError: If a key is unknown, a value out of range, or a weight file absent or wrong.
        """
        config, checkpoint = read_clip_config(cfg)
        if "architecture" in config:
            model = cls(**build_stock_towers(config))
        else:
            model = TwoTowerClip(**build_two_towers(config, checkpoint))
        if checkpoint is not None:
            model.load_weights(checkpoint.state, checkpoint.path)
        return model

    def encode_image(self, image: Tensor) -> Tensor:
        """Embeddings of images (B, 3, H, W).

        Raises:
            ValueError: If they are something else, such as ``image_features``.
        """
        if image.ndim != 4:
            raise ValueError(
                f"the image tower was given {tuple(image.shape)}; expected images, (B, 3, H, W). image_features are "
                "for model types with a frozen tower (model.freeze_vit), such as small."
            )
        return super().encode_image(image)

    def load_weights(self, state: dict, where: str) -> None:
        """Load a checkpoint of this model; positions are resized to this model's image size.

        Args:
            state: The weights.
            where: The file that they are from, for messages.

        Raises:
            ValueError: If a weight is missing, left over or of another shape.
        """
        state = with_positions_for(state, "visual.positional_embedding", self.visual.positional_embedding)
        try:
            self.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(
                f"{where} does not fit this model; use the model_type, max_text_length and model.loss that it was "
                f"trained with: {error}"
            ) from error
