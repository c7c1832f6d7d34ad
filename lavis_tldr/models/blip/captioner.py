"""Captions by BLIP's text decoder: of stock ``blip_caption``, and of a pretraining that was not fine-tuned.

Shapes: B images, b beams, T tokens.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from lavis.models.blip_models.blip_caption import BlipCaption
from lavis.models.blip_models.blip_pretrain import BlipPretrain
from lavis.models.clip_models.model import CLIP
from lavis.models.med import XBertLMHeadDecoder
from torch import Tensor, nn
from transformers import LogitsProcessor, LogitsProcessorList

from lavis_tldr.models.given_features import with_image
from lavis_tldr.models.vilt.base import ViltModel
from lavis_tldr.skills import DESCRIBE, IMPOSSIBLE

PROMPT = "a picture of "


@dataclass(frozen=True)
class BeamSearch:
    """How captions are searched for; BLIP's settings for COCO.

    Attributes:
        num_beams: b.
        max_length: Most tokens, [DEC] and the prompt's included.
        min_length: Fewest tokens before the end, [DEC] and the prompt's included.
        repetition_penalty: A token that is there already has its logit divided by this (multiplied if negative); 1 does
            nothing.
    """

    num_beams: int = 3
    max_length: int = 20
    min_length: int = 5
    repetition_penalty: float = 1.0

    def __post_init__(self):
        if self.num_beams < 1 or not 0 <= self.min_length <= self.max_length or self.repetition_penalty <= 0:
            raise ValueError(
                f"num_beams {self.num_beams}, min_len {self.min_length}, max_len {self.max_length}, repetition_penalty "
                f"{self.repetition_penalty}: expected num_beams >= 1, 0 <= min_len <= max_len, repetition_penalty > 0."
            )


class BlipCaptioner:
    """Decodes captions as stock ``blip_caption`` does, with any version of transformers.

    Args:
        image_tower: Maps images (B, 3, H, W) to tokens (B, 1 + L, D).
        text_decoder: Reads them by cross-attention.
        tokenizer: With [DEC] as ``bos_token``.
        prompt: What captions go on from; no part of them.
    """

    def __init__(self, image_tower: nn.Module, text_decoder: XBertLMHeadDecoder, tokenizer, prompt: str = PROMPT):
        self.image_tower, self.text_decoder, self.tokenizer = image_tower, text_decoder, tokenizer
        self.prompt = prompt

    @torch.no_grad()
    def generate(self, samples: Mapping[str, Any], search: BeamSearch) -> list[str]:
        """A caption for each image, without the prompt.

        Args:
            samples: ``image``, or ``image_features`` of a frozen tower.
            search: How.

        Raises:
            ValueError: If a token's score is not a number, or the prompt leaves no token to write.
        """
        images = self.image_tower(with_image(samples)["image"])
        prompt = self._prompt_tokens(len(images), images.device)
        if prompt.shape[1] >= search.max_length:
            raise ValueError(
                f"the prompt {self.prompt!r} takes {prompt.shape[1]} of max_len {search.max_length} tokens: raise it."
            )
        images = self._for_beams(images, search.num_beams)
        with _past_kept(self.text_decoder):
            tokens = self.text_decoder.generate(
                input_ids=prompt,
                encoder_hidden_states=images,
                encoder_attention_mask=torch.ones(images.shape[:-1], dtype=torch.long, device=images.device),
                do_sample=False,
                eos_token_id=self.tokenizer.sep_token_id,
                pad_token_id=self.tokenizer.pad_token_id,
                logits_processor=LogitsProcessorList([_RefuseNaN()]),
                **asdict(search),
            )  # (B, T)
        # Cut off as text: a word may go on from the prompt's last one.
        start = len(self._text(prompt[0]))
        return [self._text(row)[start:].strip() for row in tokens]

    def _prompt_tokens(self, count: int, device: torch.device) -> Tensor:
        ids = self.tokenizer(self.prompt).input_ids[:-1]  # without [SEP]
        ids[0] = self.tokenizer.bos_token_id
        return torch.tensor([ids] * count, device=device)

    def _for_beams(self, images: Tensor, num_beams: int) -> Tensor:
        """The images as `generate` wants them: older transformers leave it to the caller to repeat them per beam."""
        probe = torch.zeros(1, 1, dtype=torch.long)
        expand = self.text_decoder._expand_inputs_for_generation
        _, expanded = expand(expand_size=2, is_encoder_decoder=False, input_ids=probe, encoder_hidden_states=probe)
        return images if len(expanded["encoder_hidden_states"]) == 2 else images.repeat_interleave(num_beams, dim=0)

    def _text(self, tokens: Tensor) -> str:
        # By id: a fast tokenizer made from a vocabulary alone does not skip [SEP] and [PAD] when asked to.
        special = self.tokenizer.all_special_ids
        return self.tokenizer.decode([token for token in tokens.tolist() if token not in special])


@contextmanager
def _past_kept(decoder: XBertLMHeadDecoder) -> Iterator[None]:
    """Each step reads its new token alone.

    LAVIS's decoder knows the keys and values of earlier tokens by a name that transformers has given up, and so reads
    all tokens anew at each step, and gives each a score for every word.
    """
    prepare = decoder.prepare_inputs_for_generation

    def prepare_newest(input_ids: Tensor, past_key_values=None, **model_kwargs) -> dict:  # a name that is looked for
        return prepare(input_ids, past=past_key_values, **model_kwargs)

    decoder.prepare_inputs_for_generation = prepare_newest
    try:
        yield
    finally:
        del decoder.prepare_inputs_for_generation


class _RefuseNaN(LogitsProcessor):
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if scores.isnan().any():
            raise ValueError("a caption's token has no number for its score (NaN): the model's weights are broken.")
        return scores


def check_writes_captions(model_class: type) -> None:
    """Refuse a kind of model that writes no captions.

    Raises:
        ValueError: Says why it can't, and what can.
    """
    if issubclass(model_class, (BlipCaption, BlipPretrain)):
        return
    why = "nothing here makes it write one"
    if issubclass(model_class, CLIP):
        why = IMPOSSIBLE["CLIP", DESCRIBE]
    elif issubclass(model_class, ViltModel):
        why = IMPOSSIBLE["ViLT", DESCRIBE]
    raise ValueError(
        f"{model_class.__name__} can't write captions: {why}. BLIP can (blip_caption, blip_caption_tldr, "
        "blip_pretrain_tldr)."
    )


def captioner_of(model: nn.Module) -> BlipCaptioner:
    """What writes captions by a model's weights; the model must be in eval mode.

    Raises:
        ValueError: As `check_writes_captions`.
    """
    check_writes_captions(type(model))
    prompt = getattr(model, "prompt", PROMPT)
    return BlipCaptioner(model.visual_encoder, model.text_decoder, model.tokenizer, prompt)
