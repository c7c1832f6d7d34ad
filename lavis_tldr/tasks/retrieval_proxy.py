"""The LAVIS task that compares reduced sets with the whole set by a small retrieval model."""

import csv
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from lavis.common.registry import registry
from lavis.tasks.base_task import BaseTask
from omegaconf import OmegaConf

from lavis_tldr.evaluation.proxy_trial import (
    PLACE,
    ProxyTrial,
    TextFeatures,
    TrainingPair,
    feature_cache,
    image_features,
    kept_pairs,
)
from lavis_tldr.evaluation.retrieval_proxy import ProxyOptions
from lavis_tldr.models.sentence_encoder import SentenceEncoder
from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.runs.ledger import read_ledger

logger = logging.getLogger(__name__)

RUN_KEYS = (
    "proxy_ledgers",
    "proxy_seeds",
    "proxy_steps",
    "proxy_batch_size",
    "proxy_learning_rate",
    "similarity_weights",
)


@dataclass
class Arm:
    """A training set. Seed -> pairs, where the set itself is drawn."""

    name: str
    pairs: Callable[[int], list[TrainingPair]]


@registry.register_task("tldr_proxy")
class RetrievalProxyTask(BaseTask):
    """Trains the proxy on each set, for the same number of steps, and scores it on the split ``val``.

    Sets: the whole set as it came, a random share of the size of the first reduced set, and for each ledger the
    reduced set with its original and with its refined captions (of two, one drawn at every epoch, where its recipe
    is drawn). Images are told by the pooled features of the captioner's encoder, captions by a sentence encoder; both
    stay as they are.
    """

    @classmethod
    def setup_task(cls, cfg) -> "RetrievalProxyTask":
        return cls()

    def run(self, model, datasets: dict, run_cfg) -> list[dict]:
        """Compare the sets; writes ``proxy.csv`` and ``proxy.md`` to the output folder.

        Raises:
            ValueError: If a ledger or the validation split is missing, or an image.
        """
        ledgers = OmegaConf.to_container(run_cfg.get("proxy_ledgers") or {})
        val = datasets.get("tldr_captions", {}).get("val")
        if not ledgers or val is None:
            raise ValueError("tldr_proxy needs run.proxy_ledgers: {name: RUN/NAME} and datasets.tldr_captions.val.")
        tables = {name: read_ledger(path) for name, path in ledgers.items()}
        device = str(run_cfg.device)
        folder = Path(run_cfg.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        cached = feature_cache(val.feature_cache_folder, model)
        images = image_features(
            model.to(device).eval(),
            (table.select(["image_key", "error", *PLACE]) for table in tables.values()),
            val.items,
            vis_processor=val.vis_processor,
            cached=cached,
            num_workers=int(run_cfg.get("num_workers", 0)),
        )
        trial = ProxyTrial(images, TextFeatures(SentenceEncoder(run_cfg.similarity_weights).to(device)), val.items)
        options = ProxyOptions(
            num_steps=int(run_cfg.get("proxy_steps", ProxyOptions.num_steps)),
            batch_size=int(run_cfg.get("proxy_batch_size", ProxyOptions.batch_size)),
            learning_rate=float(run_cfg.get("proxy_learning_rate", ProxyOptions.learning_rate)),
        )
        rows = []
        for arm in build_arms(tables):
            results = []
            for seed in range(int(run_cfg.get("proxy_seeds", 5))):
                pairs = arm.pairs(seed)
                results.append(trial(pairs, options, seed))
            row = {"set": arm.name, "pairs": len(pairs), "seeds": len(results), **_spread(results)}
            rows.append(row)
            logger.info("%-40s %s", arm.name, row)
        _write(rows, folder)
        return rows


def build_arms(ledgers: dict[str, pa.Table]) -> list[Arm]:
    """The training sets to compare; the random one is drawn anew for each seed."""
    first = next(iter(ledgers.values()))
    usable = [
        row for row in first.select(["image_key", "key", "caption_original", "error"]).to_pylist() if not row["error"]
    ]
    whole = [(row["image_key"], (row["caption_original"],)) for row in usable]
    size = sum(first["kept"].to_pylist())

    def random_share(seed: int) -> list[TrainingPair]:
        order = np.argsort(draw_priority([row["key"] for row in usable], seed), kind="stable")[:size]
        return [whole[i] for i in order]

    arms = [Arm("whole set", lambda seed: whole), Arm("random share", random_share)]
    for name, table in ledgers.items():
        kept = table.filter(table["kept"]).select(["image_key", "caption_original"]).to_pylist()
        original = [(row["image_key"], (row["caption_original"],)) for row in kept]
        for what, pairs in (("original captions", original), ("refined captions", kept_pairs(table))):
            arms.append(Arm(f"{name}, {what}", lambda seed, pairs=pairs: pairs))
    return arms


def _spread(results: list[dict[str, float]]) -> dict[str, float]:
    """Mean and standard deviation over the seeds."""
    spread = {}
    for name in results[0]:
        values = np.array([result[name] for result in results])
        spread[name] = round(float(values.mean()), 2)
        if name == "mean_recall":
            spread["deviation"] = round(float(values.std(ddof=1)), 2) if len(values) > 1 else 0.0
    return spread


def _write(rows: list[dict], folder: Path) -> None:
    with open(folder / "proxy.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    header = list(rows[0])
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(str(row[name]) for name in header) + " |" for row in rows]
    (folder / "proxy.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
