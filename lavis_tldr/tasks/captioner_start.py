"""What must be known before a captioner is trained: its vocabulary, and where its codes start."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from lavis.common.dist_utils import is_main_process
from omegaconf import OmegaConf
from torch import Tensor

from lavis_tldr.codebook.initialization import lloyd, match_moments
from lavis_tldr.codebook.keywords import find_keywords
from lavis_tldr.datasets.caption_pairs import CaptionPairs
from lavis_tldr.datasets.encoding_cache import EncodingCache
from lavis_tldr.models.codebook_captioner import CodebookCaptioner
from lavis_tldr.models.collectives import barrier
from lavis_tldr.models.image_encoding import ImageEncoding
from lavis_tldr.models.wordpiece_training import train_vocabulary
from lavis_tldr.progress import progress

logger = logging.getLogger(__name__)

_FEATURES_PER_CODE = 64  # Lloyd's passes see about so many features a code
_LLOYD_PASSES = 10
_IMAGES_FOR_MEAN = 512
_MAX_CAPTIONS = 200_000  # for keywords and vocabulary: more would change neither noticeably


def _sample_captions(train_set: CaptionPairs, seed: int) -> list[str]:
    """At most `_MAX_CAPTIONS` captions, drawn by the seed, in their order."""
    total = train_set.items.num_captions
    if total <= _MAX_CAPTIONS:
        return train_set.captions()
    return train_set.captions(np.sort(np.random.default_rng(seed).choice(total, _MAX_CAPTIONS, replace=False)))


def ensure_vocabulary(model_cfg, train_set: CaptionPairs, folder: Path, size: int, seed: int) -> None:
    """Train a WordPiece vocabulary from the captions where the model config brings none; sets ``vocabulary``."""
    cfg = model_cfg
    brings_one = cfg.text_weights or cfg.vocabulary or cfg.pretrained or (cfg.load_finetuned and cfg.finetuned)
    if brings_one:
        return
    tokens = train_vocabulary(_sample_captions(train_set, seed), size)
    path = folder / "vocab.txt"
    if is_main_process():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    barrier()
    OmegaConf.update(cfg, "vocabulary", str(path))
    logger.info("Trained a vocabulary of %d tokens from the captions: %s", len(tokens), path)


# Not inference_mode: parameters moved to a device in it could not be trained.
@torch.no_grad()
def start_codebook(model: CodebookCaptioner, model_cfg, train_set: CaptionPairs, device: str, seed: int) -> None:
    """Start the codes from keywords or features of the training images (``model.codebook_init``).

    ``keywords``: text embeddings of the K most frequent keywords (sec. 3.1), mapped onto the features' distribution
    and settled among them by Lloyd's passes; each code keeps its keyword as a name. ``kmeans``: drawn features,
    settled likewise. ``xavier``: left as they are. Every process computes the same.

    Raises:
        ValueError: If ``codebook_init`` is unknown, or keywords or images are too few.
    """
    quantizer, kind = model.quantizer, model_cfg.codebook_init
    if quantizer is None or model.codebook_started:
        return
    if kind not in ("keywords", "kmeans", "xavier"):
        raise ValueError(f"model.codebook_init is {kind!r}; expected keywords, kmeans or xavier.")
    generator = torch.Generator().manual_seed(seed)
    if kind != "xavier":
        if kind == "keywords":  # before any image is encoded: too few keywords are found out at once
            model.code_names = _keywords(model_cfg, train_set, quantizer.num_codes, seed)
        model.to(device).eval()
        quantizer.mean_feature.copy_(_mean_feature(model, train_set, generator))
        features = _sample_features(model, train_set, device, quantizer.num_codes * _FEATURES_PER_CODE, generator)
        if len(features) < quantizer.num_codes:
            raise ValueError(
                f"{len(train_set)} training samples give {len(features)} patch features, fewer than model.num_codes "
                f"{quantizer.num_codes}: lower it, or give more images."
            )
        if kind == "keywords":
            codes = match_moments(embed_keywords(model, model.code_names).cpu(), features)
        else:
            codes = features[torch.randperm(len(features), generator=generator)[: quantizer.num_codes]]
        quantizer.set_codes(lloyd(features, codes, _LLOYD_PASSES, generator=generator))
    model.codebook_started = True
    logger.info("Started %d codes from %s.", quantizer.num_codes, kind)


@torch.no_grad()
def quantize_cached(model: CodebookCaptioner, datasets: dict, device: str) -> None:
    """Quantize the images of the datasets that have cached features once, where the codes are still."""
    cached = [dataset for dataset in datasets.values() if dataset.features is not None]
    if model.quantizer is None or not model.quantizer.frozen or not cached:
        return
    model.to(device).eval()

    def encoded(dataset: CaptionPairs) -> Iterator[tuple[list[str], ImageEncoding]]:
        keys = list(dict.fromkeys(key for key, _, _ in dataset.items))
        for start in progress(range(0, len(keys), 64), "codes of images", "batch"):
            block = keys[start : start + 64]
            tokens = np.stack([dataset.features[key] for key in block]).astype(np.float32)
            yield block, model.quantize_tokens(torch.from_numpy(tokens).to(device))

    for dataset in cached:
        dataset.use_encodings(EncodingCache(encoded(dataset)))


def embed_keywords(model: CodebookCaptioner, keywords: list[str]) -> Tensor:
    """Text embeddings of keywords by the BERT that the decoder starts from, (K, W)."""
    rows = []
    for start in range(0, len(keywords), 256):
        ids = model.token_ids(keywords[start : start + 256])
        rows.append(model.decoder.embed_text(ids, ids != model.tokenizer.pad).float())
    return torch.cat(rows)


def _keywords(model_cfg, train_set: CaptionPairs, num_codes: int, seed: int) -> list[str]:
    if model_cfg.keywords_file:
        path = Path(model_cfg.keywords_file)
        if not path.is_file():
            raise ValueError(f"model.keywords_file: there is no file {path}.")
        names = list(dict.fromkeys(line.strip() for line in path.read_text(encoding="utf-8").splitlines()))
        names = [name for name in names if name]
        if len(names) < num_codes:
            raise ValueError(f"{path} holds {len(names)} keywords, fewer than model.num_codes {num_codes}: lower it.")
        return names[:num_codes]
    return find_keywords(_sample_captions(train_set, seed), num_codes)


def _mean_feature(model: CodebookCaptioner, pairs: CaptionPairs, generator: torch.Generator) -> Tensor:
    """Mean patch feature of drawn images, (D,)."""
    drawn = torch.randperm(len(pairs), generator=generator)[:_IMAGES_FOR_MEAN].tolist()
    batches = (drawn[start : start + 64] for start in range(0, len(drawn), 64))
    sums = [
        model.image_tokens(pairs.collater([pairs[i] for i in rows])).float()[:, 1:].mean(1).sum(0) for rows in batches
    ]
    return torch.stack(sums).sum(0) / len(drawn)


def _sample_features(
    model: CodebookCaptioner, pairs: CaptionPairs, device: str, wanted: int, generator: torch.Generator
) -> Tensor:
    """About ``wanted`` features of drawn images, as the quantizer compares them, (N, D), on the CPU."""
    per_image = max(1, min(model.num_patches, -(-wanted // len(pairs))))
    num_images = min(len(pairs), -(-wanted // per_image))
    drawn = torch.randperm(len(pairs), generator=generator)[:num_images].tolist()
    found = []
    for start in progress(range(0, num_images, 64), "features for the codebook", "block"):
        batch = pairs.collater([pairs[i] for i in drawn[start : start + 64]])
        features = model.quantizer.lookup_space(model.image_tokens(batch)[:, 1:]).float().cpu()  # (B, L, D)
        for row in features:
            found.append(row[torch.randperm(len(row), generator=generator)[:per_image]])
    return torch.cat(found)
