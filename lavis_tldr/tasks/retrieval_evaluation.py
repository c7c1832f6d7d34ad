"""The LAVIS task of retrieval, image to text and text to image, by any architecture on any number of processes.

N images, M texts.
"""

import logging

import numpy as np
from lavis.common.registry import registry
from lavis.tasks.base_task import BaseTask
from torch import nn

from lavis_tldr.evaluation.ranks import retrieval_figures, retrieval_ranks
from lavis_tldr.evaluation.reranking import candidates, reranked
from lavis_tldr.models.collectives import from_rank_zero
from lavis_tldr.models.scorers import ImageTextScorer, scorer_class_of, scorer_of
from lavis_tldr.models.scorers.vilt import ViltScorer
from lavis_tldr.tasks.evaluation_results import tell_figures, write_predictions
from lavis_tldr.tasks.feature_filling import FillsFeatureCaches
from lavis_tldr.tasks.run_defaults import EVALUATION, fill_run_defaults
from lavis_tldr.tasks.scored_sets import embed_images, embed_texts, match_logits

logger = logging.getLogger(__name__)

RUN_KEYS = ("k_test", "score_by", "pairs_per_pass")
_WAYS = ("auto", "cosine", "rerank", "pairs")
_K_TEST = 256  # BLIP's on COCO; on Flickr30k it takes 128


@registry.register_task("tldr_retrieval_eval")
class RetrievalEvaluationTask(FillsFeatureCaches, BaseTask):
    """Scores a retrieval set (``tldr_retrieval``, or LAVIS's own: ``coco_retrieval``, ``flickr30k``).

    The figures are those of LAVIS's task ``retrieval``, in percent (`retrieval_figures`); ties count as lost, and what
    is no number is refused.

    Args:
        score_by: ``cosine`` of embeddings; ``rerank``: the best ``k_test`` by cosine get match logit + cosine, as BLIP
            does it; ``pairs``: the match logit of every pair; ``auto``: what the architecture's paper does, which is
            cosine for CLIP, rerank for BLIP, pairs for ViLT (rerank where it has a contrastive head and k_test is
            given).
        k_test: Candidates of a query; None: 256. 0 with ``auto``: no re-ranking.
        pairs_per_pass: Pairs read at once.
    """

    RUN_DEFAULTS = EVALUATION

    def __init__(self, score_by: str = "auto", k_test: int | None = None, pairs_per_pass: int = 256):
        super().__init__()
        if score_by not in _WAYS:
            raise ValueError(f"run.score_by is {score_by!r}; expected one of {', '.join(_WAYS)}.")
        least = 1 if score_by == "rerank" else 0
        if k_test is not None and k_test < least:
            raise ValueError(f"run.k_test is {k_test}; expected at least {least}.")
        if pairs_per_pass < 1:
            raise ValueError(f"run.pairs_per_pass is {pairs_per_pass}; expected at least 1.")
        self.score_by, self.k_test, self.pairs_per_pass = score_by, k_test, pairs_per_pass

    @classmethod
    def setup_task(cls, cfg) -> "RetrievalEvaluationTask":
        """The task of a run config.

        Raises:
            ValueError: If the model can't do it, or an option is out of range.
        """
        scorer_class_of(registry.get_model_class(cfg.model_cfg.arch))
        fill_run_defaults(cfg.run_cfg, cls.RUN_DEFAULTS)
        run = cfg.run_cfg
        k_test = run.get("k_test")
        return cls(
            str(run.get("score_by", "auto")),
            None if k_test is None else int(k_test),
            int(run.get("pairs_per_pass", 256)),
        )

    def build_model(self, cfg) -> nn.Module:
        model = super().build_model(cfg)
        way = self.way_of(scorer_of(model))  # refuses now what it would refuse after an hour
        if self.score_by == "auto" and self.k_test and way != "rerank":
            logger.warning("run.k_test is %d, but this model does not both embed and match: no re-ranking", self.k_test)
        return self.fill_caches(model, cfg.run_cfg)

    def way_of(self, scorer: ImageTextScorer) -> str:
        """How a model's scores are made: cosine, rerank or pairs.

        Raises:
            ValueError: If ``score_by`` asks for what the model can't do.
        """
        able = {
            "cosine": scorer.embeds,
            "rerank": scorer.embeds and scorer.matches,
            "pairs": scorer.matches,
        }
        if self.score_by != "auto":
            if not able[self.score_by]:
                can = ", ".join(way for way in able if able[way])
                raise ValueError(f"run.score_by is {self.score_by!r}; this model can be scored by {can}, or auto.")
            return self.score_by
        if isinstance(scorer, ViltScorer):
            return "rerank" if able["rerank"] and self.k_test else "pairs"
        return "rerank" if able["rerank"] and self.k_test != 0 else "cosine"

    def evaluation(self, model, data_loader, **kwargs) -> dict[str, np.ndarray]:
        """Ranks of all images and of all texts, the same on every process; see `retrieval_ranks`.

        Raises:
            ValueError: If a score is no number.
        """
        scorer, dataset = scorer_of(model), data_loader.dataset
        way = self.way_of(scorer)
        logger.info("%d images and %d texts, by %s", len(dataset), len(dataset.text), way)
        if way == "pairs":
            wanted = [np.arange(len(dataset.text))] * len(dataset)
            of_images = match_logits(scorer, data_loader, dataset.text, wanted, self.pairs_per_pass)
            of_texts = of_images.T
        else:
            cosines = embed_images(scorer, data_loader) @ embed_texts(scorer, dataset.text).T  # (N, M)
            of_images, of_texts = cosines, cosines.T
            if way == "rerank":
                of_images, of_texts = self._reranked(scorer, data_loader, cosines)
        # On the first process alone: it is host work that the others would do over again.
        return from_rank_zero(lambda: retrieval_ranks(of_images, of_texts, dataset.img2txt, dataset.txt2img))

    def _reranked(self, scorer: ImageTextScorer, data_loader, cosines: np.ndarray):
        """Final scores of each image and of each text, made when they are looked at: N of (M,) and M of (N,)."""
        k = _K_TEST if self.k_test is None else self.k_test
        texts_of, images_of = candidates(cosines, k), candidates(cosines.T, k)
        asked = np.zeros(cosines.shape, dtype=bool)  # a pair that both ways ask for is read once
        np.put_along_axis(asked, texts_of, True, axis=1)
        np.put_along_axis(asked.T, images_of, True, axis=1)
        wanted = [row.nonzero()[0] for row in asked]
        logits = match_logits(scorer, data_loader, data_loader.dataset.text, wanted, self.pairs_per_pass)

        def final(cosines, items, logits):
            return (reranked(row, own, of[own]) for row, own, of in zip(cosines, items, logits, strict=True))

        return final(cosines, texts_of, logits), final(cosines.T, images_of, logits.T)

    def after_evaluation(self, val_result, split_name, epoch, **kwargs) -> dict[str, float]:
        """The figures; ranks go to ``result/retrieval_<split>_epoch<epoch>.json``, figures to ``evaluate.txt``."""
        figures = retrieval_figures(val_result)
        ranks = {"image_to_text": val_result["txt"].tolist(), "text_to_image": val_result["img"].tolist()}
        write_predictions(f"retrieval_{split_name}_epoch{epoch}", {"ranks": ranks})
        tell_figures(split_name, figures)
        return figures
