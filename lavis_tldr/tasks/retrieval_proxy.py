"""The LAVIS task that compares reduced sets with the whole set by a small retrieval model."""

import csv
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from lavis.common.registry import registry
from lavis.tasks.base_task import BaseTask
from omegaconf import OmegaConf
from torch import Tensor

from lavis_tldr.datasets.caption_pairs import CaptionPairs
from lavis_tldr.datasets.feature_cache import FeatureCache
from lavis_tldr.models.retrieval_proxy import ProxyOptions, RetrievalProxy, retrieval_recall, train_proxy
from lavis_tldr.models.sentence_encoder import SentenceEncoder
from lavis_tldr.reduction.draw import draw_priority
from lavis_tldr.reduction.ledger import read_ledger
from lavis_tldr.sources import ImageLocation
from lavis_tldr.tasks.image_features import encoder_fingerprint, mean_features

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
    """A training set: images by key with a caption each. Seed -> pairs, where the set itself is drawn."""

    name: str
    pairs: Callable[[int], list[tuple[str, str]]]


class _TextFeatures:
    """Sentence embeddings, each caption's computed once."""

    def __init__(self, sentences: SentenceEncoder):
        self._sentences = sentences
        self._known: dict[str, Tensor] = {}

    def __call__(self, captions: list[str]) -> Tensor:
        """(T, W), in order."""
        new = [caption for caption in dict.fromkeys(captions) if caption not in self._known]
        if new:
            self._known.update(zip(new, self._sentences(new), strict=True))
        return torch.stack([self._known[caption] for caption in captions])


@registry.register_task("tldr_proxy")
class RetrievalProxyTask(BaseTask):
    """Trains the proxy on each set, for the same number of steps, and scores it on the split ``val``.

    Sets: the whole set as it came, a random share of the size of the first reduced set, and for each ledger the
    reduced set with its original and with its refined captions. Images are told by the mean patch feature of the
    captioner's encoder, captions by a sentence encoder; both stay as they are.
    """

    @classmethod
    def setup_task(cls, cfg) -> "RetrievalProxyTask":
        return cls()

    def run(self, model, datasets: dict, run_cfg) -> list[dict]:
        """Compare the sets; writes ``proxy.csv`` and ``proxy.md`` to the output folder.

        Raises:
            ValueError: If a ledger or the validation split is missing.
        """
        ledgers = OmegaConf.to_container(run_cfg.get("proxy_ledgers") or {})
        val = datasets.get("tldr_captions", {}).get("val")
        if not ledgers or val is None:
            raise ValueError("tldr_proxy needs run.proxy_ledgers: {name: RUN/NAME} and datasets.tldr_captions.val.")
        tables = {name: read_ledger(path) for name, path in ledgers.items()}
        device = str(run_cfg.device)
        folder = Path(run_cfg.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        images = _image_features(model.to(device).eval(), tables, val, int(run_cfg.get("num_workers", 0)))
        texts = _TextFeatures(SentenceEncoder(run_cfg.similarity_weights).to(device))
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
                features = torch.stack([images[key] for key, _ in pairs])
                proxy = train_proxy(features, texts([caption for _, caption in pairs]), options, seed)
                results.append(_score(proxy, images, texts, val))
            row = {"set": arm.name, "pairs": len(pairs), "seeds": len(results), **_spread(results)}
            rows.append(row)
            logging.info("%-40s %s", arm.name, row)
        _write(rows, folder)
        return rows


def build_arms(ledgers: dict[str, pa.Table]) -> list[Arm]:
    """The training sets to compare; the random one is drawn anew for each seed."""
    first = next(iter(ledgers.values()))
    usable = [
        row for row in first.select(["image_key", "key", "caption_original", "error"]).to_pylist() if not row["error"]
    ]
    whole = [(row["image_key"], row["caption_original"]) for row in usable]
    size = sum(first["kept"].to_pylist())

    def random_share(seed: int) -> list[tuple[str, str]]:
        order = np.argsort(draw_priority([row["key"] for row in usable], seed), kind="stable")[:size]
        return [whole[i] for i in order]

    arms = [Arm("whole set", lambda seed: whole), Arm("random share", random_share)]
    for name, table in ledgers.items():
        kept = table.filter(table["kept"]).select(["image_key", "caption_original", "caption"]).to_pylist()
        for column, what in (("caption_original", "original captions"), ("caption", "refined captions")):
            pairs = [(row["image_key"], row[column]) for row in kept]
            arms.append(Arm(f"{name}, {what}", lambda seed, pairs=pairs: pairs))
    return arms


def _image_features(model, ledgers: dict[str, pa.Table], val: CaptionPairs, num_workers: int) -> dict[str, Tensor]:
    """Mean patch feature of each image by key, (D,), standardized over all of them."""
    places = {key: place for key, place, _ in val.items}
    for table in ledgers.values():
        columns = ["image_key", "image_path", "image_offset", "image_size", "error"]
        for row in table.select(columns).to_pylist():
            if not row["error"]:
                place = ImageLocation(row["image_path"], row["image_offset"], row["image_size"])
                places.setdefault(row["image_key"], place)
    folder = val.feature_cache_folder
    cached = FeatureCache(folder, encoder_fingerprint(model)) if folder else None
    found = mean_features(model, places, val.vis_processor, cached, bf16=False, num_workers=num_workers)
    stacked = torch.stack(list(found.values()))
    stacked = (stacked - stacked.mean(0)) / stacked.std(0).clamp(min=1e-6)
    return dict(zip(found, stacked, strict=True))


@torch.no_grad()
def _score(proxy: RetrievalProxy, images: dict[str, Tensor], texts: _TextFeatures, val: CaptionPairs) -> dict:
    captions = [caption for _, _, references in val.items for caption in references]
    image_of = [i for i, (_, _, references) in enumerate(val.items) for _ in references]
    image_embeddings = proxy.embed_images(torch.stack([images[key] for key, _, _ in val.items]))
    return retrieval_recall((image_embeddings @ proxy.embed_texts(texts(captions)).T).numpy(), image_of)


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
