"""LAVIS's ``blip_image_text_matching`` with the processors that belong to it.

Shapes: B images, E width of BLIP's common space.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError

import torch
import torch.nn.functional as F
from lavis.common.registry import registry
from lavis.models.blip_models.blip_image_text_matching import BlipITM
from lavis.models.med import XBertEncoder
from lavis.models.vit import VisionTransformerEncoder, interpolate_pos_embed
from omegaconf import OmegaConf
from torch import Tensor

from lavis_tldr.models.weights_digest import weights_digest


@dataclass
class BlipMatching:
    """Scores captions of images, and embeds images.

    Attributes:
        model: LAVIS's model.
        vis_processor: Maps a PIL image to what the model takes, (3, H, W).
        text_processor: Maps a caption to what it takes.
    """

    model: BlipITM
    vis_processor: Callable
    text_processor: Callable[[str], str]

    @cached_property
    def digest(self) -> str:
        """Digest of the weights and of how images are made to fit, wherever they came from."""
        sizes = {"image_size": list(self.model.visual_encoder.patch_embed.img_size)}
        heads = {"text_heads": self.model.text_encoder.config.num_attention_heads}
        return weights_digest(self.model, {**sizes, **heads, "max_txt_len": self.model.max_txt_len})

    def match(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """Probability that each caption matches its image, by the matching head (ITM), (B,)."""
        return self.model({"image": images, "text_input": self._processed(captions)}).float().softmax(1)[:, 1]

    def similarity(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """Cosine of each image and its caption in the contrastive space (ITC), (B,).

        As LAVIS's model has it, but in float32 throughout: under autocast its product of features is rounded to 8 bits,
        and thousands of pairs would tie.
        """
        return (self.embed_images(images) * self._embed_texts(captions, images.device)).sum(1)

    def embed_images(self, images: Tensor) -> Tensor:
        """Images in the contrastive space: projected [CLS], L2-normalised, (B, E)."""
        tokens = self.model.visual_encoder.forward_features(images)
        return F.normalize(self.model.vision_proj(tokens[:, 0]).float(), dim=-1)

    def _embed_texts(self, captions: Sequence[str], device: torch.device) -> Tensor:
        """Captions in the contrastive space: projected [CLS], L2-normalised, (B, E)."""
        model = self.model
        options = {"padding": "longest", "truncation": True, "max_length": model.max_txt_len, "return_tensors": "pt"}
        text = model.tokenizer(self._processed(captions), **options).to(device)
        output = model.text_encoder(text.input_ids, attention_mask=text.attention_mask, return_dict=True, mode="text")
        return F.normalize(model.text_proj(output.last_hidden_state[:, 0]).float(), dim=-1)

    def _processed(self, captions: Sequence[str]) -> list[str]:
        return [self.text_processor(caption) for caption in captions]


def load_blip(weights: str, model_type: str) -> BlipMatching:
    """A checkpoint of ``blip_image_text_matching``.

    Not by LAVIS's own loading, which leaves weights random that the file lacks, and unpickles whatever it holds.

    Args:
        weights: A file with the state dict, under "model" or not.
        model_type: LAVIS's name of the sizes: base or large.

    Raises:
        ValueError: If the type is unknown, the file is absent or does not fit it, or BERT's vocabulary can't be found.
    """
    types = BlipITM.PRETRAINED_MODEL_CONFIG_DICT
    if model_type not in types:
        raise ValueError(f"run.blip_model_type is {model_type!r}; expected one of {', '.join(types)}.")
    if not Path(weights).is_file():
        raise ValueError(f"run.blip_weights: there is no file {weights}; give a BLIP retrieval checkpoint.")
    config = OmegaConf.load(BlipITM.default_config_path(model_type))
    model = _build(config.model)
    _load(model, weights, model_type)
    processors = config.preprocess
    vis, text = (_processor(processors[name].eval) for name in ("vis_processor", "text_processor"))
    return BlipMatching(model.eval().requires_grad_(False), vis, text)


def _build(config) -> BlipITM:
    try:
        return BlipITM(
            image_encoder=VisionTransformerEncoder.from_config(config),
            text_encoder=XBertEncoder.from_config(config),
            embed_dim=config.get("embed_dim", 256),
            max_txt_len=config.get("max_txt_len", 35),
        )
    except OSError as error:
        raise ValueError(
            f"BLIP reads captions with the vocabulary of bert-base-uncased, which can't be fetched ({error}). Set what "
            "`lavis-tldr offline --vocab vocab.txt --dir DIR` prints."
        ) from error


def _load(model: BlipITM, weights: str, model_type: str) -> None:
    """Load a checkpoint; what it holds besides (momentum encoders, queues) is left out."""
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        state = dict(state.get("model", state))
        positions = "visual_encoder.pos_embed"
        if positions in state:  # of another image size, maybe
            state[positions] = interpolate_pos_embed(state[positions], model.visual_encoder)
        missing = set(model.load_state_dict(state, strict=False).missing_keys)
    except (UnpicklingError, RuntimeError, AttributeError, ValueError, TypeError, EOFError) as error:
        raise ValueError(
            f"run.blip_weights: {weights} is no checkpoint of blip_image_text_matching, type {model_type} ({error})."
        ) from error
    if missing := sorted(missing.intersection(name for name, _ in model.named_parameters())):
        raise ValueError(
            f"run.blip_weights: {weights} lacks {len(missing)} weights of blip_image_text_matching, type {model_type} "
            f"(first: {missing[0]}); give a BLIP retrieval checkpoint of that type."
        )


def _processor(config) -> Callable:
    return registry.get_processor_class(config.name).from_config(config)
