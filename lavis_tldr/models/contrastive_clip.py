"""What contrastive pretraining adds to LAVIS's CLIP, whatever its towers are.

Shapes: B pairs, E embedding width, L patches, D width of the image tower.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from lavis.models.clip_models.model import CLIP
from lavis.tasks.multimodal_classification import MultimodalClassificationTask
from torch import Tensor, nn

from lavis_tldr.models.cached_accumulation import FeatureGradients, PairFeatures, inner_product
from lavis_tldr.models.contrastive_loss import contrastive_loss, sigmoid_loss
from lavis_tldr.models.given_features import LoaderWithImages, with_image

LOSSES = ("contrastive", "sigmoid")
_LARGEST_SCALE = math.log(100)


class ContrastiveClip(CLIP):
    """A CLIP whose loss is right over all processes, in one alone, in half precision and in accumulation.

    A subclass gives ``encode_image``, ``encode_text`` and ``tokenizer`` as LAVIS's CLIP has them, and calls
    `start_loss` when it is made. Retrieval and zero-shot classification are LAVIS's own, in float32 under autocast too.

    Samples, as `forward` takes them:
        image: (B, 3, H, W), or instead of it, where the image tower is frozen,
        image_features: (B, 1 + L, D), what that tower gives, [CLS] first;
        text_input: B texts.
    """

    caches_accumulation = True  # gradients are accumulated by `cached_accumulation.accumulate`

    def start_loss(self, loss: str) -> None:
        """Make the loss's parameters.

        Args:
            loss: ``contrastive`` (InfoNCE, the scale starts at 1 / 0.07) or ``sigmoid`` (SigLIP, scale 10, bias -10).

        Raises:
            ValueError: If it is neither.
        """
        if loss not in LOSSES:
            raise ValueError(f"model.loss is {loss!r}; expected {' or '.join(LOSSES)}.")
        start = 10.0 if loss == "sigmoid" else 1 / 0.07
        self.logit_scale = nn.Parameter(torch.tensor(math.log(start)))
        self.logit_bias = nn.Parameter(torch.tensor(-10.0)) if loss == "sigmoid" else None

    def loss_parameters(self) -> list[nn.Parameter]:
        """Parameters that the loss has besides the towers'."""
        return [self.logit_scale] if self.logit_bias is None else [self.logit_scale, self.logit_bias]

    def encode_pairs(self, samples: Mapping[str, Any]) -> PairFeatures:
        """Unit features of a batch, in float32."""
        samples = with_image(samples)
        image = self.encode_image(samples["image"].to(self.device))
        text = self.encode_text(self.tokenizer(samples["text_input"]).to(self.device))
        return PairFeatures(F.normalize(image.float(), dim=-1), F.normalize(text.float(), dim=-1))

    def pair_loss(self, pairs: PairFeatures) -> dict[str, Tensor]:
        """Figures of a batch: ``loss``, the same as ``loss_itc``, ``logit_scale``, ``logit_bias`` if there is one."""
        if self.training:
            # Here and not after an update, so that it holds under every runner.
            with torch.no_grad():
                self.logit_scale.clamp_(0, _LARGEST_SCALE)
        scale = self.logit_scale.exp()
        if self.logit_bias is None:
            loss, more = contrastive_loss(*pairs, scale), {}
        else:
            loss, more = sigmoid_loss(*pairs, scale, self.logit_bias), {"logit_bias": self.logit_bias.detach()}
        return {"loss": loss, "loss_itc": loss.detach(), "logit_scale": scale.detach(), **more}

    def forward(self, samples: Mapping[str, Any], gradients: FeatureGradients | None = None):
        """Figures of a batch as `pair_loss` gives them; of images or texts alone their embeddings, as LAVIS's CLIP.

        Args:
            samples: See above.
            gradients: Of a loss over more than these samples; the ``loss`` is then `inner_product`.
        """
        samples = with_image(samples)
        if samples.get("image") is None or samples.get("text_input") is None:
            return super().forward(samples)
        pairs = self.encode_pairs(samples)
        if gradients is not None:
            return {"loss": inner_product(pairs, self.loss_parameters(), gradients)}
        return self.pair_loss(pairs)

    # Evaluation by LAVIS's tasks

    @torch.no_grad()
    def compute_sim_matrix(self, data_loader, **kwargs):
        """Cosines of all images with all texts, both ways, for the task ``retrieval``.

        Raises:
            ValueError: If this process was given some of the images only.
        """
        with torch.autocast(self.device.type, enabled=False):
            of_images, of_texts = super().compute_sim_matrix(LoaderWithImages(data_loader), **kwargs)
        if len(of_images) != len(data_loader.dataset):
            raise ValueError(
                f"retrieval was given {len(of_images)} images of {len(data_loader.dataset)}: the split is shared out "
                "among processes. Set run.use_dist_eval_sampler: False."
            )
        return of_images, of_texts

    def predict(self, samples):
        """Zero-shot class scores, for the task ``multimodal_classification``."""
        with torch.autocast(self.device.type, enabled=False):
            return super().predict(with_image(samples))

    def before_evaluation(self, dataset, task_type, **kwargs):
        """Embed the class names where the task, or what it is a kind of, classifies."""
        if issubclass(task_type, MultimodalClassificationTask):
            super().before_evaluation(dataset, MultimodalClassificationTask, **kwargs)
