"""The LAVIS task of finding a video by its caption (MSRVTT 1K-A), by any architecture on any number of processes.

Keys under ``run``:

    k_test: null             videos of a text that are read together with it, the best by cosine. null: 128 for BLIP, as
                             its authors have it, all for ViLT; 0: none for BLIP (cosine alone), all for ViLT
    video_frames: joined     the frames' tokens are read at once (joined), or one frame after the other (mean)
    pairs_per_pass: 32       pairs of a frame, or of a joined video, and a text that are read at once

N videos, R of them readable, M texts.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lavis.common.registry import registry
from lavis.tasks.base_task import BaseTask

from lavis_tldr.datasets.tldr_video_retrieval import VideoRetrieval
from lavis_tldr.evaluation.ranks import best_ranks, hit_rate, median_rank
from lavis_tldr.evaluation.reranking import candidates, reranked
from lavis_tldr.files import open_whole
from lavis_tldr.models.collectives import rank
from lavis_tldr.models.scorers import ImageTextScorer, ReadImages, scorer_class_of, scorer_of
from lavis_tldr.models.scorers.videos import WAYS, embed_videos, match_video
from lavis_tldr.models.scorers.vilt import ViltScorer
from lavis_tldr.progress import progress
from lavis_tldr.tasks.evaluation_results import tell_figures, write_predictions
from lavis_tldr.tasks.gathering import merge_ranks
from lavis_tldr.tasks.own_share import own_share
from lavis_tldr.tasks.run_defaults import EVALUATION, fill_run_defaults
from lavis_tldr.tasks.scored_sets import embed_texts
from lavis_tldr.user_errors import closest

logger = logging.getLogger(__name__)

RUN_KEYS = ("k_test", "video_frames", "pairs_per_pass")
_K_TEST = 128
_NAMED = 10


@registry.register_task("tldr_video_retrieval")
class VideoRetrievalTask(BaseTask):
    """Text to video: ``vid_r1``, ``vid_r5``, ``vid_r10`` in percent, and ``vid_mdr``, the median rank.

    CLIP by the cosine of the frames' mean; BLIP likewise, the best ``k_test`` by match logit + cosine; ViLT by the
    match logit of all pairs, or, where it has a contrastive head and ``k_test`` is given, as BLIP. A video that can't
    be read is told of, and its texts have the last rank.

    Args:
        k_test, frames, per_pass: ``run.k_test``, ``run.video_frames``, ``run.pairs_per_pass``.
    """

    RUN_DEFAULTS = EVALUATION

    def __init__(self, k_test: int | None = None, frames: str = "joined", per_pass: int = 32):
        super().__init__()
        if frames not in WAYS:
            raise ValueError(f"run.video_frames {frames!r} is unknown{closest(frames, WAYS)}.")
        for name, value, least in (("k_test", k_test, 0), ("pairs_per_pass", per_pass, 1)):
            if value is not None and value < least:
                raise ValueError(f"run.{name} is {value}; expected at least {least}.")
        self.k_test, self.frames, self.per_pass = k_test, frames, per_pass

    @classmethod
    def setup_task(cls, cfg) -> "VideoRetrievalTask":
        """
        Raises:
            ValueError: If the model can't do it, or a setting is none that there is.
        """
        fill_run_defaults(cfg.run_cfg, cls.RUN_DEFAULTS)
        run = cfg.run_cfg
        if run.get("train_splits"):
            raise ValueError("tldr_video_retrieval trains nothing: set run.train_splits: [] and run.evaluate: True.")
        scorer_class_of(registry.get_model_class(cfg.model_cfg.arch))
        k_test = run.get("k_test")
        k_test = None if k_test is None else int(k_test)
        return cls(k_test, str(run.get("video_frames", "joined")), int(run.get("pairs_per_pass", 32)))

    def num_read(self, scorer: ImageTextScorer) -> int | None:
        """How many videos each text is read with: 0: none; None: all."""
        if not scorer.matches:
            return 0
        if not scorer.embeds:
            return None
        if isinstance(scorer, ViltScorer):
            return self.k_test or None
        return _K_TEST if self.k_test is None else self.k_test

    @torch.no_grad()
    def evaluation(self, model, data_loader, **kwargs) -> dict[str, Any]:
        """Ranks of all texts, the same on every process.

        Returns:
            ``ranks``, (M,) from 1; ``unreadable``, why by video.

        Raises:
            ValueError: If no video can be read, or a score is no finite number.
        """
        scorer, dataset = scorer_of(model), data_loader.dataset
        num_read = self.num_read(scorer)
        embeddings, tokens, errors = self._encode(scorer, data_loader, keep=num_read != 0)
        readable = [number for number in range(len(dataset)) if number not in errors]
        if not readable:
            raise ValueError(f"none of {len(dataset)} videos can be read (first: {dataset.video[0]}: {errors[0]}).")
        cosines = wanted = None
        if scorer.embeds:
            cosines = embed_texts(scorer, dataset.text) @ np.stack([embeddings[number] for number in readable]).T
        if num_read is None:
            wanted = np.ones((len(dataset.text), len(readable)), dtype=bool)
        elif num_read:
            _tell_if_fewer(num_read, len(readable))
            chosen = candidates(cosines, num_read)  # (M, k)
            wanted = np.zeros(cosines.shape, dtype=bool)
            np.put_along_axis(wanted, chosen, True, axis=1)
        scores = cosines
        if wanted is not None:
            scores = self._logits(scorer, dataset, tokens, readable, wanted)
            if num_read:
                scores = np.stack([reranked(c, k, row[k]) for c, k, row in zip(cosines, chosen, scores, strict=True)])
        unreadable = {dataset.video[number]: why for number, why in sorted(errors.items())}
        return {"ranks": ranks_of(scores, readable, dataset.txt2video, len(dataset)), "unreadable": unreadable}

    def _encode(
        self, scorer: ImageTextScorer, data_loader, keep: bool
    ) -> tuple[dict[int, np.ndarray], dict[int, ReadImages], dict[int, str]]:
        """All videos' embeddings by number, this process's frames' tokens, and why others can't be read.

        Tokens wait in float16 on the host: a thousand videos of BLIP at 384 pixels take 7 GB there.
        """
        count = data_loader.dataset.frames
        embeddings: dict[int, np.ndarray] = {}
        tokens: dict[int, ReadImages] = {}
        errors: dict[int, str] = {}
        loader = own_share(data_loader, scorer.device.type == "cuda")
        for batch in progress(loader, "reading videos", "video"):
            for sample in batch["samples"]:
                number = sample["index"]
                if "error" in sample:
                    errors[number] = sample["error"]
                    continue
                frames = {"image": sample["image"].to(scorer.device)}
                read = scorer.read_images(frames) if keep else None
                if scorer.embeds:
                    embeddings[number] = embed_videos(scorer, frames, read, count)[0].cpu().numpy()
                if keep:
                    tokens[number] = read.to("cpu", torch.float16)
        return merge_ranks(embeddings), tokens, merge_ranks(errors)

    def _logits(
        self,
        scorer: ImageTextScorer,
        dataset: VideoRetrieval,
        tokens: Mapping[int, ReadImages],
        readable: list[int],
        wanted: np.ndarray,
    ) -> np.ndarray:
        """Match logits, (M, R) float32, 0 where they are not wanted; each process reads the videos whose tokens it has.

        Args:
            scorer: The model.
            dataset: The set.
            tokens: Of this process's videos.
            readable: The videos' numbers.
            wanted: Which pairs are, (M, R).
        """
        dtype = next(scorer.model.parameters()).dtype
        columns = [column for column, number in enumerate(readable) if number in tokens]
        found = {}
        for column in progress(columns, "matching videos", "video"):
            rows = wanted[:, column].nonzero()[0]
            if len(rows):
                video = tokens[readable[column]].to(scorer.device, dtype)
                texts = [dataset.text[row] for row in rows]
                found[column] = match_video(scorer, video, texts, self.frames, self.per_pass).cpu().numpy()
        logits = np.zeros(wanted.shape, np.float32)
        for column, values in merge_ranks(found).items():
            if not np.isfinite(values).all():
                raise ValueError(f"a match logit of {dataset.video[readable[column]]} is no finite number.")
            logits[wanted[:, column], column] = values
        return logits

    def after_evaluation(self, val_result: dict[str, Any], split_name: str, epoch, **kwargs) -> dict[str, float]:
        """The figures; ranks go to ``result/video_retrieval_<split>_epoch<epoch>.json``, and videos that can't be read
        are told of and listed in ``unreadable_videos.json`` of the run's folder."""
        ranks, unreadable = val_result["ranks"], val_result["unreadable"]
        found = {**figures(ranks), "texts": len(ranks), "videos_unreadable": len(unreadable)}
        write_predictions(f"video_retrieval_{split_name}_epoch{epoch}", {"ranks": ranks.tolist()})
        tell_figures(split_name, found)
        if unreadable and rank() == 0:
            path = Path(registry.get_path("output_dir")) / "unreadable_videos.json"
            with open_whole(path) as file:
                file.write(json.dumps(unreadable, indent=1, ensure_ascii=False).encode())
            _tell_unreadable(unreadable, path)
        return found


def ranks_of(scores: np.ndarray, readable: list[int], txt2video: list[int], num_videos: int) -> np.ndarray:
    """Rank of each text's own video, (M,) int64, from 1; the last, N, where that can't be read.

    Args:
        scores: Of texts with readable videos, (M, R).
        readable: Numbers of those videos.
        txt2video: Number of each text's video.
        num_videos: N.

    Raises:
        ValueError: If a score is no finite number.
    """
    column = {number: place for place, number in enumerate(readable)}
    found = np.array([number in column for number in txt2video])
    ranks = np.full(len(txt2video), num_videos, dtype=np.int64)
    own = [[column[number]] for number in txt2video if number in column]
    if own:
        ranks[found] = best_ranks(scores[found], own)
    return ranks


def figures(ranks: np.ndarray) -> dict[str, float]:
    """Hit rates in percent, and the median rank; ``agg_metrics`` is the mean of the three rates."""
    rates = {f"vid_r{k}": hit_rate(ranks, k) for k in (1, 5, 10)}
    return {**rates, "vid_mdr": median_rank(ranks), "agg_metrics": float(np.mean(list(rates.values())))}


def _tell_if_fewer(k_test: int, num_videos: int) -> None:
    if k_test > num_videos and rank() == 0:
        logger.info("run.k_test is %d: there are %d videos, all are read with each text", k_test, num_videos)


def _tell_unreadable(unreadable: Mapping[str, str], path: Path) -> None:
    for video, why in list(unreadable.items())[:_NAMED]:
        logger.warning("%s: %s", video, why)
    count = len(unreadable)
    more = f", {_NAMED} of them named here" if count > _NAMED else ""
    logger.warning("%d videos can't be read%s: their texts have the last rank. All are listed in %s", count, more, path)
