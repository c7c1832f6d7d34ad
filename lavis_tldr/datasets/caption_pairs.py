"""``tldr_captions``: image-caption pairs of any source, to train and validate the captioner on.

datasets:
  tldr_captions:
    train: {format: webdataset, tars: "pool/{00000..00007}.tar"}
    val: {format: lavis_json, annotations: dev.json, image_root: images}
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from lavis.common.dist_utils import get_world_size
from lavis.common.registry import registry
from lavis.datasets.builders.base_dataset_builder import BaseDatasetBuilder
from omegaconf import OmegaConf
from torch.utils.data import Dataset

from lavis_tldr.config_keys import check_dataset_keys
from lavis_tldr.datasets.encoding_cache import EncodingCache
from lavis_tldr.datasets.feature_cache import FeatureCache
from lavis_tldr.datasets.pair_index import PairIndex, PairIndexBuilder
from lavis_tldr.datasets.unreadable import UnreadableImages
from lavis_tldr.models.collectives import from_all_ranks, share
from lavis_tldr.models.image_encoding import join_encodings
from lavis_tldr.sources import ImageLocation, Part, build_source, check_unique_keys, decode_image, read_image_bytes
from lavis_tldr.sources.source_files import find_files

logger = logging.getLogger(__name__)

_CONFIG = Path(__file__).parent.parent / "configs" / "datasets" / "tldr_captions.yaml"
SPLITS = ("train", "val", "test")


class CaptionPairs(Dataset):
    """Images with their captions, by index.

    A sample is ``{"image": (3, H, W), "image_id": key, "captions": [str]}``, with ``"image_tokens"``, (1 + L, D), or
    ``"images"``, `ImageEncoding` of one, in the image's place where these were computed before; `collater` makes the
    batches that `CodebookCaptioner` takes.

    Args:
        items: Key, place and captions of each image; an image whose captions are trained on one at a time comes once
            for each.
        vis_processor: Maps a PIL image to a tensor.
        text_processor: Maps a caption to the text to train on.
        captions_per_image: How many captions of an image a sample holds, drawn anew each time; 0: all, as they are.
    """

    def __init__(
        self,
        items: PairIndex,
        vis_processor: Callable,
        text_processor: Callable,
        captions_per_image: int,
    ):
        self.items = items
        self.vis_processor, self.text_processor = vis_processor, text_processor
        self.captions_per_image = captions_per_image
        self.features: FeatureCache | None = None
        self.encodings: EncodingCache | None = None
        self.unreadable = UnreadableImages(len(items), "the next image stands in")
        self.feature_cache_folder: str | None = None  # set by the builder; read by who has an encoder

    features_name = "image_tokens"  # what a sample calls features

    def __len__(self) -> int:
        return len(self.items)

    def captions(self, rows: np.ndarray | None = None) -> list[str]:
        """Captions as they are trained on.

        Args:
            rows: Which of the ``items.num_captions``, int; None for all.
        """
        return [self.text_processor(caption) for caption in self.items.captions(rows)]

    def image_places(self) -> Iterator[tuple[str, ImageLocation]]:
        """Key and place of each image."""
        return ((key, place) for key, place, _ in self.items)

    def load_image(self, index: int) -> torch.Tensor:
        """One image, (3, H, W).

        Raises:
            ValueError: If it can't be read.
        """
        return self.vis_processor(decode_image(read_image_bytes(self.items[index][1])))

    def use_features(self, features: FeatureCache) -> None:
        """Give cached features instead of images; an image without them (unreadable) is left out."""
        self.items = self.items.take(np.fromiter((key in features for key, _, _ in self.items), bool))
        if not self.items:
            raise ValueError("none of the images can be read; check the source's image_root or tars.")
        self.unreadable = UnreadableImages(len(self.items), "the next image stands in")
        self.features = features

    def use_encodings(self, encodings: EncodingCache) -> None:
        """Give what is kept of images instead of their features; all images must be known."""
        self.encodings = encodings

    def __getitem__(self, index: int) -> dict:
        for candidate in range(index, index + len(self)):
            key, _, captions = self.items[candidate % len(self)]
            try:
                if self.encodings is not None:
                    image = {"images": self.encodings[key]}
                elif self.features is not None:
                    image = {self.features_name: torch.from_numpy(self.features[key].astype(np.float32))}
                else:
                    image = {"image": self.load_image(candidate % len(self))}
            except (ValueError, OSError) as error:
                self.unreadable.meet(candidate % len(self), key, error)
                continue
            return {**image, "image_id": key, "captions": self._draw(captions)}
        raise ValueError(f"none of the {len(self)} images can be read; check the source's image_root or tars.")

    def collater(self, samples: list[dict]) -> dict:
        kind = next(kind for kind in ("images", self.features_name, "image") if kind in samples[0])
        images = [sample[kind] for sample in samples]
        batch = {
            kind: join_encodings(images) if kind == "images" else torch.stack(images),
            "image_id": [sample["image_id"] for sample in samples],
        }
        if self.captions_per_image == 0:
            return {**batch, "references": [sample["captions"] for sample in samples]}
        return {**batch, "text_input": [caption for sample in samples for caption in sample["captions"]]}

    def _draw(self, captions: list[str]) -> list[str]:
        n = self.captions_per_image
        if n == 0:
            return captions
        # Where an image has fewer than n, all of them come before any comes again.
        order = [i for _ in range(-(-n // len(captions))) for i in torch.randperm(len(captions)).tolist()]
        return [self.text_processor(captions[i]) for i in order[:n]]


@registry.register_builder("tldr_captions")
class CaptionPairsBuilder(BaseDatasetBuilder):
    """Builds `CaptionPairs` from the sources under ``train``, ``val`` and ``test``; nothing is downloaded or copied."""

    train_dataset_cls = eval_dataset_cls = CaptionPairs
    DATASET_CONFIG_DICT = {"default": str(_CONFIG)}

    def _download_data(self) -> None:
        """Sources are read where they lie."""

    def build(self) -> dict[str, CaptionPairs]:
        check_dataset_keys("tldr_captions", self.config, OmegaConf.load(_CONFIG).datasets.tldr_captions)
        self.build_processors()
        datasets = {}
        for split in SPLITS:
            if not self.config.get(split):
                continue
            train = split == "train"
            mode = "train" if train else "eval"
            n = int(self.config.captions_per_image) if train else 0
            if train and n < 1:
                raise ValueError(f"datasets.tldr_captions.captions_per_image is {n}; expected 1 or more.")
            only = best_keys(self.config.only) if train and self.config.only else None
            sources = [self.config[split], *([self.config.also] if train and self.config.also else [])]
            sources = [OmegaConf.to_container(source, resolve=True) for source in sources]
            items = read_items(sources[0], n != 1, only, sources[1:])
            if not items:
                among = "" if only is None else f" among the {len(only)} that datasets.tldr_captions.only keeps"
                raise ValueError(f"datasets.tldr_captions.{split}: the source has no usable pair{among}.")
            # Cached features are of unaugmented images, so both splits then see images as evaluation does.
            vis_mode = "eval" if self.config.feature_cache else mode
            text_processor = self.text_processors["train"]
            datasets[split] = CaptionPairs(items, self.vis_processors[vis_mode], text_processor, n)
            datasets[split].feature_cache_folder = self.config.feature_cache
        return datasets


def read_items(
    config: Mapping,
    by_image: bool,
    only: set[str] | None = None,
    also: Sequence[Mapping] = (),
    *,
    all_usable: bool = False,
) -> PairIndex:
    """Index a source's usable records; all processes come here together, and each reads its share of the parts.

    Args:
        config: As `build_source` takes it.
        by_image: One item an image with all its captions; else one a pair.
        only: Keys of the pairs to take of it, or None for all.
        also: Other sources, whose pairs are all taken. No key may be in two of them.
        all_usable: What is measured on must be whole.

    Raises:
        ValueError: With ``all_usable``, if a record can't be used.
    """
    sources = [build_source(config), *map(build_source, also)]
    parts = [
        (number, part, f"also {number}, {part.name}" if number else part.name)
        for number, source in enumerate(sources)
        for part in source.parts
    ]
    usable, failures = PairIndexBuilder(by_image), []

    def read_part(number: int, part: Part, name: str) -> _ReadPart:
        usable.start_part(name)
        keys, num_failed, first = [], 0, ""
        for record in sources[number].read(part, images=False):
            keys.append(record.key)
            if record.error:
                num_failed, first = num_failed + 1, first or f"{record.key}: {record.error}"
            elif number or only is None or record.key in only:
                usable.add(record)
        return _ReadPart(name, keys, usable.take_part(), num_failed, first)

    def read_all() -> Iterator[tuple[str, list[str]]]:
        # In turns: each process reads one part, and gets those that the others have read.
        turn = get_world_size()
        for start in range(0, len(parts), turn):
            mine = [read_part(*part) for part in share(parts[start : start + turn])]
            for found in chain.from_iterable(from_all_ranks(mine)):
                usable.add_part(found.name, found.blocks)
                if found.num_failed:
                    failures.append((found.num_failed, found.first_failure))
                yield found.name, found.keys

    passes = chain([read_all], repeat(lambda: _keys_by_part(sources, parts)))
    num_records = check_unique_keys(lambda: next(passes)())
    if failures:
        counts, firsts = zip(*failures, strict=True)
        told = f"{sum(counts)} of {num_records} records can't be used (first: {firsts[0]})."
        if all_usable:
            raise ValueError(f"{told} What is measured on must be whole: restore them, or take them out of the source.")
        logger.warning("%s", told)
    return usable.build()


@dataclass(frozen=True)
class _ReadPart:
    """What one process has read of a part, for all of them."""

    name: str
    keys: list[str]
    blocks: list[pa.RecordBatch]
    num_failed: int
    first_failure: str


def _keys_by_part(sources: list, parts: list[tuple[int, Part, str]]) -> Iterator[tuple[str, Iterator[str]]]:
    """All keys once more, where some have equal hashes; by this process alone: in the others they may differ."""
    for number, part, name in parts:
        yield name, (record.key for record in sources[number].read(part, images=False))


def best_keys(only: Mapping) -> set[str]:
    """Keys of the pairs that a score table ranks best; of equal scores, the first keys in the alphabet.

    Args:
        only: ``table``: Parquet files (path, glob or list of them) with ``key`` and the column; ``column``: its name;
            ``share``: of the tables' scored rows, the best to keep, in (0, 1].

    Raises:
        ValueError: If the table or its column is absent, a key unknown or the share out of range.
    """
    where = "datasets.tldr_captions.only"
    unknown = [key for key in only if key not in ("table", "column", "share")]
    if unknown or not only.get("table"):
        raise ValueError(f"{where} has {sorted(only)}; expected table and, where wanted, column and share.")
    column, share = only.get("column", "alignment"), float(only.get("share", 0.5))
    if not 0 < share <= 1:
        raise ValueError(f"{where}.share is {share}; expected a share in (0, 1].")
    tables = []
    for path in find_files(only["table"], f"{where}.table (the score stage writes it)"):
        names = pq.read_schema(path).names
        if "key" not in names or column not in names:
            raise ValueError(f"{where}: {path} has the columns {', '.join(names)}; expected key and {column}.")
        tables.append(pq.read_table(path, columns=["key", column]))
    table = pa.concat_tables(tables)
    scores = table[column].to_numpy().astype(float)
    table = pa.table({"key": table["key"].cast(pa.large_string()), "score": scores}).filter(np.isfinite(scores))
    order = pc.sort_indices(table, [("score", "descending"), ("key", "ascending")])
    return set(table["key"].take(order[: round(share * len(order))]).to_pylist())
