"""Pretrains ViLT by image-text matching and masked language modelling, with image-text contrast where asked for."""

import numpy as np
import torch
from lavis.common.registry import registry
from torch import Tensor

from lavis_tldr.models.cosine_retrieval import cosine_matrices
from lavis_tldr.models.vilt.base import ViltModel
from lavis_tldr.models.vilt.config import packaged_defaults
from lavis_tldr.models.vilt.heads import MaskedWordHead, MatchingHead
from lavis_tldr.models.vilt.masking import WordMasker
from lavis_tldr.models.vilt.network import init_weights
from lavis_tldr.models.vilt.objectives import draw_matches, matching_loss, word_loss


@registry.register_model("vilt_pretrain")
class ViltPretrain(ViltModel):
    """ViLT as it is pretrained (arXiv:2102.03334).

    Model types: ``base`` (ViT-B/32 at 384 pixels, the published model), ``base16`` (ViT-B/16 at 224), ``small``
    (width 384, patches of 14 pixels at 196, for DINOv2-S and a BERT of that width), ``tiny`` (for tests).

    Samples:
        image: (B, 3, H, W);
        text_input: B captions.

    Args:
        sizes, tokenizer, freeze_layers, itc_width: See `ViltModel`.
        mask_share: Of a caption's words, hidden for masked language modelling.
    """

    PRETRAINED_MODEL_CONFIG_DICT = packaged_defaults("vilt_pretrain")
    OPTIONS = ("mask_share", "itc_width")

    def __init__(self, sizes, tokenizer, *, freeze_layers: int = 0, itc_width: int = 0, mask_share: float = 0.15):
        super().__init__(sizes, tokenizer, freeze_layers=freeze_layers, itc_width=itc_width)
        self.mlm_score = MaskedWordHead(sizes.width, sizes.vocab_size)
        self.itm_score = MatchingHead(sizes.width)
        self.masker = WordMasker(tokenizer.vocabulary, mask_share)
        init_weights(self.mlm_score, sizes.width)
        init_weights(self.itm_score, sizes.width)

    def output_words(self) -> Tensor:
        return self.mlm_score.decoder.weight

    def forward(self, samples: dict) -> dict[str, Tensor]:
        """The loss, its parts, and the share of matches and hidden words told right, all 0-dim.

        Matching reads texts unmasked, masked language modelling each image's own text. One pass reads the pairs of
        both: what two passes compute, but for dropout on image embeddings, which is drawn once. Contrast, where the
        model has a head for it, reads images and texts alone, in two passes more.
        """
        ids, text_mask = self.tokenize(samples["text_input"])
        image, image_mask = self.embed_image(samples)
        rows, labels = draw_matches(ids)
        masked, targets = self.masker(ids)
        text, pooled = self.vilt(
            torch.cat([ids[rows], masked]),
            torch.cat([text_mask[rows], text_mask]),
            image.repeat(2, 1, 1),
            image_mask if image_mask is None else image_mask.repeat(2, 1),
        )
        loss_itm, itm_accuracy = matching_loss(self.itm_score(pooled[: len(ids)]), labels)
        loss_mlm, mlm_accuracy = word_loss(self.mlm_score, text[len(ids) :], targets)
        losses = {"loss_itm": loss_itm, "loss_mlm": loss_mlm}
        if self.itc is not None:
            losses["loss_itc"] = self.itc_loss(image, image_mask, ids, text_mask)
        accuracies = {"itm_accuracy": itm_accuracy, "mlm_accuracy": mlm_accuracy}
        return {"loss": sum(losses.values()), **losses, **accuracies}

    def compute_sim_matrix(self, data_loader, **kwargs) -> tuple[np.ndarray, np.ndarray]:
        """Cosines of the contrastive head, to validate by while training; the match logit takes `vilt_retrieval`.

        Returns:
            (images, texts) and (texts, images), float32.

        Raises:
            ValueError: If there is no such head, or the loader does not give each image once.
        """
        if self.itc is None:
            raise ValueError(
                "vilt_pretrain validates by its contrastive head and has none: set model.itc_width, or evaluate the "
                "checkpoint as vilt_retrieval."
            )
        return cosine_matrices(
            data_loader,
            lambda samples: self.itc_image(*self.embed_image(samples)),
            lambda texts: self.itc_text(*self.tokenize(texts)),
        )
