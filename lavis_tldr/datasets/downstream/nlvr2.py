"""NLVR2: LAVIS's lists from the official lines, with the identifiers that consistency is told by."""

from __future__ import annotations

import json
from pathlib import Path

from lavis_tldr.datasets.annotation_lists import TEXT, Field, check_row, check_unique
from lavis_tldr.datasets.downstream.json_files import write_json
from lavis_tldr.datasets.downstream.layout import DownstreamSet, NeededFile

# LAVIS's name of a split, and the official one. LAVIS's own "test" is the dev file.
_SPLITS = {"train": "train", "dev": "dev", "test": "test1"}
_NUM_FIELDS = 4  # of an identifier: split, set, pair, sentence
_IDENTIFIER: Field = (
    "a text split-set-pair-sentence",
    lambda value: isinstance(value, str) and len(value.split("-")) == _NUM_FIELDS,
)
_FIELDS: dict[str, Field] = {
    "identifier": _IDENTIFIER,
    "sentence": TEXT,
    "label": ('the text "True" or "False"', lambda value: value in ("True", "False")),
}
_DIRECTORY: dict[str, Field] = {
    "directory": ("the number of a folder", lambda value: isinstance(value, (int, str)) and str(value).isdecimal())
}


def convert(folder: Path) -> list[str]:
    """Make the lists of the splits whose official lines are there, below ``data``.

    Returns:
        A line on each file written, and on each that was not.

    Raises:
        ValueError: If no split's file is there, or one is of another layout.
    """
    told = []
    for split, official in _SPLITS.items():
        path = folder / official_file(official)
        if not path.is_file():
            told.append(f"nlvr_{split}.json: not made, {official_file(official)} not there.")
            continue
        rows = [list_row(example) for example in read_lines(path, official)]
        write_json(folder / f"nlvr_{split}.json", rows)
        true = sum(row["label"] == "True" for row in rows)
        told.append(f"nlvr_{split}.json: {len(rows):,} examples of {official}, {true / len(rows):.1%} true.")
    if all("not made" in line for line in told):
        raise ValueError(f"{folder} has the file of no split of NLVR2: {' '.join(told)}")
    return told


def official_file(official: str) -> str:
    """Where an official split lies, below the set's folder."""
    return f"data/{official}.json"


def read_lines(path: Path, official: str) -> list[dict]:
    """The examples of an official file: JSON, one a line.

    Raises:
        ValueError: If a line is no JSON, or lacks a field, or an identifier is of another split or there twice.
    """
    fields = {**_FIELDS, **(_DIRECTORY if official == "train" else {})}
    examples = []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            what = f"line {number} of {path}"
            try:
                example = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{what} is no JSON ({error}); expected an example a line.") from error
            check_row(example, fields, what)
            if example["identifier"].split("-")[0] != official:
                raise ValueError(f"{what} has the identifier {example['identifier']}, which is none of {official}.")
            examples.append(example)
    check_unique([example["identifier"] for example in examples], f"{path}: identifier")
    if not examples:
        raise ValueError(f"{path} is empty; expected an example a line.")
    return examples


def list_row(example: dict) -> dict:
    """LAVIS's row of an official example, with its ``identifier``."""
    split, *_ = fields = example["identifier"].split("-")
    pair = "-".join(fields[:-1])
    place = f"images/train/{example['directory']}" if split == "train" else split
    return {
        "images": [f"{place}/{pair}-img{side}.png" for side in (0, 1)],
        "sentence": example["sentence"],
        "label": example["label"],
        "identifier": example["identifier"],
    }


_REPOSITORY = "https://github.com/lil-lab/nlvr/tree/master/nlvr2"
_IMAGES = "https://lil.nlp.cornell.edu/nlvr/ (images are handed out on request)"

NLVR2 = DownstreamSet(
    name="nlvr2",
    title="NLVR2",
    terms="Sentences and labels CC BY 4.0; the photos are their owners', for research.",
    files=(
        *(NeededFile(official_file(split), f"examples of {split}", _REPOSITORY) for split in _SPLITS.values()),
        NeededFile("images/train/*/*.png", "photos of train", _IMAGES),
        NeededFile("dev/*.png", "photos of dev", _IMAGES),
        NeededFile("test1/*.png", "photos of test1 (test-P)", _IMAGES),
        *(
            NeededFile(f"nlvr_{split}.json", f"LAVIS's list of {official}", _REPOSITORY, made=True)
            for split, official in _SPLITS.items()
        ),
    ),
    convert=convert,
)
