"""Evaluations on sets of the user's own: images with captions, in LAVIS's layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lavis_tldr.suite.evaluations import EVALUATIONS, Evaluation, Split

# What can be measured on such a set, and which of the evaluations it is then like.
_LIKE = {"retrieval": "coco_retrieval", "captions": "coco_caption"}
KINDS = tuple(_LIKE)


def own_evaluation(kind: str, asked: str) -> Evaluation:
    """An evaluation on a set of one's own.

    Args:
        kind: One of `KINDS`.
        asked: "NAME=LIST,IMAGES": a list of images, [{"image", "caption": [...]}], and the folder that they lie in.

    Raises:
        ValueError: If it is put otherwise, a file is missing, or the name is taken.
    """
    name, _, places = asked.partition("=")
    annotations, _, images = places.rpartition(",")
    if not (name and annotations and images):
        raise ValueError(f"--{kind} takes NAME=LIST,IMAGES, found {asked!r}; such as photos=data/dev.json,data/images")
    # The kind is part of it: retrieval and captions on one set are two results.
    full_name = f"{name}_{kind}"
    if full_name in EVALUATIONS or name != Path(name).name or " " in name:
        raise ValueError(f"--{kind}: the name {name!r} is taken, or none of a file: choose another.")
    if not Path(annotations).is_file() or not Path(images).is_dir():
        raise ValueError(f"--{kind} {name}: there is no list {annotations}, or no folder {images}.")
    source = {"annotations": annotations, "image_root": images}
    if kind == "retrieval":
        source["format"] = "lavis_json"
    return replace(
        EVALUATIONS[_LIKE[kind]],
        name=full_name,
        title=name,
        tables=(),
        set="",
        splits=(Split("test", "test", (Path(annotations).name,)),),
        section=lambda folder, split: {split.name: source},
        folder=Path(annotations).parent,
    )
