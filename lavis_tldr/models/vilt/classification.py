"""ViLT classifies images without training: by which class's prompt fits best."""

from collections.abc import Sequence

import torch
from lavis.common.registry import registry
from lavis.tasks.multimodal_classification import MultimodalClassificationTask
from torch import Tensor

from lavis_tldr.models.vilt.config import packaged_defaults
from lavis_tldr.models.vilt.scoring import PairScorer


@registry.register_model("vilt_classification")
class ViltClassification(PairScorer):
    """Zero-shot classification by the match logit of each class's prompt, averaged over templates.

    For LAVIS's task ``multimodal_classification`` on a dataset with ``classnames``, evaluated only. Each image is read
    with every prompt: images x classes x templates pairs. Model types as of `ViltPretrain`.

    Samples:
        image: (B, 3, H, W);
        label: (B,), the class's place in ``classnames``.

    Args:
        sizes, tokenizer, freeze_layers, itc_width, pairs_per_pass: See `PairScorer`.
        templates: Prompts with ``{}`` where the class's name goes.
    """

    PRETRAINED_MODEL_CONFIG_DICT = packaged_defaults("vilt_classification")
    OPTIONS = ("pairs_per_pass", "templates")

    def __init__(self, sizes, tokenizer, *, templates: Sequence[str] = ("a photo of a {}",), **options):
        super().__init__(sizes, tokenizer, **options)
        bad = [template for template in templates if "{}" not in template]
        if bad or not templates:
            raise ValueError(
                f"model.templates: expected prompts with {{}} for the class's name, found {bad or 'none'}."
            )
        self.templates = list(templates)
        self.classnames: list[str] = []

    def before_evaluation(self, dataset, task_type: type, **kwargs) -> None:
        """Take the classes of the set that is evaluated next."""
        if issubclass(task_type, MultimodalClassificationTask):
            self.classnames = list(dataset.classnames)

    @torch.no_grad()
    def predict(self, samples: dict) -> dict[str, Tensor]:
        """``predictions``, (B, number of classes), and ``targets``, (B,).

        Raises:
            ValueError: If no classes are known.
        """
        if not self.classnames:
            raise ValueError(
                "vilt_classification knows no classes; evaluate with the task multimodal_classification on a dataset "
                "that has classnames."
            )
        image, image_mask = self.embed_image(samples)
        prompts = [template.format(name) for name in self.classnames for template in self.templates]
        scores = self.score_all(image, image_mask, prompts)
        return {"predictions": scores.unflatten(1, (-1, len(self.templates))).mean(2), "targets": samples["label"]}
