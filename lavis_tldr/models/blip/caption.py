"""``blip_caption_tldr``: LAVIS's BLIP captioning from given towers of any size, or from a pretraining of ours."""

import torch
from lavis.common.registry import registry
from lavis.models.blip_models.blip_caption import BlipCaption
from lavis.models.med import XBertLMHeadDecoder
from torch import Tensor
from transformers import BertTokenizerFast

from lavis_tldr.models.blip.captioner import BeamSearch, BlipCaptioner
from lavis_tldr.models.blip.config import CONFIGS, read_checkpoint, read_known_keys
from lavis_tldr.models.blip.image_tower import ImageTower, build_image_tower
from lavis_tldr.models.blip.text_towers import build_text_towers, build_tokenizer
from lavis_tldr.models.conversion.blip import positions_for
from lavis_tldr.models.given_features import with_image

_PARTS = ("visual_encoder", "text_decoder")


@registry.register_model("blip_caption_tldr")
class BlipCaptionTLDR(BlipCaption):
    """BLIP's captioning; its weights have the names of stock ``blip_caption``.

    Model types: ``base`` (ViT-B/16 and BERT-base), ``small`` (ViT-S/14 and a 6-layer BERT of width 384), ``tiny`` (for
    tests).

    Samples: ``image`` (B, 3, H, W), or, of a frozen tower, ``image_features`` (B, 1 + L, D), [CLS] first; to train,
    ``text_input``, B captions that begin with the prompt.

    Args:
        image_encoder: The image tower.
        text_decoder: Writes captions.
        tokenizer: With [DEC].
        prompt: What captions begin with.
        max_txt_len: Most tokens of a caption that is trained on.
    """

    PRETRAINED_MODEL_CONFIG_DICT = {
        name: str(CONFIGS / f"blip_caption_tldr_{name}.yaml") for name in ("base", "small", "tiny")
    }

    def __init__(
        self,
        image_encoder: ImageTower,
        text_decoder: XBertLMHeadDecoder,
        tokenizer: BertTokenizerFast,
        *,
        prompt: str,
        max_txt_len: int,
    ):
        self._given_tokenizer = tokenizer  # stock's constructor asks for it, and can't be handed one
        super().__init__(image_encoder, text_decoder, prompt=prompt, max_txt_len=max_txt_len)

    def init_tokenizer(self) -> BertTokenizerFast:
        return self._given_tokenizer

    @classmethod
    def from_config(cls, cfg) -> "BlipCaptionTLDR":
        """Build from a LAVIS model config; see configs/models for the keys.

        Raises:
            ValueError: If a key is unknown, or a weight file absent or wrong.
        """
        config = read_known_keys(cfg, "blip_caption_tldr")
        checkpoint = read_checkpoint(config)
        tokenizer = build_tokenizer(config)
        _, decoder = build_text_towers(config, len(tokenizer))
        sizes = {name: config[name] for name in ("prompt", "max_txt_len")}
        model = cls(build_image_tower(config), decoder, tokenizer, **sizes)
        if checkpoint is not None:
            model.load_weights(*checkpoint)
        return model

    def load_weights(self, state: dict[str, Tensor], where: str) -> None:
        """Load a checkpoint of this model, ``blip_caption``, ``blip_pretrain_tldr`` or ``blip_pretrain``.

        Positions are resized to this model's image size; a frozen image tower that the checkpoint lacks stays as it is.

        Args:
            state: The weights.
            where: The file that they are from, for messages.

        Raises:
            ValueError: If a weight is missing, left over or of another shape.
        """
        taken = {name: value for name, value in state.items() if name.split(".")[0] in _PARTS}
        if "visual_encoder.pos_embed" in taken:
            taken = positions_for(taken, self.visual_encoder.patch_embed.img_size[0])
        elif self.visual_encoder.frozen:
            taken |= {name: v for name, v in self.state_dict().items() if name.startswith("visual_encoder.")}
        try:
            self.load_state_dict(taken)
        except RuntimeError as error:
            raise ValueError(
                f"{where} does not fit this model; use the model_type and vocabulary that it was trained with: {error}"
            ) from error

    def forward_encoder(self, samples: dict) -> Tensor:
        return self.visual_encoder(with_image(samples)["image"])

    @torch.no_grad()
    def generate(
        self,
        samples: dict,
        use_nucleus_sampling: bool = False,
        num_beams: int = 3,
        max_length: int = 20,
        min_length: int = 5,
        repetition_penalty: float = 1.0,
    ) -> list[str]:
        """A caption for each image by beam search, as stock's ``generate``; for LAVIS's own captioning task.

        Raises:
            ValueError: If sampling is asked for.
        """
        if use_nucleus_sampling:
            raise ValueError("blip_caption_tldr searches for captions and does not sample them: use blip_caption.")
        captioner = BlipCaptioner(self.visual_encoder, self.text_decoder, self.tokenizer, self.prompt)
        return captioner.generate(samples, BeamSearch(num_beams, max_length, min_length, repetition_penalty))
