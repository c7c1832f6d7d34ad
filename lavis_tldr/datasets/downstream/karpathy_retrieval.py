"""Karpathy's splits of COCO and Flickr30k, and the lists that LAVIS (as BLIP) reads.

From ``{"dataset", "images": [{"filename", "filepath", "split", "sentences": [{"raw"}], "imgid", "cocoid"}]}``. A list
for training has a row a caption, one for evaluation a row an image with all its captions.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lavis_tldr.files import open_whole

_SPLITS = {"train": "train", "restval": "train", "val": "val", "test": "test"}

Image = Mapping[str, Any]


def convert_karpathy(
    folder: Path,
    name: str,
    lists: Mapping[str, str],
    published: Mapping[str, int],
    path_of: Callable[[Image], str],
    id_of: Callable[[Image], str | int],
) -> list[str]:
    """Write the lists of ``dataset_<name>.json``.

    Args:
        folder: The set's.
        name: As the file has it under ``dataset``.
        lists: Path of the list of train, val and test, from the folder.
        published: Images of each split; another number is told.
        path_of: Path of an image from the folder ``images``.
        id_of: What tells images apart in training.

    Returns:
        A line for each list.

    Raises:
        ValueError: If the file is absent, of another set or layout, or names an image twice.
    """
    source = folder / f"dataset_{name}.json"
    rows: dict[str, list[dict]] = {split: [] for split in lists}
    counts, without = dict.fromkeys(lists, 0), dict.fromkeys(lists, 0)
    seen = set()
    for number, image in enumerate(_read(source, name)):
        try:
            split, path, ident = _SPLITS[image["split"]], path_of(image), id_of(image)
            captions = [sentence["raw"] for sentence in image["sentences"]]
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{source}: image {number} lacks or has another {error}; expected Karpathy's layout, with the splits "
                f"{', '.join(_SPLITS)}."
            ) from error
        if path in seen:
            raise ValueError(f"{source} has {path} twice: it would be looked for in two places. Take the original.")
        seen.add(path)
        if not captions:
            without[split] += 1
            continue
        counts[split] += 1
        if split == "train":
            rows[split] += [{"image": path, "caption": caption, "image_id": ident} for caption in captions]
        else:
            rows[split].append({"image": path, "caption": captions})
    told = []
    for split, path in lists.items():
        with open_whole(folder / path) as file:
            file.write(json.dumps(rows[split]).encode())
        told.append(_line(path, split, counts[split], rows[split], without[split], published[split]))
    return told


def _read(source: Path, name: str) -> list[Image]:
    if not source.is_file():
        raise ValueError(f"there is no {source}: take it out of Karpathy's caption_datasets.zip.")
    try:
        content = json.loads(source.read_bytes())
    except ValueError as error:
        raise ValueError(f"{source} is no JSON ({error}): take it out of the archive again.") from error
    found = content.get("dataset") if isinstance(content, dict) else None
    if found != name or not isinstance(content.get("images"), list):
        raise ValueError(f"{source} is of the set {found!r}; expected Karpathy's of {name!r}, with a list of images.")
    return content["images"]


def _line(path: str, split: str, count: int, rows: list, without: int, published: int) -> str:
    captions = len(rows) if split == "train" else sum(len(row["caption"]) for row in rows)
    line = f"{path}: {count:,} images, {captions:,} captions"
    if without:
        line += f"; {without:,} images without caption left out"
    return line if count == published else f"{line} (the published split has {published:,} images)"
