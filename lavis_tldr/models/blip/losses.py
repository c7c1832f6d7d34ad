"""The three losses of BLIP's pretraining (Li et al. 2022, sec. 3.2) with fewer operations than LAVIS's.

Shapes: B pairs of a process's batch, T tokens of its longest caption, L patches, D embedding, Q queue.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lavis_tldr.models.blip.text_passes import image_memory, rows_of, run_layers

_LABEL_SMOOTHING = 0.1  # of LAVIS's decoder
_LEAST_WEIGHT = 1e-4  # of a pair as a negative


class Captions(NamedTuple):
    """A batch's captions, padded to the longest.

    Attributes:
        ids: Token ids, [CLS] first, (B, T).
        mask: Where tokens are, (B, T), boolean.
        predicting: Places in the flattened (B T) whose next token is one.
    """

    ids: Tensor
    mask: Tensor
    predicting: Tensor

    def beginning_with(self, token: int) -> Tensor:
        """The ids with another token in [CLS]'s place, (B, T)."""
        return torch.cat([torch.full_like(self.ids[:, :1], token), self.ids[:, 1:]], dim=1)


class Features(NamedTuple):
    """Normalised embeddings of a batch, (B, D) each, float32."""

    image: Tensor
    text: Tensor


def contrastive_loss(
    online: Features, momentum: Features, queues: Features, temperature: Tensor, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Image-text contrast with a queue and soft targets of the momentum encoders.

    Args:
        online: With gradient.
        momentum: Of the same pairs.
        queues: Features of earlier pairs, (D, Q) each.
        temperature: Divides the cosines.
        alpha: Share of the momentum encoders' own guess in the targets.

    Returns:
        The loss, and the logits of image to text and of text to image within the batch, (B, B).
    """
    # In half precision logits of up to 100 would be off by .06 to .5.
    with torch.autocast(online.image.device.type, enabled=False):
        losses, logits = [], []
        for query, guide, keys, queue in (
            (online.image, momentum.image, momentum.text, queues.text),
            (online.text, momentum.text, momentum.image, queues.image),
        ):
            candidates = torch.cat([keys.T, queue], dim=1)  # (D, B + Q)
            scores = query @ candidates / temperature
            with torch.no_grad():
                targets = alpha * F.softmax(guide @ candidates / temperature, dim=1)
                targets.diagonal().add_(1 - alpha)
            losses.append(F.cross_entropy(scores, targets))
            logits.append(scores[:, : len(query)].detach())
    return (losses[0] + losses[1]) / 2, *logits


def draw_negatives(logits: Tensor) -> Tensor:
    """For each row another column, the likelier the higher its logit, (B, B) -> (B,)."""
    weights = F.softmax(logits, dim=1) + _LEAST_WEIGHT
    return torch.multinomial(weights.fill_diagonal_(0), 1)[:, 0]


def matching_and_language_losses(model, captions: Captions, tokens: Tensor, logits: tuple[Tensor, Tensor]) -> dict:
    """Image-text matching over B pairs and 2 B hard negatives in one pass, and captioning.

    Args:
        model: A BLIP pretraining with tied towers.
        captions: Of the batch.
        tokens: Of its images, (B, 1 + L, width).
        logits: As `contrastive_loss` gives them.

    Returns:
        ``loss_itm``, ``loss_lm`` and, without gradient, ``itm_accuracy``.
    """
    image_to_text, text_to_image = logits
    own = torch.arange(len(tokens), device=tokens.device)
    other_image, other_text = draw_negatives(text_to_image), draw_negatives(image_to_text)
    texts, images = torch.cat([own, own, other_text]), torch.cat([own, other_image, own])
    memory = image_memory(model.text_encoder, tokens)
    ids = captions.beginning_with(model.tokenizer.enc_token_id)
    fused = run_layers(model.text_encoder, ids[texts], mask=captions.mask[texts], memory=rows_of(memory, images))
    guesses = model.itm_head(fused[:, 0])
    labels = torch.cat([torch.ones_like(own), torch.zeros_like(own), torch.zeros_like(own)])
    to_say = captions.beginning_with(model.tokenizer.bos_token_id)
    return {
        "loss_itm": F.cross_entropy(guesses, labels),
        "loss_lm": _language_loss(model.text_decoder, to_say, captions.predicting, memory),
        "itm_accuracy": (guesses.detach().argmax(1) == labels).float().mean(),
    }


def _language_loss(decoder, ids: Tensor, predicting: Tensor, memory) -> Tensor:
    hidden = run_layers(decoder.bert, ids, causal=True, memory=memory)
    # The vocabulary head, wide as it is, only where a token follows.
    predicted = decoder.cls(hidden.flatten(0, 1).index_select(0, predicting))
    return F.cross_entropy(predicted, ids.flatten()[predicting + 1], label_smoothing=_LABEL_SMOOTHING)
