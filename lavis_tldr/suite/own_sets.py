"""Evaluations on sets of the user's own."""

from __future__ import annotations

from pathlib import Path

from lavis_tldr.suite.evaluations import EVALUATIONS, MATCH, RETRIEVAL_FIGURES, Evaluation, Split


def own_retrieval(asked: str) -> Evaluation:
    """Retrieval on a set of one's own.

    Args:
        asked: "NAME=LIST,IMAGES": a list in LAVIS's layout, [{"image", "caption": [...]}], and the folder that its
            images lie in.

    Raises:
        ValueError: If it is put otherwise, a file is missing, or the name is taken.
    """
    name, equals, places = asked.partition("=")
    annotations, comma, images = places.rpartition(",")
    if not (name and equals and annotations and comma and images):
        raise ValueError(
            f"--retrieval takes NAME=LIST,IMAGES, found {asked!r}; such as photos=data/dev.json,data/images"
        )
    if name in EVALUATIONS or "/" in name or " " in name:
        raise ValueError(f"--retrieval: the name {name!r} is taken, or no file's name: choose another.")
    if not Path(annotations).is_file() or not Path(images).is_dir():
        raise ValueError(f"--retrieval {name}: there is no list {annotations}, or no folder {images}.")
    source = {"format": "lavis_json", "annotations": str(annotations), "image_root": str(images)}
    return Evaluation(
        name,
        name,
        (),
        "",
        "tldr_retrieval_eval",
        "tldr_retrieval",
        MATCH,
        (Split("test", "test", (Path(annotations).name,)),),
        lambda folder, split: {split.name: source},
        RETRIEVAL_FIGURES,
        folder=Path(annotations).parent,
    )
