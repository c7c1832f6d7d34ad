"""Scores a reduction by the retrieval proxy."""

from __future__ import annotations

from pathlib import Path

from omegaconf import OmegaConf
from torch import Tensor

from lavis_tldr.ablation.settings import ProxySettings
from lavis_tldr.datasets.caption_pairs import read_items
from lavis_tldr.datasets.image_features import encoder_fingerprint
from lavis_tldr.evaluation.proxy_evaluator import (
    ProxyEvaluator,
    feature_cache,
    image_features,
    kept_pairs,
)
from lavis_tldr.models.sentence_encoder import SentenceEncoder
from lavis_tldr.runs.ledger import iter_ledger
from lavis_tldr.runs.manifest import digest_of
from lavis_tldr.runs.stages import PLACE, REPEATS

_KEPT = ("kept", "image_key", "caption", "caption_from", "caption_original", "caption_generated", REPEATS)


class ProxyScorer:
    """Trains and scores the proxy on one reduced set after another; image features are kept for all of them.

    Images of the same source by the same encoder are the same for all arms, so that arms differ in nothing else.

    Raises:
        ValueError: If there is no pair to score on.
    """

    def __init__(self, settings: ProxySettings):
        self.settings = settings
        self._val = read_items(settings.val, by_image=True)
        if not self._val:
            raise ValueError(
                f"proxy.val has no pair that can be used ({settings.val}): look at its paths; the warning in the log "
                "says why."
            )
        self._images: dict[str, Tensor] = {}
        self._images_of = ""
        self._texts: SentenceEncoder | None = None

    def __call__(self, reduced_set: Path, runner, seed: int) -> tuple[dict[str, float], int]:
        """Metrics (`retrieval_metrics`), and the number of pairs trained on.

        Args:
            reduced_set: Its folder.
            runner: That made it, or found it done.
            seed: Of the proxy.
        """
        evaluate = ProxyEvaluator(self._image_features(reduced_set, runner), self._text_encoder(runner), self._val)
        tables = iter_ledger(reduced_set, _KEPT, only_kept=True)
        pairs = [pair for table in tables for pair in kept_pairs(table)]
        return evaluate(pairs, self.settings.options, seed), len(pairs)

    def _image_features(self, reduced_set: Path, runner) -> dict[str, Tensor]:
        source = OmegaConf.to_container(runner.config.config.datasets.tldr_source, resolve=True)
        model = runner.model
        made_of = digest_of({"encoder": encoder_fingerprint(model), "source": source})
        if made_of != self._images_of:
            self._images = image_features(
                model.to(runner.config.run_cfg.device).eval(),
                iter_ledger(reduced_set, ["image_key", "error", *PLACE]),
                self._val,
                vis_processor=runner.datasets["tldr_source"]["train"].vis_processor,
                cached=feature_cache(self.settings.feature_cache, model),
            )
            self._images_of = made_of
        return self._images

    def _text_encoder(self, runner) -> SentenceEncoder:
        if self._texts is None:
            self._texts = SentenceEncoder(self.settings.similarity_weights).to(runner.config.run_cfg.device)
        return self._texts
