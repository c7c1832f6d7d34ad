"""LAVIS's annotation lists of a downstream set, read where they lie: what is checked, and how builders name them.

datasets:
  tldr_vqa:
    train: {annotations: vqa_train.json, image_root: images}
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from lavis.datasets.builders.base_dataset_builder import BaseDatasetBuilder
from lavis.datasets.datasets.base_dataset import BaseDataset
from omegaconf import OmegaConf

from lavis_tldr.config_keys import check_dataset_keys
from lavis_tldr.user_errors import closest

_CONFIGS = Path(__file__).parent.parent / "configs" / "datasets"
_SPLITS = ("train", "val", "test")
_KEYS = ("annotations", "image_root")
_SHOWN = 200  # characters of a faulty row

# What a field holds, in words, and whether a value is that.
Field = tuple[str, Callable[[Any], bool]]
TEXT: Field = ("a text", lambda value: isinstance(value, str))
NUMBER: Field = ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool))
TEXTS: Field = ("a list of texts", lambda value: isinstance(value, list) and value and all(map(TEXT[1], value)))


def default_config(name: str) -> str:
    """The packaged default config of a dataset."""
    return str(_CONFIGS / f"{name}.yaml")


def read_list(path: str | Path, where: str, fields: Mapping[str, Field]) -> list[dict]:
    """An annotation list, each of whose rows has the fields.

    Args:
        path: JSON file.
        where: The config key that names it, for errors.
        fields: What each row must hold.

    Raises:
        ValueError: If the file is absent, no JSON list or empty, or a row lacks a field or holds something else in it.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{where}: there is no file {path}; `lavis-tldr data check` says where it comes from.")
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{where}: {path} is no JSON ({error}); was it cut off?") from error
    if not isinstance(rows, list) or not rows:
        raise ValueError(
            f"{where}: {path} holds {'no rows' if rows == [] else type(rows).__name__}; expected LAVIS's list of rows "
            "with image paths. `lavis-tldr data convert` makes it from the official files."
        )
    for number, row in enumerate(rows):
        check_row(row, fields, f"{where}: row {number} of {path}")
    return rows


def check_row(row: object, fields: Mapping[str, Field], what: str) -> None:
    """Refuse a row of another layout.

    Raises:
        ValueError: If it is no object, or a field is absent or holds something else.
    """
    if not isinstance(row, dict):
        raise ValueError(f"{what} is {str(row)[:_SHOWN]}; expected an object with {', '.join(fields)}.")
    for name, (expected, fits) in fields.items():
        if not fits(row.get(name)):
            found = f"{name}: {json.dumps(row[name])[:_SHOWN]}" if name in row else f"no {name} ({', '.join(row)})"
            raise ValueError(f"{what} has {found}; expected {expected}.")


def in_all_or_none(rows: list[dict], name: str, field: Field, what: str) -> bool:
    """Whether all rows have a field.

    Raises:
        ValueError: If some have it and others not, or it holds something else.
    """
    if not any(name in row for row in rows):
        return False
    for number, row in enumerate(rows):
        check_row(row, {name: field}, f"row {number} of {what}")
    return True


def check_unique(ids: list, what: str) -> None:
    """Refuse an id that is there twice.

    Raises:
        ValueError: If one is; names the first.
    """
    doubled = [one for one, count in Counter(ids).items() if count > 1]
    if doubled:
        raise ValueError(f"{what} {doubled[0]} is there more than once ({len(doubled)} such); expected each once.")


@contextmanager
def image_errors_named(dataset: str, images: str) -> Iterator[None]:
    """An image that can't be read becomes an error that names it.

    Raises:
        ValueError: If one can't.
    """
    try:
        yield
    except OSError as error:
        raise ValueError(f"image {images} of {dataset} can't be read: {error}. Restore it.") from error


def set_rows(dataset: BaseDataset, vis_processor, text_processor, image_root: str, rows: list[dict]) -> None:
    """Start one of LAVIS's datasets with rows that are read already, passing over its own reading of files."""
    BaseDataset.__init__(dataset, vis_processor, text_processor, image_root)
    dataset.annotation = rows
    dataset._add_instance_ids()


class AnnotationListBuilder(BaseDatasetBuilder):
    """Builds the splits of a dataset from ``{annotations, image_root}`` each; nothing is downloaded or copied."""

    NAME: ClassVar[str]

    def _download_data(self) -> None:
        """Lists and images are read where they lie."""

    def build(self) -> dict[str, BaseDataset]:
        config = OmegaConf.to_container(self.config, resolve=True)
        default = OmegaConf.load(self.DATASET_CONFIG_DICT["default"]).datasets[self.NAME]
        check_dataset_keys(self.NAME, config, default)
        self.build_processors()
        datasets = {}
        for split in _SPLITS:
            if not config.get(split):
                continue
            where = f"datasets.{self.NAME}.{split}"
            image_root, paths = _places(config[split], where)
            kind = "train" if split == "train" else "eval"
            processors = self.vis_processors[kind], self.text_processors[kind]
            datasets[split] = self.make(kind, paths, f"{where}.annotations", image_root, processors)
        if not datasets:
            raise ValueError(f"datasets.{self.NAME} names no list: give {', '.join(_SPLITS)} what the run needs.")
        return datasets

    @abstractmethod
    def make(self, kind: str, paths: list[str], where: str, image_root: str, processors: tuple) -> BaseDataset:
        """The dataset of a split.

        Args:
            kind: ``train`` or ``eval``.
            paths: Annotation lists, one or more.
            where: The config key that names them, for errors.
            image_root: Folder below which the images' paths lie.
            processors: Of images and of texts.
        """


def _places(split: Any, where: str) -> tuple[str, list[str]]:
    """Image root and lists of a split."""
    if not isinstance(split, dict):
        raise ValueError(f"{where} is {split!r}; expected {{annotations: FILE, image_root: FOLDER}}.")
    for key in split:
        if key not in _KEYS:
            raise ValueError(f"unknown key {where}.{key}{closest(key, _KEYS)}")
    for key in _KEYS:
        if not split.get(key):
            raise ValueError(f"{where} has no {key}; expected {{annotations: FILE, image_root: FOLDER}}.")
    lists = split["annotations"]
    if not Path(split["image_root"]).is_dir():
        raise ValueError(f"{where}.image_root: there is no folder {split['image_root']}.")
    return split["image_root"], [lists] if isinstance(lists, str) else lists
