"""The LAVIS task of finding the box that an expression refers to (RefCOCO+).

Keys under ``run``:

    grounding: crop          how a box is scored: the text with what is in the box (crop), or BLIP's GradCAM (gradcam)
    gradcam_layer: null      of the text encoder, from 0; null: the one in the middle
    pairs_per_pass: 64       crops encoded, and pairs of a crop and a sentence matched, at once
"""

import logging
from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from lavis.common.registry import registry
from lavis.tasks.base_task import BaseTask
from torch import Tensor

from lavis_tldr.datasets.tldr_grounding import GroundedImage, GroundingImages
from lavis_tldr.evaluation import grounding
from lavis_tldr.models.collectives import rank
from lavis_tldr.models.scorers import scorer_class_of, scorer_of
from lavis_tldr.models.scorers.blip import BlipScorer
from lavis_tldr.models.scorers.crops import score_crops
from lavis_tldr.models.scorers.gradcam import gradcam_layer, heat_maps, no_cross_attention
from lavis_tldr.progress import progress
from lavis_tldr.tasks.evaluation_results import tell_figures, write_predictions
from lavis_tldr.tasks.gathering import gather_by_key
from lavis_tldr.tasks.own_share import own_share
from lavis_tldr.tasks.run_defaults import EVALUATION, fill_run_defaults
from lavis_tldr.user_errors import closest

logger = logging.getLogger(__name__)

RUN_KEYS = ("grounding", "gradcam_layer", "pairs_per_pass")
WAYS = ("crop", "gradcam")


@registry.register_task("tldr_grounding")
class GroundingTask(BaseTask):
    """Accuracy by sentence, in percent: ``acc`` among the boxes of all objects annotated in the image, and
    ``acc_detected`` among a detector's proposals, where the set has them.

    Needs no training on boxes: any model will do that says how well a text fits an image.

    Args:
        way: One of `WAYS`.
        layer: ``run.gradcam_layer``.
        per_pass: ``run.pairs_per_pass``.
    """

    RUN_DEFAULTS = EVALUATION

    def __init__(self, way: str = "crop", layer: int | None = None, per_pass: int = 64):
        super().__init__()
        self.way, self.layer, self.per_pass = way, layer, per_pass
        self._dataset: GroundingImages | None = None

    @classmethod
    def setup_task(cls, cfg) -> "GroundingTask":
        """
        Raises:
            ValueError: If the model can't do it, or a setting is none that there is.
        """
        fill_run_defaults(cfg.run_cfg, cls.RUN_DEFAULTS)
        run = cfg.run_cfg
        way, layer, per_pass = (
            run.get("grounding", "crop"),
            run.get("gradcam_layer"),
            int(run.get("pairs_per_pass", 64)),
        )
        if way not in WAYS:
            raise ValueError(f"run.grounding {way!r} is unknown{closest(way, WAYS)}.")
        if per_pass < 1:
            raise ValueError(f"run.pairs_per_pass is {per_pass}; expected at least 1.")
        if run.get("train_splits"):
            raise ValueError("the task tldr_grounding trains nothing: set run.train_splits: [] and run.evaluate: True.")
        scorer_class = scorer_class_of(registry.get_model_class(cfg.model_cfg.arch))
        if way == "gradcam" and not issubclass(scorer_class, BlipScorer):
            raise no_cross_attention(cfg.model_cfg.arch)
        return cls(way, None if layer is None else int(layer), per_pass)

    def build_model(self, cfg):
        """
        Raises:
            ValueError: If the model can't score boxes in the way that is asked for.
        """
        model = super().build_model(cfg)
        scorer = scorer_of(model)
        if self.way == "gradcam":
            gradcam_layer(scorer, self.layer)
        return model

    def before_evaluation(self, model, dataset, **kwargs) -> None:
        super().before_evaluation(model, dataset, **kwargs)
        dataset.whole = self.way == "gradcam"  # before loader workers are made
        self._dataset = dataset

    @torch.no_grad()
    def evaluation(self, model, data_loader, **kwargs) -> list[dict]:
        """The chosen boxes of this process's images: a row for each sentence, as `predictions` makes them."""
        scorer, dataset, rows = scorer_of(model), self._dataset, []
        layer = gradcam_layer(scorer, self.layer) if self.way == "gradcam" else None
        loader = own_share(data_loader, scorer.device.type == "cuda")
        for batch in progress(loader, f"grounding, {dataset.split}", "image"):
            for sample in batch["samples"]:
                about = dataset.images[sample["index"]]
                texts = [sentence.text for sentence in about.sentences]
                if layer is None:
                    scores = score_crops(scorer, sample["image"], texts, self.per_pass)
                else:
                    scores = self._score_by_heat(scorer, layer, sample, about, texts)
                rows += predictions(about, scores)
        return rows

    def _score_by_heat(self, scorer, layer, sample: dict, about: GroundedImage, texts: list[str]) -> Tensor:
        """Scores of all sentences with all candidates, (M, K)."""
        image = scorer.read_images({"image": sample["image"].to(scorer.device)})
        scores = []
        for start in range(0, len(texts), self.per_pass):
            maps = heat_maps(scorer, layer, image, texts[start : start + self.per_pass])[:, None]
            for heat in F.interpolate(maps, size=tuple(sample["size"]), mode="bicubic")[:, 0].cpu().numpy():
                scores.append(torch.from_numpy(grounding.heat_in_boxes(heat, about.candidates)))
        return torch.stack(scores)

    def after_evaluation(self, val_result: list[dict], split_name: str, epoch, **kwargs) -> dict[str, float]:
        """Figures of all processes' sentences, the same on each; `predictions` go to a file in ``result/``.

        Raises:
            ValueError: If a sentence was not scored.
        """
        gathered = {row["sent_id"]: row for row in gather_by_key(val_result, "sent_id")}
        expected = [sentence.sent_id for image in self._dataset.images for sentence in image.sentences]
        if missing := [number for number in expected if number not in gathered]:
            raise ValueError(f"{len(missing)} sentences of {self._dataset.split} got no score (first: {missing[0]}).")
        rows = [gathered[number] for number in expected]
        found = figures(rows, self._dataset.images)
        write_predictions(f"grounding_{self._dataset.split}_epoch{epoch}", rows)
        tell_figures(self._dataset.split, found)
        if rank() == 0:
            self._tell_without_proposals()
        return found

    def _tell_without_proposals(self) -> None:
        images = self._dataset.images
        without = [image for image in images if image.proposals == []]
        if without:
            sentences = sum(len(image.sentences) for image in without)
            logger.warning(
                "%d of %d images have no proposal (first: %s); their %d sentences count as wrong in acc_detected.",
                *(len(without), len(images), without[0].image, sentences),
            )
        if images[0].proposals is None:
            logger.warning("%s has no proposals: there is no acc_detected.", self._dataset.split)


def predictions(about: GroundedImage, scores: Tensor) -> Iterator[dict]:
    """What is chosen for each sentence of an image.

    Args:
        about: The image.
        scores: Of its M sentences with its candidates, (M, K).

    Yields:
        ``sent_id``; ``chosen``, the place among the boxes, and ``right``; where the set has proposals also ``box``, the
        chosen one or None, and ``right_detected``.

    Raises:
        ValueError: If a score is no finite number.
    """
    count = len(about.boxes)
    for sentence, row in zip(about.sentences, scores.numpy(), strict=True):
        try:
            chosen = grounding.choose(row[:count])
            detected = grounding.choose(row[count:]) if about.proposals else None
        except ValueError as error:
            raise ValueError(f"{about.image}, sentence {sentence.sent_id}: {error}") from error
        found = {"sent_id": sentence.sent_id, "chosen": chosen, "right": chosen == sentence.target}
        if about.proposals is not None:
            box = None if detected is None else about.proposals[detected]
            found |= {"box": box, "right_detected": grounding.is_found(box, about.boxes[sentence.target])}
        yield found


def figures(rows: list[dict], images: Iterable[GroundedImage]) -> dict[str, float]:
    """Accuracies and what they are among.

    Args:
        rows: From `predictions`, of all sentences.
        images: All of them.

    Returns:
        ``acc``, ``acc_detected`` (where there are proposals), ``chance`` (of ``acc``), in percent; ``sentences``,
        ``images``, ``images_without_proposals``, numbers; ``agg_metrics``, the same as ``acc``.
    """
    images = list(images)
    found = {"acc": grounding.accuracy([row["right"] for row in rows])}
    if images[0].proposals is not None:
        found["acc_detected"] = grounding.accuracy([row["right_detected"] for row in rows])
        found["images_without_proposals"] = sum(not image.proposals for image in images)
    found["chance"] = grounding.chance([len(image.boxes) for image in images for _ in image.sentences])
    return {**found, "images": len(images), "sentences": len(rows), "agg_metrics": found["acc"]}
