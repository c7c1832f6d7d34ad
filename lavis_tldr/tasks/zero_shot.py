"""The LAVIS task of zero-shot classification, by any architecture on any number of processes.

N images, C classes, T templates.
"""

import logging
from typing import NamedTuple

import numpy as np
from lavis.common.registry import registry
from lavis.tasks.base_task import BaseTask
from torch import nn

from lavis_tldr.evaluation.zero_shot import classifier_logits, prompt_classifier, prompts_of, zero_shot_figures
from lavis_tldr.models.collectives import from_rank_zero
from lavis_tldr.models.scorers import ImageTextScorer, scorer_class_of, scorer_of
from lavis_tldr.tasks.evaluation_results import tell_figures, write_predictions
from lavis_tldr.tasks.feature_filling import FillsFeatureCaches
from lavis_tldr.tasks.run_defaults import EVALUATION, fill_run_defaults
from lavis_tldr.tasks.scored_sets import embed_images, embed_texts, match_logits

logger = logging.getLogger(__name__)

RUN_KEYS = ("templates", "score_by", "pairs_per_pass")
_WAYS = ("auto", "cosine", "pairs")


class Classified(NamedTuple):
    """What a set's images were taken for.

    Attributes:
        images: Path of each.
        labels: Number of its class among ImageNet's 1,000.
        predictions: Number of the class that it was taken for.
        figures: See `zero_shot_figures`.
    """

    images: list[str]
    labels: list[int]
    predictions: list[int]
    figures: dict[str, float]


@registry.register_task("tldr_zero_shot")
class ZeroShotTask(FillsFeatureCaches, BaseTask):
    """Classifies ``tldr_zero_shot`` by prompts with the classes' names.

    Args:
        templates: ``openai80``, ``openai7`` or ``single``. None: openai80 where embeddings are compared; single where
            pairs are read, which costs images x classes x templates passes.
        score_by: ``cosine`` with each class's mean prompt; ``pairs``: the match logit of image and prompt, averaged
            over templates; ``auto``: cosine where the model embeds.
        pairs_per_pass: Pairs read at once.
    """

    RUN_DEFAULTS = EVALUATION

    def __init__(self, templates: str | None = None, score_by: str = "auto", pairs_per_pass: int = 256):
        super().__init__()
        if templates is not None:
            prompts_of((), templates)  # refuses a name that it does not know
        if score_by not in _WAYS:
            raise ValueError(f"run.score_by is {score_by!r}; expected one of {', '.join(_WAYS)}.")
        if pairs_per_pass < 1:
            raise ValueError(f"run.pairs_per_pass is {pairs_per_pass}; expected at least 1.")
        self.templates, self.score_by, self.pairs_per_pass = templates, score_by, pairs_per_pass

    @classmethod
    def setup_task(cls, cfg) -> "ZeroShotTask":
        """The task of a run config.

        Raises:
            ValueError: If the model can't do it, or an option is out of range.
        """
        scorer_class_of(registry.get_model_class(cfg.model_cfg.arch))
        fill_run_defaults(cfg.run_cfg, cls.RUN_DEFAULTS)
        run = cfg.run_cfg
        return cls(run.get("templates"), str(run.get("score_by", "auto")), int(run.get("pairs_per_pass", 256)))

    def build_model(self, cfg) -> nn.Module:
        model = super().build_model(cfg)
        self.way_of(scorer_of(model))
        return self.fill_caches(model, cfg.run_cfg)

    def way_of(self, scorer: ImageTextScorer) -> str:
        """How images are classified: cosine or pairs.

        Raises:
            ValueError: If ``score_by`` asks for what the model can't do.
        """
        able = {"cosine": scorer.embeds, "pairs": scorer.matches}
        if self.score_by == "auto":
            return "cosine" if scorer.embeds else "pairs"
        if not able[self.score_by]:
            can = next(way for way in able if able[way])
            raise ValueError(f"run.score_by is {self.score_by!r}; this model can be scored by {can} alone.")
        return self.score_by

    def evaluation(self, model, data_loader, **kwargs) -> Classified:
        """Classes of all images, the same on every process.

        Raises:
            ValueError: If a score is no number.
        """
        scorer, dataset = scorer_of(model), data_loader.dataset
        way = self.way_of(scorer)
        templates = self.templates or ("openai80" if way == "cosine" else "single")
        prompts = prompts_of(dataset.classes.names, templates)
        logger.info("%d images, %d classes, %d templates, by %s", len(dataset), len(prompts[0]), len(prompts), way)
        if way == "cosine":
            logits = _cosine_logits(scorer, data_loader, prompts)
        else:
            logits = self._match_logits(scorer, data_loader, prompts)
        return from_rank_zero(lambda: _classified(dataset, logits))

    def _match_logits(self, scorer: ImageTextScorer, data_loader, prompts: list[list[str]]) -> np.ndarray:
        """Match logits averaged over templates, (N, C)."""
        num_images, num_classes = len(data_loader.dataset), len(prompts[0])
        logger.info("%s pairs of an image and a prompt", f"{num_images * num_classes * len(prompts):,}")
        wanted = [np.arange(num_classes)] * num_images
        logits = np.zeros((num_images, num_classes), np.float32)
        for of_template in prompts:  # one after the other: all at once would take T matrices
            logits += match_logits(scorer, data_loader, of_template, wanted, self.pairs_per_pass)
        return logits / len(prompts)

    def after_evaluation(self, val_result: Classified, split_name, epoch, **kwargs) -> dict[str, float]:
        """The figures; predictions go to ``result/zero_shot_<split>_epoch<epoch>.json``."""
        write_predictions(f"zero_shot_{split_name}_epoch{epoch}", val_result._asdict())
        tell_figures(split_name, val_result.figures)
        return val_result.figures


def _cosine_logits(scorer: ImageTextScorer, data_loader, prompts: list[list[str]]) -> np.ndarray:
    """100 x cosine of images and classes' mean prompts, (N, C)."""
    by_class = list(zip(*prompts, strict=True))  # C of T
    embeddings = embed_texts(scorer, [prompt for own in by_class for prompt in own])
    classifier = prompt_classifier(embeddings.reshape(len(by_class), len(prompts), -1))
    return classifier_logits(embed_images(scorer, data_loader), classifier)


def _classified(dataset, logits: np.ndarray) -> Classified:
    numbers = dataset.classes.numbers
    predictions = [numbers[column] for column in logits.argmax(1)]
    figures = zero_shot_figures(logits, dataset.labels, numbers)
    return Classified(dataset.images, dataset.labels, predictions, figures)
