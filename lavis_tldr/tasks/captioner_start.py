"""What must be known before a captioner is trained: its vocabulary, and where its codes start."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lavis.common.dist_utils import is_main_process
from omegaconf import OmegaConf
from torch import Tensor
from torch.utils.data import DataLoader

from lavis_tldr.codebook.initialization import lloyd, match_moments
from lavis_tldr.codebook.keywords import find_keywords
from lavis_tldr.datasets.caption_pairs import CaptionPairs
from lavis_tldr.datasets.encoding_cache import EncodingCache
from lavis_tldr.datasets.unreadable import ListeningLoader
from lavis_tldr.models.codebook_captioner import CodebookCaptioner
from lavis_tldr.models.collectives import barrier, from_all_ranks, from_rank_zero, share
from lavis_tldr.models.image_encoding import ImageEncoding
from lavis_tldr.models.wordpiece_training import train_vocabulary
from lavis_tldr.progress import progress

logger = logging.getLogger(__name__)

_FEATURES_PER_CODE = 64  # Lloyd's passes see about so many features a code
_LLOYD_PASSES = 10
_IMAGES_FOR_MEAN = 512
_CAPTIONS_AT_ONCE = 2**13
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
    path = folder / "vocab.txt"
    if is_main_process():
        tokens = train_vocabulary(_sample_captions(train_set, seed), size)
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(tokens) + "\n", encoding="utf-8")
        logger.info("Trained a vocabulary of %d tokens from the captions: %s", len(tokens), path)
    barrier()
    OmegaConf.update(cfg, "vocabulary", str(path))


def allow_tokens_of(model: CodebookCaptioner, train_set: CaptionPairs) -> None:
    """Let captions use the tokens of the training set's; each process looks through its share of them."""
    total = train_set.items.num_captions
    for start in share(range(0, total, _CAPTIONS_AT_ONCE)):
        model.allow_tokens(train_set.captions(np.arange(start, min(start + _CAPTIONS_AT_ONCE, total))))
    model.output_tokens = sorted(set().union(*from_all_ranks(model.output_tokens)))


# Not inference_mode: parameters moved to a device in it could not be trained.
@torch.no_grad()
def start_codebook(
    model: CodebookCaptioner, model_cfg, train_set: CaptionPairs, device: str, seed: int, num_workers: int = 0
) -> None:
    """Start the codes from keywords or features of the training images (``model.codebook_init``).

    ``keywords``: text embeddings of the K most frequent keywords (sec. 3.1), mapped onto the features' distribution
    and settled among them by Lloyd's passes; each code keeps its keyword as a name. ``kmeans``: drawn features,
    settled likewise. ``xavier``: left as they are. The first process computes, and gives the others what it found.

    Args:
        model: Its quantizer is started.
        model_cfg: The model's config.
        train_set: Captions and images.
        device: Where images are encoded.
        seed: Of what is drawn.
        num_workers: Loader processes, where the device is a GPU that would wait. On a CPU images are loaded in this
            process: it would wait in any case, and what the image processor draws stays as it was.

    Raises:
        ValueError: If ``codebook_init`` is unknown, or keywords or images are too few.
    """
    quantizer, kind = model.quantizer, model_cfg.codebook_init
    if quantizer is None or model.codebook_started:
        return
    if kind not in ("keywords", "kmeans", "xavier"):
        raise ValueError(f"model.codebook_init is {kind!r}; expected keywords, kmeans or xavier.")
    if kind != "xavier":
        workers = num_workers if torch.device(device).type == "cuda" else 0
        start = from_rank_zero(lambda: _computed_start(model, model_cfg, train_set, device, seed, workers))
        model.code_names = start.names
        quantizer.mean_feature.copy_(start.mean_feature)
        quantizer.set_codes(start.codes)
    model.codebook_started = True
    logger.info("Started %d codes from %s.", quantizer.num_codes, kind)


@dataclass(frozen=True)
class _Start:
    """Where a codebook starts, on the CPU.

    Attributes:
        names: The keyword of each code, or none.
        mean_feature: (D,).
        codes: (K, code_dim).
    """

    names: list[str]
    mean_feature: Tensor
    codes: Tensor


def _computed_start(
    model: CodebookCaptioner, model_cfg, train_set: CaptionPairs, device: str, seed: int, num_workers: int
) -> _Start:
    quantizer, kind = model.quantizer, model_cfg.codebook_init
    generator = torch.Generator().manual_seed(seed)
    names = model.code_names
    if kind == "keywords":  # before any image is encoded: too few keywords are found out at once
        names = _keywords(model_cfg, train_set, quantizer.num_codes, seed)
    model.to(device).eval()
    images = _DrawnImages(train_set, num_workers, seed)
    quantizer.mean_feature.copy_(_mean_feature(model, images, generator))
    features = _sample_features(model, images, quantizer.num_codes * _FEATURES_PER_CODE, generator)
    if len(features) < quantizer.num_codes:
        raise ValueError(
            f"{len(train_set)} training samples give {len(features)} patch features, fewer than model.num_codes "
            f"{quantizer.num_codes}: lower it, or give more images."
        )
    if kind == "keywords":
        codes = match_moments(embed_keywords(model, names).cpu(), features)
    else:
        codes = features[torch.randperm(len(features), generator=generator)[: quantizer.num_codes]]
    settled = lloyd(features.to(device), codes.to(device), _LLOYD_PASSES, generator=generator)
    return _Start(names, quantizer.mean_feature.cpu(), settled.cpu())


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


class _DrawnImages:
    """Batches of a set's images by index.

    Args:
        pairs: The set.
        num_workers: Loader processes; 0 loads in this one.
        seed: Of what loader processes draw.
    """

    def __init__(self, pairs: CaptionPairs, num_workers: int, seed: int):
        self.pairs, self._num_workers, self._seed = pairs, num_workers, seed

    def __len__(self) -> int:
        return len(self.pairs)

    def batches(self, rows: list[int]) -> Iterator[dict]:
        """Of 64 images at most, as the captioner takes them, in order."""
        loader = ListeningLoader if self._num_workers else DataLoader
        blocks = [rows[start : start + 64] for start in range(0, len(rows), 64)]
        # A generator of its own: without, a loader takes a number from the one that training draws from.
        own = torch.Generator().manual_seed(self._seed)
        collate = self.pairs.collater
        options = {"batch_sampler": blocks, "num_workers": self._num_workers, "generator": own, "collate_fn": collate}
        return iter(loader(self.pairs, **options))


def _mean_feature(model: CodebookCaptioner, images: _DrawnImages, generator: torch.Generator) -> Tensor:
    """Mean patch feature of drawn images, (D,)."""
    drawn = torch.randperm(len(images), generator=generator)[:_IMAGES_FOR_MEAN].tolist()
    sums = [model.image_tokens(batch).float()[:, 1:].mean(1).sum(0) for batch in images.batches(drawn)]
    return torch.stack(sums).sum(0) / len(drawn)


def _sample_features(model: CodebookCaptioner, images: _DrawnImages, wanted: int, generator: torch.Generator) -> Tensor:
    """About ``wanted`` features of drawn images, as the quantizer compares them, (N, D), on the CPU."""
    per_image = max(1, min(model.num_patches, -(-wanted // len(images))))
    num_images = min(len(images), -(-wanted // per_image))
    drawn = torch.randperm(len(images), generator=generator)[:num_images].tolist()
    found = []
    for batch in progress(images.batches(drawn), "features for the codebook", "block", total=-(-num_images // 64)):
        features = model.quantizer.lookup_space(model.image_tokens(batch)[:, 1:]).float().cpu()  # (B, L, D)
        for row in features:
            found.append(row[torch.randperm(len(row), generator=generator)[:per_image]])
    return torch.cat(found)
