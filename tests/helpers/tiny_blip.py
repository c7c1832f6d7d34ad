"""LAVIS's BLIP models in a size for tests: type "tiny", random weights, a vocabulary of characters."""

import json
from pathlib import Path

import torch
import yaml
from lavis.common.registry import registry
from lavis.models.blip_models import blip
from lavis.models.blip_models.blip_image_text_matching import BlipITM
from lavis.models.blip_models.blip_pretrain import BlipPretrain
from lavis.models.med import XBertEncoder, XBertLMHeadDecoder
from lavis.models.vit import VisionTransformerEncoder
from omegaconf import OmegaConf
from transformers import BertTokenizer

from lavis_tldr.environment.offline import character_vocabulary
from lavis_tldr.models.conversion.outcome import Wishes
from lavis_tldr.models.conversion.targets import convert

IMAGE_SIZE, PATCH_SIZE, QUEUE_SIZE, TEXT_WIDTH, _VISION_WIDTH = 32, 8, 12, 16, 24
_ARCHS = [
    "blip_caption",
    "blip_classification",
    "blip_feature_extractor",
    "blip_image_text_matching",
    "blip_nlvr",
    "blip_retrieval",
    "blip_vqa",
]
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # learns by heart several times as fast
_VOCABULARY = character_vocabulary()
_BERT = {
    "hidden_size": TEXT_WIDTH,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "vocab_size": len(_VOCABULARY) + 2,
    "add_cross_attention": True,
    "add_type_embeddings": False,
    "pad_token_id": 0,
}


def register_tiny(folder: Path, patch, num_layers: int = 2, vision_width: int = _VISION_WIDTH, **bert) -> None:
    """Let LAVIS know the type; ``patch`` is a MonkeyPatch. LAVIS has no image encoder below a ViT-B: this is one.

    For blip_vqa ``vision_width`` must be `TEXT_WIDTH`: its decoder reads a question where others read an image.
    ``bert`` replaces sizes and dropouts of the text towers.
    """
    vocabulary, med, config = folder / "vocab.txt", folder / "med.json", folder / "blip_tiny.yaml"
    vocabulary.write_text("\n".join(_VOCABULARY) + "\n")
    med.write_text(json.dumps({**_BERT, "num_hidden_layers": num_layers, "encoder_width": vision_width, **bert}))
    sizes = {"image_size": IMAGE_SIZE, "embed_dim": 12, "queue_size": QUEUE_SIZE}
    model = {**sizes, "med_config_path": str(med), "prompt": "a picture of "}
    vis = {"eval": {"name": "blip_image_eval", "image_size": IMAGE_SIZE}}
    preprocess = {"vis_processor": vis, "text_processor": {"eval": {"name": "blip_caption"}}}
    config.write_text(yaml.safe_dump({"model": model, "preprocess": preprocess}))

    def tiny_encoder(cfg):
        encoder = VisionTransformerEncoder(
            img_size=cfg.image_size, patch_size=PATCH_SIZE, embed_dim=vision_width, depth=2, num_heads=2
        )
        encoder.vision_width = vision_width
        return encoder

    patch.setattr(VisionTransformerEncoder, "from_config", tiny_encoder)
    patch.setattr(blip.BertTokenizer, "from_pretrained", lambda name: BertTokenizer(str(vocabulary)))
    for arch in _ARCHS:
        patch.setitem(registry.get_model_class(arch).PRETRAINED_MODEL_CONFIG_DICT, "tiny", str(config))


def build_tiny(seed: int = 0) -> BlipITM:
    """LAVIS's own model of the registered type, with random weights."""
    config = OmegaConf.load(BlipITM.default_config_path("tiny")).model
    torch.manual_seed(seed)
    model = BlipITM(VisionTransformerEncoder.from_config(config), XBertEncoder.from_config(config), config.embed_dim)
    for parameter in model.parameters():  # as they start, all captions would look alike
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def build_tiny_pretraining(seed: int = 0) -> BlipPretrain:
    """LAVIS's blip_pretrain of the registered type, all its weights random and momentum weights of their own."""
    config = OmegaConf.load(BlipITM.default_config_path("tiny")).model
    torch.manual_seed(seed)
    towers = [part.from_config(config) for part in (VisionTransformerEncoder, XBertEncoder, XBertLMHeadDecoder)]
    model = BlipPretrain(*towers, queue_size=QUEUE_SIZE, embed_dim=config.embed_dim)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
        elif parameter.ndim:  # a norm's weights stay near 1: near 0 later layers would hide what earlier ones do
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def write_tiny(path: Path, seed: int = 0) -> BlipITM:
    """Write a checkpoint as LAVIS does; the model."""
    model = build_tiny(seed)
    torch.save({"model": {**model.state_dict(), "image_queue": torch.zeros(3)}}, path)
    return model


def write_converted(folder: Path, arch: str, seed: int = 0) -> dict:
    """Convert a tiny pretraining for a stock model; the ``model`` section that starts from it."""
    path = folder / f"{arch}.pth"
    checkpoint = {"model": build_tiny_pretraining(seed).state_dict()}
    torch.save(convert(checkpoint, arch, Wishes(model_type="tiny")).content, path)
    return {"arch": arch, "model_type": "tiny", "load_finetuned": False, "pretrained": str(path)}
