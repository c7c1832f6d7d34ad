"""ViLT for NLVR2: does a sentence hold of two images?"""

import torch
import torch.nn.functional as F
from lavis.common.registry import registry
from torch import Tensor

from lavis_tldr.models.vilt.base import ViltModel
from lavis_tldr.models.vilt.config import packaged_defaults
from lavis_tldr.models.vilt.heads import classifier
from lavis_tldr.models.vilt.network import init_weights

_MODALITIES = "vilt.embeddings.token_type_embeddings.weight"


@registry.register_model("vilt_nlvr")
class ViltNlvr(ViltModel):
    """Reads the sentence with each image; both pooled outputs are classified together.

    The second image has a modality embedding of its own, which starts as the first one's. For LAVIS's task
    ``multimodal_classification``. Model types as of `ViltPretrain`.

    Samples:
        image0, image1: (B, 3, H, W) each, of one size; where padded, with pixel_mask0 and pixel_mask1;
        text_input: B sentences;
        label: (B,), 1 for true.

    Args:
        sizes, tokenizer, freeze_layers: See `ViltModel`.
    """

    PRETRAINED_MODEL_CONFIG_DICT = packaged_defaults("vilt_nlvr")
    MODALITY_TYPES = 3

    def __init__(self, sizes, tokenizer, *, freeze_layers: int = 0):
        super().__init__(sizes, tokenizer, freeze_layers=freeze_layers)
        self.classifier = classifier(2 * sizes.width, 2 * sizes.width, 2)
        init_weights(self.classifier, sizes.width)

    def adapt_state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        modalities = state.get(_MODALITIES)
        if modalities is None or len(modalities) != 2:
            return state
        return {**state, _MODALITIES: torch.cat([modalities, modalities[1:]])}

    def logits(self, samples: dict) -> Tensor:
        """(B, 2): false, true."""
        ids, text_mask = self.tokenize(samples["text_input"])
        images, masks = zip(*(self.embed_image(samples, f"image{i}", 1 + i) for i in (0, 1)), strict=True)
        image_mask = None if masks[0] is None else torch.cat(masks)
        _, pooled = self.vilt(ids.repeat(2, 1), text_mask.repeat(2, 1), torch.cat(images), image_mask)
        return self.classifier(torch.cat(pooled.chunk(2), dim=1))

    def forward(self, samples: dict) -> dict[str, Tensor]:
        """Cross-entropy (``loss``) and the share told right (``accuracy``), 0-dim."""
        logits, targets = self.logits(samples).float(), samples["label"].to(self.device)
        return {"loss": F.cross_entropy(logits, targets), "accuracy": (logits.argmax(1) == targets).float().mean()}

    @torch.no_grad()
    def predict(self, samples: dict) -> dict[str, Tensor]:
        """``predictions``, (B, 2), and ``targets``, (B,)."""
        return {"predictions": self.logits(samples), "targets": samples["label"]}
